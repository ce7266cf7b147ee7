"""Telling systemd that the daemon is ready, still working, or stopping (``Type=notify``, ``WatchdogSec=``).

The protocol is that of sd_notify(3): datagrams of ``NAME=value`` lines to the socket that ``NOTIFY_SOCKET`` names.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

#: How often readiness is looked at until the daemon is ready, in seconds.
READINESS_INTERVAL = 0.25

#: How often the status is sent afterwards, in seconds, unless the watchdog wants to hear more often.
STATUS_INTERVAL = 10.0


class SystemdNotifier(Service):
    """Sends ``READY=1`` once the daemon is ready, a status and ``WATCHDOG=1`` regularly, and ``STOPPING=1`` at the end.

    Without ``NOTIFY_SOCKET`` in the environment it does nothing.  The reactor feeds the watchdog, so systemd notices a
    reactor that hangs.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        environment: Mapping[str, str],
        readiness: Callable[[], Awaitable[Mapping[str, Any]]],
    ) -> None:
        """:param environment: of the process.
        :param readiness: returns ``ready``, and ``reason`` where that is false.
        """
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._readiness = readiness
        self._status_interval = min(STATUS_INTERVAL, _watchdog_interval(environment))
        self._is_ready = False
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor

    def startService(self) -> None:
        """Begin to look whether the daemon is ready."""
        Service.startService(self)
        if self._address:
            self._loop.start(READINESS_INTERVAL)

    def stopService(self) -> None:
        """Tell systemd that the daemon is stopping."""
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()
        self._send("STOPPING=1", "STATUS=stopping")

    async def _look(self) -> None:
        readiness = await self._readiness()
        if not self._loop.running:
            return
        is_ready = bool(readiness["ready"])
        status = "STATUS=serving" if is_ready else f"STATUS=not ready: {readiness['reason']}"
        if is_ready and not self._is_ready:
            self._is_ready = True
            self._loop.interval = self._status_interval
            self._send("READY=1", status, "WATCHDOG=1")
        else:
            self._send(status, "WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as sender:
            try:
                sender.sendto("\n".join(line.replace("\n", " ") for line in lines).encode(), self._address)
            except OSError as error:
                self.log.warn("systemd not notified", reason=error.strerror or str(error))


def _address(name: str) -> str:
    """The address of a socket; a name that begins with ``@`` is in the abstract namespace."""
    return "\0" + name[1:] if name.startswith("@") else name


def _watchdog_interval(environment: Mapping[str, str]) -> float:
    """How often to feed the watchdog: twice in the time that it waits, in seconds; infinity if there is none."""
    timeout = environment.get("WATCHDOG_USEC", "")
    is_ours = environment.get("WATCHDOG_PID") in (None, str(os.getpid()))
    return int(timeout) / 2e6 if timeout.isdigit() and is_ours else float("inf")
