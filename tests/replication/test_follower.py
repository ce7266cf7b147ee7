"""Following what others put into the log: a second daemon, or somebody who writes to the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, Cooperator

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
from canvas_collab.replication.notifications import AppendNotification, parse_append_notification
from canvas_collab.rooms.awareness import Awareness
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.pacing import FlushPacer
from canvas_collab.rooms.room import Room
from canvas_collab.rooms.rooms import Rooms
from tests.conftest import StartDaemon
from tests.support.clients import Client, typed
from tests.support.databases import TestDatabase, User


@pytest.fixture
def ada(database: TestDatabase) -> User:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    return ada


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
        daemon.wait_until(lambda daemon=daemon: daemon.get("/health")[1]["documents"] == 0)
    # Nobody has journalled what the other had journalled already.
    assert database.query("SELECT count(*) FROM yjs_update_log") == [(2,)]
    with Client(left, "one", ada) as later:
        assert "from the left" in later.text
        assert "from the right" in later.text


def test_what_was_missed_while_the_database_was_away_is_caught_up_on(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database)
    with Client(daemon, "one", ada) as client:
        client.edit(typed("before "))
        daemon.wait_until(lambda: database.query("SELECT count(*) FROM yjs_update_log") == [(1,)])
        # Whoever writes to the table without a word is not heard; losing the connection makes the daemon look.
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


@given(st.integers(0), st.integers(0))
def test_a_notification_says_what_was_added(first: int, last: int) -> None:
    assert parse_append_notification(f"origin {first} {last}") == AppendNotification("origin", first, last)


@pytest.mark.parametrize("payload", ["", "hello", "a b c", "a 1 x", "a 1 2 d"])
def test_what_is_no_notification_of_ours_is_none(payload: str) -> None:
    assert parse_append_notification(payload) is None


class StagedLog:
    """What others have added, where looking at it fails as often as the test says."""

    def __init__(self) -> None:
        self.failures = 0
        self.looks = 0
        self.entries: list[ReadEntry] = []

    async def read_appended(
        self, notifications: Sequence[AppendNotification], document_ids: Sequence[str]
    ) -> list[ReadEntry]:
        self._look()
        return [
            entry
            for entry in self.entries
            if any(notification.first <= entry.id <= notification.last for notification in notifications)
        ]

    async def find_unseen(self, gaps: tuple[list[int], list[int]], document_ids: Sequence[str]) -> UnseenEntries:
        self._look()
        found = [
            (entry.id, len(entry.update))
            for entry in self.entries
            if any(first <= entry.id <= last for first, last in zip(*gaps, strict=True))
        ]
        return UnseenEntries(LogHorizon(max((entry.id for entry in self.entries), default=0), 1, 1), found, True)

    async def read(self, ids: Sequence[int]) -> list[ReadEntry]:
        return [entry for entry in self.entries if entry.id in ids]

    def _look(self) -> None:
        self.looks += 1
        if self.failures:
            self.failures -= 1
            raise RuntimeError("away")


class StagedStore:
    """As much of a store as following takes."""

    origin = "oneself"

    def __init__(self) -> None:
        self.seen = SeenIds()
        self.loaded: list[str] = []

    async def load(self, document_id: str) -> StoredDocument:
        self.loaded.append(document_id)
        return StoredDocument(Document([decode_update(typed("all of it"))]), 0, 0, None)


def at_once(work: Callable[[], object]) -> None:
    """Other work has no turns here."""
    work()


class Stage:
    """One document in memory, and others who edit it."""

    LONGEST_GAP = 300.0

    def __init__(self) -> None:
        self.clock = Clock()
        self.log = StagedLog()
        self.store = StagedStore()
        self.hears = True
        self.looks_for_resets = 0
        self.failing_looks_for_resets = 0
        room = Room[Connection](
            self.clock, "room", Document(), Awareness(10), FlushPacer(0.5, 0.04), FlushPacer(0.5, 0.04), lambda *_: None
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
            Snapshots(self.clock, cast(Any, None), 1, 1),
            30.0,
            self.LONGEST_GAP,
            lambda: self.hears,
            self._look_for_resets,
            Cooperator(scheduler=at_once),
        )
        self.follower.startService()

    async def _look_for_resets(self) -> None:
        self.looks_for_resets += 1
        if self.failing_looks_for_resets:
            self.failing_looks_for_resets -= 1
            raise RuntimeError("away")

    def add(self, text: str) -> AppendNotification:
        """Somebody adds something, which may be heard of."""
        number = len(self.log.entries) + 1
        self.log.entries.append(ReadEntry("room", number, typed(text)))
        return AppendNotification("others", number, number)

    @property
    def count(self) -> int:
        """How many additions have arrived."""
        return len(self.document.clocks)


def test_following_is_tried_until_it_succeeds_with_growing_pauses() -> None:
    stage = Stage()
    looks = stage.log.looks
    stage.log.failures = 8
    addition = stage.add("one")
    stage.follower.appended(addition)
    assert stage.count == 0
    # What is heard of meanwhile does not make it try more often.
    for _ in range(10):
        stage.follower.appended(addition)
    assert stage.log.looks == looks + 1
    stage.clock.advance(FIRST_RETRY_DELAY)
    assert looks + 2 <= stage.log.looks <= looks + 3
    for _ in range(8):
        stage.clock.advance(LONGEST_RETRY_DELAY)
    assert stage.count == 1
    # Then it is as ever.
    stage.follower.appended(stage.add("two"))
    assert stage.count == 2


def test_what_nobody_told_of_is_found_from_time_to_time_and_every_second_where_nothing_is_heard() -> None:
    stage = Stage()
    stage.add("one")
    stage.clock.advance(29)
    assert stage.count == 0
    stage.clock.advance(1)
    assert stage.count == 1
    stage.hears = False
    stage.follower.catch_up()
    for number in range(2, 5):
        stage.add(str(number))
        assert stage.count == number - 1
        stage.clock.advance(POLL_INTERVAL)
        assert stage.count == number


def test_after_a_gap_in_which_entries_may_have_gone_documents_are_read_whole() -> None:
    stage = Stage()
    stage.log.failures = 10**6
    for _ in range(int(Stage.LONGEST_GAP / LONGEST_RETRY_DELAY) + 1):
        stage.clock.advance(LONGEST_RETRY_DELAY)
    assert stage.store.loaded == []
    stage.log.failures = 0
    stage.clock.advance(LONGEST_RETRY_DELAY)
    assert (stage.store.loaded, stage.count) == (["room"], 1)


def test_resets_that_may_have_been_missed_are_looked_for_until_that_succeeds_before_anything_is_taken_over() -> None:
    stage = Stage()
    looks = stage.looks_for_resets
    stage.failing_looks_for_resets = 3
    stage.add("one")
    stage.follower.catch_up()
    for failed in range(1, 4):
        assert (stage.looks_for_resets, stage.count) == (looks + failed, 0)
        stage.clock.advance(LONGEST_RETRY_DELAY)
    assert (stage.looks_for_resets, stage.count) == (looks + 4, 1)
    # Then nothing can have been missed any more.
    stage.clock.advance(60)
    assert stage.looks_for_resets == looks + 4


def test_following_stops_with_the_service() -> None:
    stage = Stage()
    stage.log.failures = 1
    stage.follower.catch_up()
    looks = stage.log.looks
    stage.follower.stopService()
    stage.clock.advance(100)
    assert (stage.log.looks, stage.clock.getDelayedCalls()) == (looks, [])


def test_what_is_missing_is_read_in_pages_of_few_entries_and_bytes() -> None:
    sizes = [10] * (READ_ENTRIES + 1) + [READ_BYTES] * 2 + [READ_BYTES // 2] * 3
    pages = list(_pages(list(enumerate(sizes))))
    assert [len(page) for page in pages] == [READ_ENTRIES, 1, 1, 1, 2, 1]
    assert [number for page in pages for number in page] == list(range(len(sizes)))
