"""Tokens in masses: who sends them holds up nobody, learns nothing more by it, and does not stay by it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from canvas_collab.protocol import hocuspocus, sync
from canvas_collab.protocol.close_codes import CloseCode
from tests.conftest import StartDaemon
from tests.support.clients import Client, Refused, typed
from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase, User
from tests.support.floods import Flood
from tests.support.hocuspocus_client import AUTHENTICATED, RawHocuspocus, authentication

ONE, TWO = "diagram-one", "diagram-two"

#: How long an edit may take to be acknowledged during a flood, in seconds, and what a flood may cost, in bytes.
SAVED_WITHIN = 0.5
GROWTH_MAX = 50 * 2**20

#: How many edits are made meanwhile.
EDITS = 50

RECHECK = 1


class Stage:
    """Two diagrams, of which Eve may write in the first; daemons."""

    def __init__(self, database: TestDatabase, start_daemon: StartDaemon) -> None:
        self.database = database
        self._start_daemon = start_daemon
        self.ada, self.eve = database.add_user("ada"), database.add_user("eve")
        database.add_diagram("one", self.ada, editor=self.eve)
        database.add_diagram("two", self.ada)

    def start(self, **settings: object) -> Daemon:
        return self._start_daemon(self.database, **settings)

    def second_session(self, user: User) -> str:
        """The token of one more session of the user."""
        token = secrets.token_hex(16)
        self.database.query(
            'INSERT INTO session (id, token, "userId", "expiresAt", "updatedAt") '
            "VALUES (%s, %s, %s, now() + interval '1 day', now())",
            (token, token, user.id),
        )
        return token

    def lookups_that_wait(self) -> int:
        """How many questions about sessions the database has not answered."""
        [[count]] = self.database.query(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return int(count)

    @contextmanager
    def nobody_is_looked_up(self) -> Iterator[None]:
        """Until the end nothing can be read of the sessions."""
        connection = self.database.connect()
        with connection.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE session IN ACCESS EXCLUSIVE MODE")
        try:
            yield
        finally:
            connection.close()


@pytest.fixture
def stage(database: TestDatabase, start_daemon: StartDaemon) -> Stage:
    return Stage(database, start_daemon)


def tokens(address: str, *several: str) -> list[bytes]:
    return [hocuspocus.encode_address(address) + authentication(token) for token in several]


@pytest.mark.parametrize("kind", ["own", "several good ones", "random", "random, without a limit of denials"])
def test_a_flood_of_tokens_on_an_open_document_holds_up_nobody_and_does_not_keep_one_in_who_may_not_stay(
    stage: Stage, kind: str
) -> None:
    daemon = stage.start(SESSION_RECHECK=RECHECK, MAX_DENIALS=10 if kind == "random" else 10**6)
    several = {
        "own": [stage.eve.token],
        "several good ones": [stage.eve.token, stage.second_session(stage.eve)],
    }.get(kind, [secrets.token_hex(16) for _ in range(200)])
    [first] = tokens(ONE, stage.eve.token)
    with ExitStack() as opened:
        bystander = opened.enter_context(RawHocuspocus(daemon))
        bystander.open(TWO, stage.ada.token)
        before = daemon.memory
        flood = opened.enter_context(Flood(daemon, tokens(ONE, *several) * 10, first, b"read-write"))
        longest = 0.0
        for number in range(EDITS):
            began = time.monotonic()
            bystander.edit(TWO, typed(f"edit {number}"))
            bystander.wait_for(TWO, hocuspocus.SAVED)
            longest = max(longest, time.monotonic() - began)
        if kind != "random":
            assert not flood.over.is_set()
        stage.database.revoke("one", stage.eve)
        closed = daemon.wait_for_event("connection closed", timeout=RECHECK + 1, user=stage.eve.id)
        # One random token a second is denied, which may have been too many before.
        denied = [CloseCode.UNAUTHORIZED] if kind == "random" else []
        assert closed["code"] in [CloseCode.FORBIDDEN, *denied]
        assert len(daemon.events("connection opened")) == 2
        after = daemon.memory
    assert longest < SAVED_WITHIN
    if before is not None and after is not None:
        assert after - before < GROWTH_MAX


def test_of_many_tokens_on_an_open_document_one_is_looked_up_and_then_the_newest(stage: Stage) -> None:
    daemon = stage.start()
    with RawHocuspocus(daemon) as socket:
        socket.open(ONE, stage.eve.token)
        with stage.nobody_is_looked_up():
            for token in [stage.eve.token, *("nonsense" for _ in range(50)), stage.eve.token]:
                socket.send(ONE, authentication(token))
            socket.ping()
        socket.wait_for(ONE, AUTHENTICATED)
        socket.edit(ONE, typed("still here"))
        socket.wait_for(ONE, hocuspocus.SAVED)
        assert socket.heard(ONE) == []
    assert daemon.events("connection denied") == []


def test_a_document_that_is_left_and_asked_for_again_and_again_is_looked_up_once_at_a_time(stage: Stage) -> None:
    daemon = stage.start(MAX_WAITING_LOOKUPS=3)
    with RawHocuspocus(daemon) as socket, RawHocuspocus(daemon) as other:
        with stage.nobody_is_looked_up():
            for _ in range(50):
                socket.send(ONE, authentication(stage.eve.token))
                socket.send(ONE, b"\x07")
            socket.send(ONE, authentication(stage.eve.token))
            socket.ping()
            assert stage.lookups_that_wait() == 1
            other.send(TWO, authentication(stage.ada.token))
            other.ping()
        other.wait_for(TWO, AUTHENTICATED)
        socket.wait_for(ONE, AUTHENTICATED)
        socket.ping()
        assert socket.heard(ONE, AUTHENTICATED) == []
    assert len(daemon.events("connection opened")) == 2


def test_documents_that_are_left_while_they_are_looked_up_count_as_waiting(stage: Stage) -> None:
    daemon = stage.start(MAX_PENDING_DOCUMENTS=3)
    with RawHocuspocus(daemon) as socket, stage.nobody_is_looked_up():
        for number in range(4):
            socket.send(f"{ONE}{number}", authentication(stage.eve.token))
            socket.send(f"{ONE}{number}", b"\x07")
        assert socket.wait_closed().code == 4413


def test_when_too_many_wait_to_be_looked_up_the_next_is_told_to_try_again_and_the_others_get_in(stage: Stage) -> None:
    # Of four connections two are for those who come in.
    daemon = stage.start(MAX_WAITING_LOOKUPS=3)
    with ExitStack() as opened:
        with stage.nobody_is_looked_up():
            sockets = [opened.enter_context(RawHocuspocus(daemon)) for _ in range(5)]
            for socket in sockets:
                socket.send(ONE, authentication(stage.eve.token))
                socket.ping()
            with RawHocuspocus(daemon) as late:
                late.send(ONE, authentication(stage.eve.token))
                assert late.wait_closed().code == 4503
            with pytest.raises(Refused) as refused:
                Client(daemon, "one", stage.eve)
            assert refused.value.code == 503
        for socket in sockets:
            socket.wait_for(ONE, AUTHENTICATED)


def test_one_sockets_many_documents_do_not_keep_another_out(stage: Stage) -> None:
    daemon = stage.start(MAX_WAITING_LOOKUPS=3)
    with RawHocuspocus(daemon) as greedy, RawHocuspocus(daemon) as modest:
        greedy.open(ONE, stage.eve.token)
        with stage.nobody_is_looked_up():
            for number in range(20):
                greedy.send(f"{ONE}\0{number}", authentication(stage.eve.token))
            greedy.ping()
            modest.send(TWO, authentication(stage.ada.token))
            modest.ping()
        modest.wait_for(TWO, AUTHENTICATED)
        assert [greedy.denied(f"{ONE}\0{number}") for number in range(5, 20)] == ["try again later"] * 15


def test_handshakes_that_hang_keep_nobody_from_saving_and_the_health_is_well(stage: Stage) -> None:
    daemon = stage.start(HANDSHAKE_TIMEOUT=20)
    with ExitStack() as opened:
        writer = opened.enter_context(RawHocuspocus(daemon))
        writer.open(ONE, stage.eve.token)
        with stage.nobody_is_looked_up():
            for _ in range(20):
                socket = opened.enter_context(RawHocuspocus(daemon))
                socket.send(TWO, authentication(stage.ada.token))
                socket.ping()
            began = time.monotonic()
            writer.edit(ONE, typed("an edit"))
            writer.wait_for(ONE, hocuspocus.SAVED)
            assert time.monotonic() - began < SAVED_WITHIN
            assert daemon.get("/health")[1]["status"] == "ok"


@pytest.mark.parametrize("is_open", [False, True], ids=["opening", "renewing"])
def test_who_is_denied_again_and_again_is_closed_and_fills_no_log(stage: Stage, is_open: bool) -> None:
    daemon = stage.start(MAX_DENIALS=8)
    with RawHocuspocus(daemon) as socket:
        for _ in range(7):
            if is_open:
                socket.open(ONE, stage.eve.token)
            socket.send(ONE, authentication("nonsense"))
            assert socket.denied(ONE) == "unauthorized: unknown session"
        assert socket.open(ONE, stage.eve.token) == "read-write"
        socket.send(ONE, authentication("nonsense"))
        closed = socket.wait_closed()
    assert (closed.code, closed.reason) == (4401, "unauthorized: unknown session")
    assert len(daemon.events("connection denied")) == (0 if is_open else 5)


def test_denials_of_other_documents_do_not_end_a_socket_with_many(stage: Stage) -> None:
    daemon = stage.start(MAX_DENIALS=2)
    with RawHocuspocus(daemon) as socket:
        socket.open(ONE, stage.eve.token)
        for number in range(50):
            socket.send(f"diagram-{number}", authentication(stage.eve.token))
            assert socket.denied(f"diagram-{number}").startswith("forbidden")
        socket.send(ONE, sync.encode_step_1(b"\x00"))
        socket.wait_for(ONE, b"\x00\x01")


def test_a_document_that_stays_damaged_is_logged_once_though_many_try(stage: Stage) -> None:
    stage.database.query("INSERT INTO yjs_document (id, data, checksum) VALUES (%s, '\\x0000', '\\xbad0')", (ONE,))
    daemon = stage.start()
    for _ in range(3):
        with pytest.raises(Refused) as refused:
            Client(daemon, "one", stage.eve)
        assert refused.value.code == 500
    assert len(daemon.events("document damaged")) == 1
