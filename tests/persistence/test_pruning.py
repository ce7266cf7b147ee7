"""Pruning deletes old log entries in batches, and continues after a failure."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from canvas_collab.persistence.pruning import BATCH_ENTRIES, LogPruner
from tests.conftest import StartDaemon
from tests.support.databases import TestDatabase


def test_the_log_is_pruned_in_batches_until_no_entry_is_old_enough() -> None:
    clock = Clock()
    asked: list[int] = []
    answers = [BATCH_ENTRIES, BATCH_ENTRIES, 3, 0, 0]

    async def prune(limit: int) -> int:
        asked.append(limit)
        return answers.pop(0)

    history = LogPruner(clock, prune)
    history.startService()
    assert asked == [BATCH_ENTRIES] * 4
    history.stopService()


def test_pruning_continues_after_a_failure() -> None:
    clock = Clock()
    calls: list[int] = []

    def prune(limit: int) -> Deferred[int]:
        calls.append(limit)
        answer: Deferred[int] = Deferred()
        answer.errback(RuntimeError("away"))
        return answer

    history = LogPruner(clock, prune)
    history.startService()
    clock.pump([30.0] * 4)
    assert len(calls) == 3
    history.stopService()


def test_entries_older_than_the_retention_are_deleted_and_the_others_kept(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    database.query(
        "INSERT INTO yjs_document (id, data) VALUES ('diagram-one', '\\x0000');"
        "INSERT INTO yjs_update_log (document_id, update, merged_at, created_at) "
        "SELECT 'diagram-one', '\\x0000', now() - age, now() FROM unnest("
        "ARRAY['2 hours', '59 minutes', NULL]::interval[]) AS age"
    )
    daemon = start_daemon(database, HISTORY_RETENTION=3600)
    assert daemon.wait_for_event("history pruned")["entries"] == 1
    ages = database.query("SELECT merged_at IS NULL, merged_at < now() - interval '58 minutes' FROM yjs_update_log")
    assert sorted(ages, key=str) == [(False, True), (True, None)]
