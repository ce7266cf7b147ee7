"""Following the log: what a second daemon, or a plain INSERT, has appended is applied to the rooms in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock, Cooperator

from canvas_collab.counters import Counters
from canvas_collab.document.document import Document
from canvas_collab.persistence.seen_ids import LogHorizon, SeenIds
from canvas_collab.persistence.snapshots import Snapshots
from canvas_collab.persistence.store import DocumentStore, StoredDocument
from canvas_collab.protocol import sync
from canvas_collab.protocol.update import decode_update
from canvas_collab.replication.follower import (
    FIRST_RETRY_DELAY,
    LONGEST_RETRY_DELAY,
    POLL_INTERVAL,
    READ_BYTES,
    READ_ENTRIES,
    LogFollower,
    _pages,
)
from canvas_collab.replication.log_reader import LogReader, ReadEntry, UnseenEntries
from canvas_collab.replication.notifications import AppendNotification
from canvas_collab.rooms.awareness import Awareness
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.pacing import FlushPacer
from canvas_collab.rooms.room import Room
from canvas_collab.rooms.rooms import Rooms
from tests.conftest import StartDaemon
from tests.support.clients import Client, typed
from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase, User


@pytest.fixture
def ada(database: TestDatabase) -> User:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    return ada


def wait_until_unloaded(daemon: Daemon) -> None:
    daemon.wait_until(lambda: daemon.get("/health")[1]["documents"] == 0)


def test_an_edit_on_one_daemon_is_seen_on_the_other(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    left, right = start_daemon(database), start_daemon(database)
    with Client(left, "one", ada) as here, Client(right, "one", ada) as there:
        here.edit(typed("from the left "))
        there.wait_for("from the left ")
        there.send(sync.encode_update(typed("from the right ")))
        here.wait_for_update()
        there.flush()
        here.flush()
        assert here.text == there.text
        assert "from the right" in here.text
    for daemon in (left, right):
        wait_until_unloaded(daemon)
    # Neither daemon has appended what the other had appended already.
    assert database.query("SELECT count(*) FROM yjs_update_log") == [(2,)]
    with Client(left, "one", ada) as later:
        assert "from the left" in later.text
        assert "from the right" in later.text


def test_entries_appended_while_the_connection_was_lost_are_found(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database)
    with Client(daemon, "one", ada) as client:
        client.edit(typed("before "))
        daemon.wait_until(lambda: database.query("SELECT count(*) FROM yjs_update_log") == [(1,)])
        # An INSERT without a notification; the daemon searches the log when it has lost the connection that listens.
        database.query(
            "INSERT INTO yjs_update_log (document_id, update) VALUES ('diagram-one', %s)", (typed("meanwhile "),)
        )
        database.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%% listening' "
            "AND datname = current_database()",
            {},
        )
        client.wait_for_update()
        client.flush()
        assert "meanwhile" in client.text
        assert "before" in client.text


class StagedLog:
    """A log reader whose queries fail as often as `failures` says."""

    def __init__(self) -> None:
        self.failures = 0
        self.queries = 0
        self.entries: list[ReadEntry] = []

    async def read_appended(
        self, notifications: Sequence[AppendNotification], document_ids: Sequence[str]
    ) -> list[ReadEntry]:
        self._query()
        return [
            entry
            for entry in self.entries
            if any(notification.first <= entry.id <= notification.last for notification in notifications)
        ]

    async def find_unseen(self, gaps: tuple[list[int], list[int]], document_ids: Sequence[str]) -> UnseenEntries:
        self._query()
        found = [
            (entry.id, len(entry.update))
            for entry in self.entries
            if any(first <= entry.id <= last for first, last in zip(*gaps, strict=True))
        ]
        return UnseenEntries(LogHorizon(max((entry.id for entry in self.entries), default=0), 1, 1), found, True)

    async def read(self, ids: Sequence[int]) -> list[ReadEntry]:
        return [entry for entry in self.entries if entry.id in ids]

    def _query(self) -> None:
        self.queries += 1
        if self.failures:
            self.failures -= 1
            raise RuntimeError("away")


class StagedStore:
    """The part of a document store that the follower uses."""

    origin = "this daemon"

    def __init__(self) -> None:
        self.seen = SeenIds()
        self.loaded: list[str] = []

    async def load(self, document_id: str) -> StoredDocument:
        self.loaded.append(document_id)
        return StoredDocument(Document([decode_update(typed("all of it"))]), 0, 0, None)


def run_at_once(work: Callable[[], None]) -> IDelayedCall:
    """The scheduler of a cooperator that does all work in one go."""
    work()
    return cast(IDelayedCall, None)


class Stage:
    """A follower with one document in memory, to which other daemons append."""

    RETENTION = 300.0

    def __init__(self) -> None:
        self.clock = Clock()
        self.log = StagedLog()
        self.store = StagedStore()
        self.are_notified = True
        self.reset_searches = 0
        self.failing_reset_searches = 0
        room = Room[Connection](
            self.clock,
            "room",
            Document(),
            Awareness(10),
            FlushPacer(0.5, 0.04),
            FlushPacer(0.5, 0.04),
            lambda *_: None,
            Counters(),
        )
        self.document = room.document
        self.changed: list[str] = []

        async def load(name: str) -> Room[Connection]:
            return room

        async def save(name: str) -> None:
            return

        self.rooms = Rooms(self.clock, load, save)
        Deferred.fromCoroutine(self.rooms.enter("room"))
        self.follower = LogFollower(
            self.clock,
            cast(DocumentStore, self.store),
            cast(LogReader, self.log),
            self.rooms,
            Snapshots(self.clock, cast(Any, None), 1, 1, Counters()),
            30.0,
            self.RETENTION,
            lambda: self.are_notified,
            self._find_missed_resets,
            Cooperator(scheduler=run_at_once),
        )
        self.follower.startService()

    async def _find_missed_resets(self) -> None:
        self.reset_searches += 1
        if self.failing_reset_searches:
            self.failing_reset_searches -= 1
            raise RuntimeError("away")

    def add(self, text: str) -> AppendNotification:
        """Another daemon appends an entry; returns the notification of it, which may arrive or not."""
        number = len(self.log.entries) + 1
        self.log.entries.append(ReadEntry("room", number, typed(text)))
        return AppendNotification("another daemon", number, number)

    @property
    def count(self) -> int:
        """How many entries were applied."""
        return len(self.document.clocks)


def test_following_is_retried_with_growing_delays_until_it_succeeds() -> None:
    stage = Stage()
    before = stage.log.queries
    stage.log.failures = 8
    notification = stage.add("one")
    stage.follower.appended(notification)
    assert stage.count == 0
    # Notifications in the meantime do not make it retry more often.
    for _ in range(10):
        stage.follower.appended(notification)
    assert stage.log.queries == before + 1
    stage.clock.advance(FIRST_RETRY_DELAY)
    assert before + 2 <= stage.log.queries <= before + 3
    for _ in range(8):
        stage.clock.advance(LONGEST_RETRY_DELAY)
    assert stage.count == 1
    # After that it reads each append at once.
    stage.follower.appended(stage.add("two"))
    assert stage.count == 2


def test_entries_without_notification_are_found_at_intervals_and_every_second_if_none_arrive() -> None:
    stage = Stage()
    stage.add("one")
    stage.clock.advance(29)
    assert stage.count == 0
    stage.clock.advance(1)
    assert stage.count == 1
    stage.are_notified = False
    stage.follower.catch_up()
    for number in range(2, 5):
        stage.add(str(number))
        assert stage.count == number - 1
        stage.clock.advance(POLL_INTERVAL)
        assert stage.count == number


def test_whole_documents_are_read_after_a_time_in_which_entries_may_have_been_pruned() -> None:
    stage = Stage()
    stage.log.failures = 10**6
    for _ in range(int(Stage.RETENTION / LONGEST_RETRY_DELAY) + 1):
        stage.clock.advance(LONGEST_RETRY_DELAY)
    assert stage.store.loaded == []
    stage.log.failures = 0
    stage.clock.advance(LONGEST_RETRY_DELAY)
    assert (stage.store.loaded, stage.count) == (["room"], 1)


def test_missed_resets_are_searched_for_until_that_succeeds_before_anything_is_applied() -> None:
    stage = Stage()
    before = stage.reset_searches
    stage.failing_reset_searches = 3
    stage.add("one")
    stage.follower.catch_up()
    for failed in range(1, 4):
        assert (stage.reset_searches, stage.count) == (before + failed, 0)
        stage.clock.advance(LONGEST_RETRY_DELAY)
    assert (stage.reset_searches, stage.count) == (before + 4, 1)
    # After that no reset can have been missed.
    stage.clock.advance(60)
    assert stage.reset_searches == before + 4


def test_following_stops_with_the_service() -> None:
    stage = Stage()
    stage.log.failures = 1
    stage.follower.catch_up()
    before = stage.log.queries
    stage.follower.stopService()
    stage.clock.advance(100)
    assert (stage.log.queries, stage.clock.getDelayedCalls()) == (before, [])


def test_unseen_entries_are_read_in_pages_of_limited_entries_and_bytes() -> None:
    sizes = [10] * (READ_ENTRIES + 1) + [READ_BYTES] * 2 + [READ_BYTES // 2] * 3
    pages = list(_pages(list(enumerate(sizes))))
    assert [len(page) for page in pages] == [READ_ENTRIES, 1, 1, 1, 2, 1]
    assert [number for page in pages for number in page] == list(range(len(sizes)))
