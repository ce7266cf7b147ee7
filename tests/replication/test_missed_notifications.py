"""Entries whose notifications were missed are found within seconds.

``RESTARTS`` is how often PostgreSQL is restarted under two daemons.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from tests.conftest import StartDaemon
from tests.support.clients import Client, typed
from tests.support.databases import TestDatabase, User
from tests.support.servers import RestartablePostgreSQL

RESTARTS = int(os.environ.get("RESTARTS", "4"))

#: The clients of both daemons have the same text so many seconds after PostgreSQL has started.
SOON = 5.0


@pytest.fixture
def ada(database: TestDatabase) -> User:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    return ada


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestartablePostgreSQL]:
    """A PostgreSQL of these tests alone."""
    with RestartablePostgreSQL(tmp_path_factory.mktemp("mortal")) as server:
        yield server


def wait_for_all(clients: list[Client], words: list[str], deadline: float) -> None:
    """Wait until every client's text has all words."""
    for client in clients:
        while not all(word in client.text for word in words):
            assert time.monotonic() < deadline, f"{[word for word in words if word not in client.text]} are missing"
            client.receive()


def test_two_daemons_show_the_same_soon_after_postgresql_was_restarted_each_time(
    mortal: RestartablePostgreSQL, start_daemon: StartDaemon
) -> None:
    with mortal.migrated_database() as database:
        ada = database.add_user("ada")
        database.add_diagram("one", ada)
        daemons = [start_daemon(database) for _ in range(2)]
        slowest = 0.0
        with Client(daemons[0], "one", ada) as here, Client(daemons[1], "one", ada) as there:
            words: list[str] = []

            def edit(client: Client, word: str) -> None:
                client.edit(typed(f"{word} "))
                words.append(word)

            for number in range(RESTARTS):
                edit(here, f"here-{number}")
                if number % 2:
                    mortal.kill()
                else:
                    mortal.stop()
                edit(there, f"there-{number}")
                edit(here, f"meanwhile-{number}")
                mortal.start()
                began = time.monotonic()
                edit(there, f"after-{number}")
                wait_for_all([here, there], words, began + SOON)
                slowest = max(slowest, time.monotonic() - began)
        print(f"{RESTARTS} restarts: both show the same after {slowest:.1f} s at most")
        for daemon in daemons:
            daemon.stop()


def test_an_entry_without_notification_is_found_though_its_id_is_low(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database, RECONCILE_INTERVAL=0.2)
    connection = database.connect()
    with Client(daemon, "one", ada) as client, connection.cursor() as cursor:
        client.edit(typed("first "))
        daemon.wait_until(lambda: daemon.get("/health")[1]["unsaved_updates"] == 0)
        # An INSERT without a notification, committed after entries with higher ids.
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO yjs_update_log (document_id, update) VALUES ('diagram-one', %s)", (typed("slow "),))
        for number in range(20):
            client.edit(typed(f"{number} "))
            daemon.wait_until(lambda: daemon.get("/health")[1]["unsaved_updates"] == 0)
        cursor.execute("COMMIT")
        while "slow" not in client.text:
            client.receive()
    connection.close()


def test_an_entry_that_cannot_be_read_is_reported_and_delays_no_other(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    database.add_diagram("two", ada)
    daemon = start_daemon(database, RECONCILE_INTERVAL=0.2)
    with Client(daemon, "one", ada) as one, Client(daemon, "two", ada) as two:
        for client in (one, two):
            client.edit(typed("before "))
        daemon.wait_until(lambda: database.query("SELECT count(*) FROM yjs_document") == [(2,)])
        for update, room in ((b"\x01nonsense", "one"), (typed("good "), "one"), (typed("good "), "two")):
            database.query(
                "INSERT INTO yjs_update_log (document_id, update) VALUES (%s, %s)", (f"diagram-{room}", update)
            )
        for client in (one, two):
            while "good" not in client.text:
                client.receive()
    assert [event["room"] for event in daemon.events("following failed")] == ["diagram-one"]
