"""The journal: group commit, order, retry, bounds.  The database is staged here, so that it can fail on time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from canvas_collab.database.errors import ValuesRefused
from canvas_collab.persistence import batches
from canvas_collab.persistence.batches import ENTRY_OVERHEAD
from canvas_collab.persistence.journal import LONGEST_RETRY_DELAY, SLOW_COMMIT, Journal
from canvas_collab.persistence.postponed import FIRST_LOCKED_RETRY_DELAY, REFUSED_RETRY_DELAY
from canvas_collab.persistence.store import DocumentsLocked, LogEntry

INTERVAL = 0.02


class StagedLog:
    """A log whose commits end when the test says so."""

    def __init__(self) -> None:
        self.batches: list[list[LogEntry]] = []
        self.commits: list[Deferred[None]] = []

    def append(self, entries: Sequence[LogEntry]) -> Deferred[None]:
        self.batches.append(list(entries))
        self.commits.append(Deferred())
        return self.commits[-1]


class Stage:
    def __init__(self, queue_max: int = 100_000) -> None:
        self.clock = Clock()
        self.log = StagedLog()
        self.touched: list[Mapping[str, int]] = []
        self.journal = Journal(self.clock, self.log, INTERVAL, queue_max, self.touched.append)

    def write(self, *updates: bytes, room: str = "room") -> None:
        for update in updates:
            self.journal.append(LogEntry(room, "ada", update))


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_updates_of_one_interval_are_one_commit_in_their_order(stage: Stage) -> None:
    stage.write(b"1", b"2")
    stage.write(b"3", room="other")
    assert stage.log.batches == []
    stage.clock.advance(INTERVAL)
    assert [entry.update for entry in stage.log.batches[0]] == [b"1", b"2", b"3"]
    stage.log.commits[0].callback(None)
    assert stage.touched == [{"room": 2, "other": 1}]
    assert stage.journal.unsaved == 0


def test_one_commit_is_under_way_at_a_time_and_the_next_takes_what_has_gathered(stage: Stage) -> None:
    stage.write(b"1")
    stage.clock.advance(INTERVAL)
    stage.write(b"2", b"3")
    stage.clock.advance(10)
    assert len(stage.log.batches) == 1
    stage.log.commits[0].callback(None)
    assert [entry.update for entry in stage.log.batches[1]] == [b"2", b"3"]
    assert stage.journal.unsaved == 2


def test_what_comes_in_during_a_commit_waits_for_company_too(stage: Stage) -> None:
    stage.write(b"1")
    stage.clock.advance(INTERVAL)
    stage.write(b"2")
    stage.clock.advance(INTERVAL / 4)
    stage.log.commits[0].callback(None)
    stage.write(b"3")
    stage.clock.advance(INTERVAL / 2)
    assert len(stage.log.batches) == 1
    stage.clock.advance(INTERVAL / 4)
    assert [entry.update for entry in stage.log.batches[1]] == [b"2", b"3"]
    stage.log.commits[1].callback(None)
    assert stage.journal.unsaved == 0


def test_hastening_during_a_commit_lets_the_next_follow_at_once(stage: Stage) -> None:
    stage.write(b"1")
    stage.clock.advance(INTERVAL)
    stage.write(b"2")
    stage.journal.flush_soon()
    stage.log.commits[0].callback(None)
    assert [entry.update for entry in stage.log.batches[1]] == [b"2"]


def test_what_waits_is_told_when_everything_before_it_is_committed(stage: Stage) -> None:
    stage.write(b"1")
    first = stage.journal.when_committed()
    stage.clock.advance(INTERVAL)
    stage.write(b"2")
    second = stage.journal.when_committed()
    assert not first.called
    stage.log.commits[0].callback(None)
    assert first.called
    assert not second.called
    stage.clock.advance(INTERVAL)
    stage.log.commits[1].callback(None)
    assert second.called
    assert stage.journal.when_committed().called


def test_a_failed_commit_is_tried_again_with_the_same_entries_and_growing_pauses(stage: Stage) -> None:
    stage.write(b"1")
    stage.clock.advance(INTERVAL)
    for attempt in range(8):
        stage.log.commits[attempt].errback(RuntimeError("away"))
        assert stage.journal.unsaved == 1
        assert len(stage.log.batches) == attempt + 1
        stage.clock.advance(LONGEST_RETRY_DELAY)
    assert stage.touched == []
    stage.log.commits[-1].callback(None)
    assert stage.journal.unsaved == 0
    assert all([entry.update for entry in batch] == [b"1"] for batch in stage.log.batches)


def test_what_comes_while_the_database_is_away_is_committed_after_it_in_order(stage: Stage) -> None:
    stage.write(b"1")
    stage.clock.advance(INTERVAL)
    stage.log.commits[0].errback(RuntimeError("away"))
    stage.write(b"2")
    stage.clock.advance(LONGEST_RETRY_DELAY)
    assert [entry.update for entry in stage.log.batches[1]] == [b"1", b"2"]


def test_the_journal_says_why_commits_fail_until_one_succeeds(stage: Stage) -> None:
    assert stage.journal.problem is None
    stage.write(b"1")
    stage.clock.advance(INTERVAL)
    assert stage.journal.problem is None
    stage.log.commits[0].errback(RuntimeError("no space\n  left"))
    assert stage.journal.problem == "updates cannot be committed: no space left"
    stage.clock.advance(LONGEST_RETRY_DELAY)
    assert stage.journal.problem is not None
    stage.log.commits[1].callback(None)
    assert stage.journal.problem is None


def test_a_commit_that_does_not_end_is_trouble_after_a_while(stage: Stage) -> None:
    stage.write(b"1")
    stage.clock.advance(INTERVAL)
    stage.clock.advance(SLOW_COMMIT)
    assert stage.journal.problem is None
    stage.clock.advance(1)
    assert stage.journal.problem == "a commit has not ended after 6 s"
    stage.log.commits[0].callback(None)
    assert stage.journal.problem is None


def test_being_full_and_a_fault_of_the_program_are_trouble() -> None:
    stage = Stage(queue_max=1)
    stage.write(b"1")
    assert stage.journal.problem == "the queue of updates for the database is full"

    def fail(sizes: Mapping[str, int]) -> None:
        raise RuntimeError("a fault")

    stage.journal._on_commit = fail
    stage.clock.advance(INTERVAL)
    stage.log.commits[0].callback(None)
    assert stage.journal.problem == "updates cannot be committed: the journal stopped"


def test_hastening_commits_at_once(stage: Stage) -> None:
    stage.write(b"1")
    stage.journal.flush_soon()
    stage.clock.advance(0)
    assert len(stage.log.batches) == 1
    stage.log.commits[0].errback(RuntimeError("away"))
    stage.journal.flush_soon()
    stage.clock.advance(0)
    assert len(stage.log.batches) == 2


def test_the_journal_is_full_from_its_bound_until_a_commit() -> None:
    stage = Stage(queue_max=10 + 3 * ENTRY_OVERHEAD)
    stage.write(b"12345", b"1234")
    assert not stage.journal.full
    stage.write(b"1")
    assert stage.journal.full
    stage.clock.advance(INTERVAL)
    stage.log.commits[0].callback(None)
    assert not stage.journal.full


def test_a_commit_takes_a_bounded_number_of_entries_and_bytes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BATCH_ENTRIES", 3)
    monkeypatch.setattr(batches, "BATCH_BYTES", 10)
    stage.write(b"1", b"2", b"3", b"4", b"x" * 20, b"5" * 6, b"6" * 6)
    stage.clock.advance(INTERVAL)
    for commit in range(5):
        stage.log.commits[commit].callback(None)
        if not stage.journal.unsaved:
            break
    assert [[len(entry.update) for entry in batch] for batch in stage.log.batches] == [[1, 1, 1], [1], [20], [6], [6]]


def commit_all_but(stage: Stage, bad: bytes) -> list[bytes]:
    """Play a database that refuses one update; returns what was committed."""
    committed: list[bytes] = []
    number = 0
    while number < len(stage.log.commits):
        updates = [entry.update for entry in stage.log.batches[number]]
        if bad in updates:
            stage.log.commits[number].errback(ValuesRefused("no"))
        else:
            committed += updates
            stage.log.commits[number].callback(None)
        number += 1
    return committed


def test_an_update_that_the_database_refuses_holds_up_no_other(stage: Stage) -> None:
    updates = [bytes([number]) for number in range(100, 140)]
    stage.write(*updates)
    stage.clock.advance(INTERVAL)
    assert sorted(commit_all_but(stage, updates[17])) == sorted(updates[:17] + updates[18:])
    assert stage.journal.unsaved == 1
    # It is tried again, for the reason may have gone.
    stage.log.batches.clear()
    stage.log.commits.clear()
    stage.clock.advance(REFUSED_RETRY_DELAY)
    stage.clock.advance(0)
    assert [[entry.update for entry in batch] for batch in stage.log.batches] == [[updates[17]]]
    stage.log.commits[0].callback(None)
    assert stage.journal.unsaved == 0


def test_whoever_waits_for_the_document_of_a_refused_update_waits_on_and_nobody_else(stage: Stage) -> None:
    before = stage.journal.when_committed("bad")
    assert before.called
    stage.write(b"1", room="bad")
    early = stage.journal.when_committed("bad")
    stage.write(b"!", room="bad")
    held = stage.journal.when_committed("bad")
    stage.write(b"2", room="good")
    free = stage.journal.when_committed("good")
    everything = stage.journal.when_committed()
    stage.clock.advance(INTERVAL)
    assert sorted(commit_all_but(stage, b"!")) == [b"1", b"2"]
    assert (early.called, held.called, free.called, everything.called) == (True, False, True, False)
    stage.write(b"3", room="bad")
    later = stage.journal.when_committed("bad")
    stage.clock.advance(INTERVAL)
    stage.log.commits[-1].callback(None)
    assert not later.called
    stage.clock.advance(REFUSED_RETRY_DELAY)
    stage.clock.advance(0)
    stage.log.commits[-1].callback(None)
    assert (held.called, everything.called, later.called) == (True, True, True)


def lock(stage: Stage, *rooms: str, known: bool = True) -> list[bytes]:
    """Play a database where somebody has locked these rooms, until it rests; returns what was committed."""
    committed: list[bytes] = []
    number = 0
    while number < len(stage.log.commits):
        batch, commit = stage.log.batches[number], stage.log.commits[number]
        if any(entry.document_id in rooms for entry in batch):
            commit.errback(DocumentsLocked(rooms if known else ()))
        else:
            committed += [entry.update for entry in batch]
            commit.callback(None)
        stage.clock.advance(0)
        number += 1
    stage.log.batches.clear()
    stage.log.commits.clear()
    return committed


@pytest.mark.parametrize("known", [True, False], ids=["it is known which", "it is not known which"])
def test_a_document_that_somebody_has_locked_holds_up_no_other_and_follows_in_its_order(
    stage: Stage, known: bool
) -> None:
    told: list[str] = []
    for number in range(4):
        for room in ("locked", "free", "other"):
            stage.write(f"{room} {number}".encode(), room=room)
            stage.journal.after_commit(room, lambda room=room, number=number: told.append(f"{room} {number}"))
    everything = stage.journal.when_committed()
    stage.clock.advance(INTERVAL)
    others = [f"{room} {number}" for number in range(4) for room in ("free", "other")]
    assert sorted(lock(stage, "locked", known=known)) == sorted(update.encode() for update in others)
    assert sorted(told) == sorted(others)
    assert (stage.journal.unsaved, stage.journal.problem) == (4, None)

    # What comes of it waits behind the rest of it, and nobody has to try the lock for that.
    stage.write(b"locked 4", room="locked")
    stage.journal.after_commit("locked", lambda: told.append("locked 4"))
    stage.write(b"free 4", room="free")
    stage.clock.advance(INTERVAL)
    assert [entry.update for entry in stage.log.batches[0]] == [b"free 4"]
    assert lock(stage, "locked") == [b"free 4"]
    assert not everything.called

    stage.clock.advance(2 * FIRST_LOCKED_RETRY_DELAY)
    assert lock(stage, "locked", known=known) == []
    stage.clock.advance(2 * FIRST_LOCKED_RETRY_DELAY)
    in_order = [f"locked {number}" for number in range(5)]
    assert lock(stage) == [update.encode() for update in in_order]
    assert [one for one in told if one.startswith("locked")] == in_order
    assert everything.called
    assert stage.journal.unsaved == 0
    # And it is as ever.
    stage.write(b"1", room="locked")
    stage.write(b"2", room="free")
    stage.clock.advance(INTERVAL)
    assert [len(batch) for batch in stage.log.batches] == [2]


def test_a_document_that_is_locked_is_tried_again_at_once_when_the_end_is_near(stage: Stage) -> None:
    stage.write(b"1", room="locked")
    stage.clock.advance(INTERVAL)
    lock(stage, "locked")
    stage.journal.flush_soon()
    stage.clock.advance(0)
    stage.clock.advance(0)
    assert lock(stage) == [b"1"]


def test_a_database_that_goes_away_while_a_document_is_put_aside_loses_nothing_of_it(stage: Stage) -> None:
    stage.write(b"1", b"2", room="locked")
    stage.clock.advance(INTERVAL)
    lock(stage, "locked")
    stage.clock.advance(FIRST_LOCKED_RETRY_DELAY)
    stage.clock.advance(0)
    stage.log.commits[0].errback(RuntimeError("away"))
    stage.write(b"3", room="free")
    stage.clock.advance(LONGEST_RETRY_DELAY)
    stage.log.commits[1].callback(None)
    stage.clock.advance(INTERVAL)
    stage.log.commits[2].callback(None)
    assert [[entry.update for entry in batch] for batch in stage.log.batches] == [[b"1", b"2"], [b"1", b"2"], [b"3"]]
    assert stage.journal.unsaved == 0


def test_telling_others_takes_as_many_steps_however_many_wait_for_a_document_that_is_locked(stage: Stage) -> None:
    steps = 0

    def act() -> None:
        nonlocal steps
        steps += 1

    stage.write(b"1", room="locked")
    stage.clock.advance(INTERVAL)
    lock(stage, "locked")
    for _ in range(1000):
        stage.write(b"1", room="locked")
        stage.journal.after_commit("locked", act)
    callbacks = stage.journal._callbacks
    assert len(callbacks._waiting) == 0
    stage.write(b"1", room="free")
    stage.journal.after_commit("free", act)
    assert len(callbacks._waiting) == 1
    stage.clock.advance(INTERVAL)
    stage.log.commits[0].callback(None)
    assert steps == 1
