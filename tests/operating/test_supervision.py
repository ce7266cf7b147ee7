"""What systemd is told: when the daemon is ready, that it works, and that it stops."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from canvas_collab.supervision import READINESS_INTERVAL, STATUS_INTERVAL, SystemdNotifier
from tests.conftest import StartDaemon
from tests.support.databases import TestDatabase


class Systemd:
    """The socket on which systemd listens."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(15)

    def next(self) -> list[str]:
        """The lines of the next notification."""
        return self._socket.recv(4096).decode().split("\n")

    def all(self) -> list[list[str]]:
        """All notifications that have come."""
        self._socket.setblocking(False)
        found = []
        try:
            while True:
                found.append(self.next())
        except BlockingIOError:
            return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    systemd = Systemd(tmp_path)
    yield systemd
    systemd.close()


class Stage:
    def __init__(self, systemd: Systemd, **environment: str) -> None:
        self.clock = Clock()
        self.reason: str | None = "the database does not answer"
        self.notifier = SystemdNotifier(self.clock, {"NOTIFY_SOCKET": systemd.path, **environment}, self._readiness)

    def _readiness(self) -> Deferred[dict[str, object]]:
        return succeed({"ready": True} if self.reason is None else {"ready": False, "reason": self.reason})


def test_it_is_told_that_the_daemon_is_ready_once_it_is_and_the_status_before_and_after(systemd: Systemd) -> None:
    stage = Stage(systemd)
    stage.notifier.startService()
    assert systemd.all() == [["STATUS=not ready: the database does not answer", "WATCHDOG=1"]]
    stage.reason = None
    stage.clock.advance(READINESS_INTERVAL)
    assert systemd.all() == [["READY=1", "STATUS=serving", "WATCHDOG=1"]]
    stage.clock.advance(READINESS_INTERVAL)
    stage.clock.advance(STATUS_INTERVAL)
    stage.reason = "the database\ndoes not answer"
    stage.clock.advance(STATUS_INTERVAL)
    assert systemd.all()[-1] == ["STATUS=not ready: the database does not answer", "WATCHDOG=1"]
    stage.notifier.stopService()
    assert systemd.all() == [["STOPPING=1", "STATUS=stopping"]]


def test_the_watchdog_is_fed_twice_in_its_time(systemd: Systemd) -> None:
    stage = Stage(systemd, WATCHDOG_USEC="2000000", WATCHDOG_PID=str(os.getpid()))
    stage.reason = None
    stage.notifier.startService()
    systemd.all()
    for _ in range(4):
        stage.clock.advance(1)
    assert systemd.all() == [["STATUS=serving", "WATCHDOG=1"]] * 4
    stage.notifier.stopService()


@pytest.mark.parametrize("environment", [{"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}])
def test_a_watchdog_of_another_process_or_of_none_is_not_fed_more_often(
    systemd: Systemd, environment: dict[str, str]
) -> None:
    stage = Stage(systemd, **environment)
    stage.reason = None
    stage.notifier.startService()
    systemd.all()
    stage.clock.advance(STATUS_INTERVAL * 0.9)
    assert systemd.all() == []
    stage.notifier.stopService()


def test_without_systemd_nothing_is_looked_at_or_sent() -> None:
    clock = Clock()
    notifier = SystemdNotifier(clock, {}, lambda: Deferred())
    notifier.startService()
    assert clock.getDelayedCalls() == []
    notifier.stopService()


def test_a_socket_that_is_gone_is_logged_and_does_no_harm(systemd: Systemd, tmp_path: Path) -> None:
    stage = Stage(systemd, NOTIFY_SOCKET=str(tmp_path / "none"))
    with capturedLogs() as events:
        stage.notifier.startService()
        stage.notifier.stopService()
    assert [event["log_format"] for event in events] == ["systemd not notified"] * 2


def test_what_is_looked_at_when_the_daemon_stops_is_not_sent_any_more(systemd: Systemd) -> None:
    looking: Deferred[dict[str, object]] = Deferred()
    notifier = SystemdNotifier(Clock(), {"NOTIFY_SOCKET": systemd.path}, lambda: looking)
    notifier.startService()
    notifier.stopService()
    looking.callback({"ready": True})
    assert systemd.all() == [["STOPPING=1", "STATUS=stopping"]]


def test_a_daemon_says_that_it_is_ready_when_clients_are_served_and_that_it_stops(
    database: TestDatabase, start_daemon: StartDaemon, systemd: Systemd
) -> None:
    daemon = start_daemon(database, NOTIFY_SOCKET=systemd.path, WATCHDOG_USEC="400000")
    messages = [systemd.next()]
    while "READY=1" not in messages[-1]:
        messages.append(systemd.next())
    assert daemon.get("/ready")[0] == 200
    assert systemd.next() == ["STATUS=serving", "WATCHDOG=1"]
    daemon.stop()
    assert systemd.all()[-1] == ["STOPPING=1", "STATUS=stopping"]
