"""Outages of the database: editing goes on in memory, ``/ready`` reports the reason, and nothing is lost.

The rows of docs/outages.md name these tests.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psutil
import pytest
from attrs import frozen

from canvas_collab.persistence.compactor import MAX_SIZE_IN_THREAD
from tests.conftest import StartDaemon
from tests.support.daemons import ROOT, Daemon
from tests.support.databases import TestDatabase
from tests.support.diagrams import Diagram
from tests.support.hocuspocus_providers import Provider, Providers
from tests.support.servers import RestartablePostgreSQL
from tests.support.stalling_proxy import StallingProxy

#: How long recovery may take after an outage, in seconds.
RECOVERY_TIME = 10.0


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestartablePostgreSQL]:
    """A PostgreSQL server of these tests alone."""
    with RestartablePostgreSQL(tmp_path_factory.mktemp("mortal")) as server:
        yield server


class Stage:
    """A database, the server that it is on, a proxy between the daemon and the server, and ways to make them fail."""

    def __init__(
        self, postgres: RestartablePostgreSQL, database: TestDatabase, proxy: StallingProxy, start_daemon: StartDaemon
    ) -> None:
        self.postgres = postgres
        self.database = database
        self.proxy = proxy
        self._start_daemon = start_daemon
        [[self._name]] = database.query("SELECT current_database()")

    def diagram(self, **settings: object) -> Diagram:
        settings = {"DATABASE_URL": self.proxy.url, "HANDSHAKE_TIMEOUT": 2, **settings}
        return Diagram(self.database, self._start_daemon, **settings)

    def administer(self, statement: str) -> None:
        """Run a statement in another database of the server; ``{name}`` in it is the name of the tested one."""
        TestDatabase(self.postgres.url("postgres")).query(statement.format(name=self._name))

    def terminate_connections(self) -> None:
        """Terminate every connection to the database."""
        self.administer("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Make the database refuse connections."""
        self.administer("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        self.terminate_connections()
        try:
            yield
        finally:
            self.administer("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")

    @contextmanager
    def failing(self, code: str, message: str) -> Iterator[None]:
        """Make inserts into the log fail with an error."""
        self.database.query(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '{code}'; END $$;"
            "CREATE TRIGGER fail BEFORE INSERT ON yjs_update_log FOR EACH ROW EXECUTE FUNCTION fail()"
        )
        try:
            yield
        finally:
            self.database.query("DROP FUNCTION fail CASCADE")


@pytest.fixture
def stage(mortal: RestartablePostgreSQL, start_daemon: StartDaemon) -> Iterator[Stage]:
    with mortal.migrated_database() as database, StallingProxy(database.url) as proxy:
        yield Stage(mortal, database, proxy, start_daemon)


@contextmanager
def restarted(stage: Stage) -> Iterator[None]:
    stage.postgres.stop()
    try:
        yield
    finally:
        stage.postgres.start()


@contextmanager
def killed(stage: Stage) -> Iterator[None]:
    stage.postgres.kill()
    try:
        yield
    finally:
        stage.postgres.start()


def refusing_connections(stage: Stage) -> AbstractContextManager[None]:
    return stage.closed()


@contextmanager
def hanging(stage: Stage) -> Iterator[None]:
    stage.proxy.pause()
    try:
        yield
    finally:
        stage.proxy.resume()


def out_of_disk(stage: Stage) -> AbstractContextManager[None]:
    return stage.failing("53100", "could not extend file: No space left on device")


def without_rights(stage: Stage) -> AbstractContextManager[None]:
    return stage.failing("42501", "permission denied for table yjs_update_log")


@contextmanager
def read_only(stage: Stage) -> Iterator[None]:
    stage.administer("ALTER DATABASE {name} SET default_transaction_read_only = on")
    stage.terminate_connections()
    try:
        yield
    finally:
        # Connections that the daemon opened meanwhile stay read only.
        stage.administer("ALTER DATABASE {name} RESET default_transaction_read_only")


@contextmanager
def locked(stage: Stage) -> Iterator[None]:
    connection = stage.database.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("LOCK TABLE yjs_update_log IN SHARE MODE")
            yield
    finally:
        connection.close()


@frozen
class Fault:
    """An outage.

    :ivar happens: makes the database fail within a with statement.
    :ivar reason: what ``/ready`` reports.
    :ivar event: the event that is logged, if any.
    :ivar lets_in: whether new clients can open documents.
    """

    happens: Callable[[Stage], AbstractContextManager[None]]
    reason: str
    event: str | None
    lets_in: bool


FAULTS = [
    Fault(restarted, "the database does not answer", "commit failed", lets_in=False),
    Fault(killed, "the database does not answer", "commit failed", lets_in=False),
    Fault(refusing_connections, "the database does not answer", "commit failed", lets_in=False),
    Fault(hanging, "the database does not answer", None, lets_in=False),
    Fault(out_of_disk, "No space left on device", "commit failed", lets_in=True),
    Fault(without_rights, "permission denied", "commit failed", lets_in=True),
    Fault(read_only, "read-only transaction", "commit failed", lets_in=True),
    Fault(locked, "a commit has not ended", None, lets_in=True),
]

every_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.happens.__name__)


def is_ready(daemon: Daemon) -> bool:
    return daemon.get("/ready")[0] == 200


def expect_unready(daemon: Daemon, reason: str) -> None:
    """Wait until ``/ready`` and ``/health`` report a reason."""

    def says_why() -> bool:
        status, body = daemon.get("/ready")
        return status == 503 and reason in body["reason"]

    daemon.wait_until(says_why)
    status, health = daemon.get("/health")
    assert (status, health["status"]) == (503, "degraded")
    assert not (health["database"]["ok"] and health["journal"]["ok"])


def text_of(provider: Provider) -> str:
    [part] = provider.content["text"]
    return str(part["insert"])


@every_fault
def test_in_an_outage_editing_goes_on_and_everything_is_saved_when_it_is_over(
    stage: Stage, providers: Providers, fault: Fault
) -> None:
    diagram = stage.diagram()
    daemon = diagram.daemon
    writer = diagram.provide(providers, "writer")
    witness = diagram.provide(providers, "witness")
    writer.insert_text("text", 0, "before")
    writer.wait_saved()

    with fault.happens(stage):
        for number in range(5):
            writer.insert_text("text", 6 + number, str(number))
        witness.wait_content({"text": [{"insert": "before01234"}]})
        expect_unready(daemon, fault.reason)
        assert (writer.unsynced, daemon.get("/health")[1]["unsaved_updates"]) == (5, 5)
        if fault.event is not None:
            daemon.wait_until(lambda: len(daemon.events(fault.event)) >= 3)
        newcomer = diagram.provide(providers, "newcomer", wait=fault.lets_in)
        if not fault.lets_in:
            assert newcomer.wait_closed() == (4503, "try again later")

    began = time.monotonic()
    writer.wait_saved(RECOVERY_TIME)
    saved = time.monotonic() - began
    daemon.wait_until(lambda: is_ready(daemon), RECOVERY_TIME)
    newcomer.wait_content({"text": [{"insert": "before01234"}]}, RECOVERY_TIME)
    print(f"{fault.happens.__name__}: saved after {saved:.1f} s, recovered after {time.monotonic() - began:.1f} s")
    assert daemon.get("/health")[1]["journal"] == {"ok": True, "reason": None}
    assert [len(update) > 0 for _, update in diagram.log()] == [True] * 6
    assert [event for event in daemon.events() if event["level"] == "critical"] == []


@pytest.mark.parametrize("fault", [FAULTS[3], FAULTS[4]], ids=["hanging", "out_of_disk"])
def test_at_the_bound_writers_are_closed_with_4503_and_their_edits_arrive_after_they_have_come_back(
    stage: Stage, providers: Providers, fault: Fault
) -> None:
    diagram = stage.diagram(JOURNAL_QUEUE_MAX=65536)
    writer = diagram.provide(providers, "writer")
    writer.wait_saved()
    with fault.happens(stage):
        for number in range(10):
            writer.insert_text("text", 0, str(number) * 14_000)
        writer.wait_event("close", code=4503)
        assert diagram.daemon.get("/health")[1]["unsaved_updates"] == 5
        expect_unready(diagram.daemon, fault.reason)
        writer.insert_text("text", 0, "while it was away")
    writer.wait_synced(RECOVERY_TIME)
    writer.wait_saved(RECOVERY_TIME)
    everything = "while it was away" + "".join(str(number) * 14_000 for number in reversed(range(10)))
    assert text_of(diagram.provide(providers, "newcomer")) == everything


@every_fault
def test_the_daemon_stops_within_five_seconds_in_an_outage_and_what_was_committed_is_there(
    stage: Stage, providers: Providers, fault: Fault
) -> None:
    diagram = stage.diagram()
    writer = diagram.provide(providers, "writer")
    writer.insert_text("text", 0, "committed")
    writer.wait_saved()
    with fault.happens(stage):
        writer.insert_text("text", 0, "not ")
        diagram.daemon.wait_until(lambda: diagram.daemon.get("/health")[1]["unsaved_updates"] == 1)
        began = time.monotonic()
        diagram.daemon.process.send_signal(signal.SIGTERM)
        writer.wait_event("close", code=1012)
        # It must not send its edit again.
        writer.destroy()
        assert diagram.daemon.stop() == 128 + signal.SIGTERM
        assert time.monotonic() - began < 5
        assert diagram.daemon.wait_for_event("updates not committed")["unsaved"] == 1
    diagram.start(DATABASE_URL=stage.database.url)
    # PostgreSQL may complete statements after the daemon has stopped.
    assert text_of(diagram.provide(providers, "witness")) in ("committed", "not committed")


def test_a_compaction_that_takes_long_does_not_hold_up_the_end_and_the_snapshot_is_written(
    stage: Stage, providers: Providers
) -> None:
    diagram = stage.diagram(DATABASE_URL=stage.database.url)
    writer = diagram.provide(providers, "writer")
    writer.insert_text("text", 0, "x" * 2 * MAX_SIZE_IN_THREAD)
    daemon = psutil.Process(diagram.daemon.pid)
    diagram.daemon.wait_until(lambda: daemon.children() != [])
    [compactor] = daemon.children()
    # A suspended process never completes.
    compactor.suspend()
    began = time.monotonic()
    assert diagram.daemon.stop() == 128 + signal.SIGTERM
    assert time.monotonic() - began < 5
    assert not compactor.is_running()
    [[size]] = stage.database.query("SELECT octet_length(data) FROM yjs_document")
    assert size > 2 * MAX_SIZE_IN_THREAD


def test_connections_that_were_lost_are_made_again_without_anybody_asking(stage: Stage) -> None:
    diagram = stage.diagram(DATABASE_URL=stage.database.url, DATABASE_POOL_SIZE=3)
    daemon = diagram.daemon

    def connections() -> set[int]:
        rows = stage.database.query(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'canvas-collab' AND datname = current_database()"
        )
        return {pid for (pid,) in rows}

    def journal_connections() -> list[int]:
        """The journal's connections that have prepared their statement."""
        rows = stage.database.query(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'canvas-collab journal' "
            "AND datname = current_database() AND query LIKE 'PREPARE%%' AND state = 'idle'",
            {},
        )
        return [pid for (pid,) in rows]

    before = connections()
    assert len(before) == 3
    daemon.wait_until(lambda: len(journal_connections()) == 1)
    [journals] = journal_connections()
    stage.terminate_connections()
    daemon.wait_until(lambda: len(connections() - before) == 3)
    daemon.wait_until(lambda: journals not in journal_connections() and len(journal_connections()) == 1)
    # Those three, the journal's, and the one that receives notifications.
    daemon.wait_until(lambda: len(daemon.events("database connection lost")) == 5)
    assert is_ready(daemon)


def test_every_test_that_the_page_on_outages_names_is_there_and_every_fault_has_its_row() -> None:
    page = (ROOT / "docs" / "outages.md").read_text(encoding="utf-8")
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 10
    assert [name for name in named if f"def {name}(" not in tests] == []
    assert set(re.findall(r"`\[(\w+)\]`", page)) == {fault.happens.__name__ for fault in FAULTS}
