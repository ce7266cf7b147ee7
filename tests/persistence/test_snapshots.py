"""When snapshots are written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from canvas_collab.counters import Counters
from canvas_collab.persistence.snapshots import SMALL_SNAPSHOT, Snapshots
from canvas_collab.persistence.store import FoldResult

DEBOUNCE, MAX_WAIT = 1.0, 10.0


def folded(entries: int, size: int = 1000) -> FoldResult:
    return FoldResult(entries, size, False)


class Stage:
    """Snapshots whose folding ends when the test fires the Deferreds in `writing`."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.written: list[str] = []
        self.compacted: list[bool] = []
        self.writing: list[Deferred[FoldResult]] = []
        self.snapshots = Snapshots(self.clock, self.fold, DEBOUNCE, MAX_WAIT, Counters())
        self.snapshots.startService()

    def fold(self, document_id: str, compact: bool) -> Deferred[FoldResult]:
        self.written.append(document_id)
        self.compacted.append(compact)
        self.writing.append(Deferred())
        return self.writing[-1]

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.05] * round(seconds / 0.05))


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.snapshots.stopService()


def test_a_snapshot_is_written_when_its_document_has_not_changed_for_the_debounce_time(stage: Stage) -> None:
    stage.snapshots.changed({"a": 100})
    stage.pass_time(DEBOUNCE / 2)
    stage.snapshots.changed({"a": 100})
    stage.pass_time(DEBOUNCE * 0.9)
    assert stage.written == []
    stage.pass_time(DEBOUNCE / 2)
    assert stage.written == ["a"]
    stage.writing[0].callback(folded(1))
    stage.pass_time(MAX_WAIT)
    assert stage.written == ["a"]


def test_a_document_that_keeps_changing_is_written_after_the_maximum_wait(stage: Stage) -> None:
    for _ in range(int(MAX_WAIT / 0.5) - 1):
        stage.snapshots.changed({"a": 100})
        stage.pass_time(0.5)
    assert stage.written == []
    stage.snapshots.changed({"a": 100})
    stage.pass_time(1)
    assert stage.written == ["a"]


def test_a_change_during_a_write_is_written_afterwards(stage: Stage) -> None:
    stage.snapshots.changed({"a": 100})
    stage.pass_time(2)
    stage.snapshots.changed({"a": 100})
    stage.pass_time(5)
    assert stage.written == ["a"]
    stage.writing[0].callback(folded(1))
    stage.pass_time(1)
    assert stage.written == ["a", "a"]


def test_a_failed_write_is_retried(stage: Stage) -> None:
    stage.snapshots.changed({"a": 100})
    stage.pass_time(2)
    stage.writing[0].errback(RuntimeError("away"))
    stage.pass_time(2)
    assert stage.written == ["a", "a"]


def test_writing_on_request_waits_for_the_write_in_progress_only(stage: Stage) -> None:
    stage.snapshots.changed({"a": 100})
    first = Deferred.fromCoroutine(stage.snapshots.write("a"))
    stage.snapshots.changed({"a": 100})
    second = Deferred.fromCoroutine(stage.snapshots.write("a"))
    assert stage.written == ["a"]
    stage.writing[0].callback(folded(1))
    assert first.called
    assert stage.written == ["a", "a"]
    stage.writing[1].callback(folded(1))
    assert second.called
    assert Deferred.fromCoroutine(stage.snapshots.write("a")).called
    assert stage.written == ["a", "a"]


def test_writing_on_request_raises_what_folding_raised(stage: Stage) -> None:
    stage.snapshots.changed({"a": 100})
    writing = Deferred.fromCoroutine(stage.snapshots.write("a"))
    stage.writing[0].errback(RuntimeError("away"))
    failures: list[object] = []
    writing.addErrback(failures.append)
    assert len(failures) == 1


def test_writing_everything_continues_after_a_failure(stage: Stage) -> None:
    stage.snapshots.changed({"a": 100})
    stage.snapshots.changed({"b": 100})
    everything = Deferred.fromCoroutine(stage.snapshots.write_all())
    stage.writing[0].errback(RuntimeError("away"))
    stage.writing[1].callback(folded(1))
    assert everything.called
    assert stage.written == ["a", "b"]


def test_a_large_document_is_written_when_its_log_has_grown_to_a_fraction_of_it(stage: Stage) -> None:
    stage.snapshots.loaded("large", 100 * SMALL_SNAPSHOT, 0)
    for _ in range(12):
        stage.snapshots.changed({"large": SMALL_SNAPSHOT})
        stage.pass_time(MAX_WAIT)
    assert stage.written == []
    stage.snapshots.changed({"large": SMALL_SNAPSHOT})
    stage.pass_time(DEBOUNCE * 2)
    assert stage.written == ["large"]
    stage.writing[0].callback(folded(13, 113 * SMALL_SNAPSHOT))
    stage.snapshots.changed({"large": 13 * SMALL_SNAPSHOT})
    stage.pass_time(DEBOUNCE * 2)
    assert stage.written == ["large"]


def test_a_large_document_that_is_closed_is_written_when_less_has_changed(stage: Stage) -> None:
    stage.snapshots.loaded("large", 128 * SMALL_SNAPSHOT, 0)
    stage.snapshots.changed({"large": SMALL_SNAPSHOT})
    assert Deferred.fromCoroutine(stage.snapshots.unloaded("large")).called
    assert stage.written == []
    # What is in the log counts when it is loaded again.
    stage.snapshots.loaded("large", 128 * SMALL_SNAPSHOT, SMALL_SNAPSHOT)
    stage.snapshots.changed({"large": SMALL_SNAPSHOT})
    unloading = Deferred.fromCoroutine(stage.snapshots.unloaded("large"))
    assert stage.written == ["large"]
    stage.writing[0].callback(folded(2, 130 * SMALL_SNAPSHOT))
    assert unloading.called


def test_a_small_document_is_written_however_little_has_changed(stage: Stage) -> None:
    stage.snapshots.loaded("small", SMALL_SNAPSHOT, 1)
    assert not Deferred.fromCoroutine(stage.snapshots.unloaded("small")).called
    assert stage.written == ["small"]


def test_writing_everything_does_not_compact(stage: Stage) -> None:
    stage.snapshots.changed({"a": 100})
    Deferred.fromCoroutine(stage.snapshots.write_all())
    assert stage.compacted == [False]


def test_writing_everything_waits_for_what_is_being_written(stage: Stage) -> None:
    stage.snapshots.changed({"a": 100})
    stage.pass_time(DEBOUNCE * 2)
    assert stage.written == ["a"]
    everything = Deferred.fromCoroutine(stage.snapshots.write_all())
    assert not everything.called
    stage.writing[0].callback(folded(1))
    assert everything.called
    assert stage.written == ["a"]


def test_writing_everything_skips_what_was_written_meanwhile(stage: Stage) -> None:
    stage.snapshots.loaded("b", 2 * SMALL_SNAPSHOT, 0)
    stage.snapshots.changed({"a": 100, "b": SMALL_SNAPSHOT, "c": 100})
    everything = Deferred.fromCoroutine(stage.snapshots.write_all())
    leaving = Deferred.fromCoroutine(stage.snapshots.unloaded("b"))
    for number in range(3):
        stage.writing[number].callback(folded(1))
    assert (everything.called, leaving.called) == (True, True)
    assert everything.result is None
    assert sorted(stage.written) == ["a", "b", "c"]


def test_any_number_may_wait_for_a_write_in_progress(stage: Stage) -> None:
    stage.snapshots.changed({"a": 100})
    number = 2000
    waiting = [Deferred.fromCoroutine(stage.snapshots.write("a")) for _ in range(number)]
    stage.writing[0].callback(folded(1))
    assert [deferred.called for deferred in waiting] == [True] * number
    stage.snapshots.changed({"a": 100})
    stage.pass_time(2 * DEBOUNCE)
    assert stage.written == ["a", "a"]
