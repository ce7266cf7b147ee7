"""The journal: group commit, order, retries and limits, on a log whose commits the test controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from canvas_collab.counters import Counters
from canvas_collab.database.errors import ValuesRefused
from canvas_collab.persistence import batches
from canvas_collab.persistence.batches import ENTRY_OVERHEAD
from canvas_collab.persistence.journal import LONGEST_RETRY_DELAY, SLOW_COMMIT, Journal
from canvas_collab.persistence.postponed import FIRST_LOCKED_RETRY_DELAY, REFUSED_RETRY_DELAY
from canvas_collab.persistence.store import DocumentsLocked, LogEntry

INTERVAL = 0.02


class StagedLog:
    """A log whose commits end when the test fires their Deferreds."""

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
        self.committed: list[Mapping[str, int]] = []
        self.counters = Counters()
        self.journal = Journal(self.clock, self.log, INTERVAL, queue_max, self.committed.append, self.counters)

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
    assert stage.committed == [{"room": 2, "other": 1}]
    assert stage.journal.unsaved == 0


def test_there_is_one_commit_at_a_time_and_the_next_has_all_updates_queued_meanwhile(stage: Stage) -> None:
    stage.write(b"1")
    stage.clock.advance(INTERVAL)
    stage.write(b"2", b"3")
    stage.clock.advance(10)
    assert len(stage.log.batches) == 1
    stage.log.commits[0].callback(None)
    assert [entry.update for entry in stage.log.batches[1]] == [b"2", b"3"]
    assert stage.journal.unsaved == 2


def test_updates_queued_during_a_commit_wait_for_the_rest_of_the_interval(stage: Stage) -> None:
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


def test_flushing_during_a_commit_makes_the_next_follow_at_once(stage: Stage) -> None:
    stage.write(b"1")
    stage.clock.advance(INTERVAL)
    stage.write(b"2")
    stage.journal.flush_soon()
    stage.log.commits[0].callback(None)
    assert [entry.update for entry in stage.log.batches[1]] == [b"2"]


def test_callbacks_are_called_when_everything_queued_before_them_is_committed(stage: Stage) -> None:
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


def test_a_failed_commit_is_retried_with_the_same_entries(stage: Stage) -> None:
    stage.write(b"1")
    stage.clock.advance(INTERVAL)
    for attempt in range(8):
        stage.log.commits[attempt].errback(RuntimeError("away"))
        assert stage.journal.unsaved == 1
        assert len(stage.log.batches) == attempt + 1
        stage.clock.advance(LONGEST_RETRY_DELAY)
    assert stage.committed == []
    stage.log.commits[-1].callback(None)
    assert stage.journal.unsaved == 0
    assert all([entry.update for entry in batch] == [b"1"] for batch in stage.log.batches)


def test_updates_queued_during_an_outage_are_committed_after_it_in_order(stage: Stage) -> None:
    stage.write(b"1")
    stage.clock.advance(INTERVAL)
    stage.log.commits[0].errback(RuntimeError("away"))
    stage.write(b"2")
    stage.clock.advance(LONGEST_RETRY_DELAY)
    assert [entry.update for entry in stage.log.batches[1]] == [b"1", b"2"]


def test_the_problem_is_the_reason_of_the_last_failure_until_a_commit_succeeds(stage: Stage) -> None:
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


def test_a_commit_that_does_not_end_is_a_problem_after_a_while(stage: Stage) -> None:
    stage.write(b"1")
    stage.clock.advance(INTERVAL)
    stage.clock.advance(SLOW_COMMIT)
    assert stage.journal.problem is None
    stage.clock.advance(1)
    assert stage.journal.problem == "a commit has not ended after 6 s"
    stage.log.commits[0].callback(None)
    assert stage.journal.problem is None


def test_a_full_queue_and_an_internal_error_are_problems() -> None:
    stage = Stage(queue_max=1)
    stage.write(b"1")
    assert stage.journal.problem == "the queue of updates for the database is full"

    def fail(sizes: Mapping[str, int]) -> None:
        raise RuntimeError("a fault")

    stage.journal._on_commit = fail
    stage.clock.advance(INTERVAL)
    stage.log.commits[0].callback(None)
    assert stage.journal.problem == "updates cannot be committed: the journal stopped"


def test_flushing_commits_at_once(stage: Stage) -> None:
    stage.write(b"1")
    stage.journal.flush_soon()
    stage.clock.advance(0)
    assert len(stage.log.batches) == 1
    stage.log.commits[0].errback(RuntimeError("away"))
    stage.journal.flush_soon()
    stage.clock.advance(0)
    assert len(stage.log.batches) == 2


def test_the_journal_is_full_from_its_limit_until_a_commit() -> None:
    stage = Stage(queue_max=10 + 3 * ENTRY_OVERHEAD)
    stage.write(b"12345", b"1234")
    assert not stage.journal.full
    stage.write(b"1")
    assert stage.journal.full
    stage.clock.advance(INTERVAL)
    stage.log.commits[0].callback(None)
    assert not stage.journal.full


def test_a_commit_has_a_limited_number_of_entries_and_bytes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
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
    """Refuse one update and commit all others, until no commit is left; return what was committed."""
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


def test_a_refused_update_delays_no_other(stage: Stage) -> None:
    updates = [bytes([number]) for number in range(100, 140)]
    stage.write(*updates)
    stage.clock.advance(INTERVAL)
    assert sorted(commit_all_but(stage, updates[17])) == sorted(updates[:17] + updates[18:])
    assert stage.journal.unsaved == 1
    # It is retried later: by then the constraint may allow it.
    stage.log.batches.clear()
    stage.log.commits.clear()
    stage.clock.advance(REFUSED_RETRY_DELAY)
    stage.clock.advance(0)
    assert [[entry.update for entry in batch] for batch in stage.log.batches] == [[updates[17]]]
    stage.log.commits[0].callback(None)
    assert stage.journal.unsaved == 0


@pytest.mark.parametrize("failure", [ValuesRefused("no"), DocumentsLocked(["room"])])
def test_an_update_that_is_postponed_does_not_count_in_the_latency_of_later_commits(
    stage: Stage, failure: Exception
) -> None:
    stage.write(b"1")
    stage.clock.advance(INTERVAL)
    stage.log.commits[0].errback(failure)
    stage.clock.advance(FIRST_LOCKED_RETRY_DELAY / 2)
    stage.write(b"2", room="other")
    stage.clock.advance(INTERVAL)
    stage.log.commits[1].callback(None)
    assert stage.counters.commit.total == pytest.approx(INTERVAL)


def test_callbacks_for_the_document_of_a_refused_update_wait_and_no_others(stage: Stage) -> None:
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
    """Fail the commits with entries of locked rooms and let others succeed; return what was committed."""
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


@pytest.mark.parametrize("known", [True, False], ids=["it is known which is", "it is unknown which is"])
def test_a_locked_document_delays_no_other_and_is_committed_in_order(stage: Stage, known: bool) -> None:
    called: list[str] = []
    for number in range(4):
        for room in ("locked", "free", "other"):
            stage.write(f"{room} {number}".encode(), room=room)
            stage.journal.after_commit(room, partial(called.append, f"{room} {number}"))
    everything = stage.journal.when_committed()
    stage.clock.advance(INTERVAL)
    others = [f"{room} {number}" for number in range(4) for room in ("free", "other")]
    assert sorted(lock(stage, "locked", known=known)) == sorted(update.encode() for update in others)
    assert sorted(called) == sorted(others)
    assert (stage.journal.unsaved, stage.journal.problem) == (4, None)

    # New updates of it are queued behind its others, and no commit fails for that.
    stage.write(b"locked 4", room="locked")
    stage.journal.after_commit("locked", lambda: called.append("locked 4"))
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
    assert [one for one in called if one.startswith("locked")] == in_order
    assert everything.called
    assert stage.journal.unsaved == 0
    # After that its updates are committed with those of other documents again.
    stage.write(b"1", room="locked")
    stage.write(b"2", room="free")
    stage.clock.advance(INTERVAL)
    assert [len(batch) for batch in stage.log.batches] == [2]


def test_flushing_retries_a_locked_document_at_once(stage: Stage) -> None:
    stage.write(b"1", room="locked")
    stage.clock.advance(INTERVAL)
    lock(stage, "locked")
    stage.journal.flush_soon()
    stage.clock.advance(0)
    stage.clock.advance(0)
    assert lock(stage) == [b"1"]


def test_an_outage_loses_no_postponed_entries(stage: Stage) -> None:
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


def test_callbacks_for_other_documents_do_not_pass_those_that_wait_for_a_locked_one(stage: Stage) -> None:
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
