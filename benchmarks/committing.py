"""Commits updates through a daemon's journal, and prints what that costs: a child process of :mod:`benchmarks.commits`.

It composes the whole daemon, without clients, from the checkout that ``PYTHONPATH`` names.  Settings are in the
environment.  Prints a JSON object a line.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted.internet.threads import deferToThread

from canvas_collab.config.settings import Settings
from canvas_collab.database.migrations import prepare_database
from canvas_collab.persistence.journal import Journal
from canvas_collab.persistence.store import LogEntry
from canvas_collab.replication.notifications import Notifications
from canvas_collab.service import collaboration_service

#: An update as large as that of one typed character.
SMALL_UPDATE = b"\x01\x01\xf3\x8f\xd4\x9a\x0c\x07\x84\xf3\x8f\xd4\x9a\x0c\x06\x01x\x00"

#: How many updates there are in a commit, and in how many documents at most.
SIZES = 1, 50
DOCUMENTS = 10

#: The time to connect, to send the first test notification, and to prepare, in seconds.
SETTLING = 1.0
WARM_UP = 20


def _commit(journal: Journal, batch: list[LogEntry]) -> Deferred[None]:
    for entry in batch:
        journal.append(entry)
    return journal.when_committed()


async def _cost(journal: Journal, batch: list[LogEntry], count: int) -> dict[str, float]:
    """Return the processor time and the duration of a commit, in microseconds."""
    for _ in range(WARM_UP):
        await _commit(journal, batch)
    began, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        await _commit(journal, batch)
    return {
        "updates": len(batch),
        "cpu": (time.process_time() - cpu) / count * 1e6,
        "seconds": (time.perf_counter() - began) / count * 1e6,
    }


async def _rate(journal: Journal, batch: list[LogEntry], seconds: float) -> dict[str, float]:
    """Return how many commits of one update after the other are made in a second."""
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        await _commit(journal, batch)
        count += 1
    return {"rate": count / (time.perf_counter() - began)}


async def _measure(mode: str, amount: float, user_id: str) -> None:
    settings = Settings.from_environment(os.environ)
    catalogue = await deferToThread(prepare_database, settings.database.url, False)
    any_port = "tcp:0:interface=127.0.0.1"
    service: Any = collaboration_service(reactor, settings, catalogue, any_port, any_port)
    service.startService()
    [journal] = [part for part in service if isinstance(part, Journal)]
    await deferLater(reactor, SETTLING)
    batches = [[LogEntry(f"room-{n % DOCUMENTS}", user_id, SMALL_UPDATE) for n in range(size)] for size in SIZES]
    if mode == "cost":
        [notifications] = [part for part in service if isinstance(part, Notifications)]
        while not getattr(notifications, "is_alone", True):
            await deferLater(reactor, 0.01)
        for batch in batches:
            print(json.dumps(await _cost(journal, batch, int(amount))), flush=True)
    else:
        if mode == "silent":
            journal._store.on_append = lambda appended, entries: None  # type: ignore[attr-defined]
        await deferLater(reactor, SETTLING)
        entry = LogEntry(f"room-{os.getpid()}", user_id, SMALL_UPDATE)
        print(json.dumps(await _rate(journal, [entry], amount)), flush=True)
    # The rest is not measured, and would take its time.
    os._exit(0)


def main() -> None:
    """Measure as the arguments say: ``cost COUNT USER``, or ``rate SECONDS USER``, or ``silent SECONDS USER``."""
    mode, amount, user_id = sys.argv[1:]
    react(lambda _reactor: Deferred.fromCoroutine(_measure(mode, float(amount), user_id)))


if __name__ == "__main__":
    main()
