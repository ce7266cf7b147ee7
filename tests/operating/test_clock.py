"""The daemon schedules by a clock that changes of the system's time do not affect."""

from __future__ import annotations

import signal
import time
from functools import partial
from typing import Any

from pycrdt import Doc, Text
from twisted.internet.base import ReactorBase

from canvas_collab.clock import use_monotonic_clock
from tests.conftest import StartDaemon
from tests.support.clients import Client
from tests.support.databases import TestDatabase


def test_updates_are_committed_in_time_when_the_clock_is_set_back(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(database, SET_BACK=3600)

    def is_logged(count: int) -> bool:
        return database.query("SELECT count(*) FROM yjs_update_log") == [(count,)]

    with Client(daemon, "one", ada) as client:
        doc: Doc[Any] = Doc()
        text = doc.get("text", type=Text)
        for number in range(3):
            before = doc.get_state()
            text += str(number)
            client.edit(doc.get_update(before))
            daemon.wait_until(partial(is_logged, number + 1), 2)
            if number == 0:
                daemon.process.send_signal(signal.SIGUSR1)
                daemon.wait_for_event("the clock was set back")
        # Scheduled work goes on as well: the log entries are folded into the snapshot.
        unmerged = "SELECT count(*) FROM yjs_update_log WHERE merged_at IS NULL"
        daemon.wait_until(lambda: database.query(unmerged) == [(0,)], 4)
        assert daemon.get("/health")[1]["uptime"] > 0


class IdleReactor(ReactorBase):
    """A reactor without file descriptors."""

    def installWaker(self) -> None:
        """It is never woken."""


def test_calls_that_are_scheduled_already_keep_their_remaining_time() -> None:
    reactor = IdleReactor()
    call = reactor.callLater(100, lambda: None)
    use_monotonic_clock(reactor)
    assert reactor.seconds() <= time.monotonic()
    assert 99 < call.getTime() - reactor.seconds() <= 100
    call.reset(50)
    assert 49 < call.getTime() - reactor.seconds() <= 50
