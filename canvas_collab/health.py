"""The HTTP site of the health port: ``/health`` for people and monitoring, ``/ready`` for reverse proxies."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.http import combinedLogFormatter, datetimeToLogString
from twisted.web.iweb import IAccessLogFormatter
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import provider

from canvas_collab import __version__, compilation
from canvas_collab.database.pool import Database

#: How long the database may take to answer before it is reported as failing, in seconds.
DATABASE_TIMEOUT = 1.5


@frozen
class ServiceStatus:
    """The state of the daemon at one moment.

    :ivar connections: how many sockets are open, including those in a handshake.
    :ivar documents: how many rooms are in memory.
    :ivar unsaved_updates: how many updates are not committed yet.
    :ivar journal: why updates cannot be committed, or None.
    :ivar damaged_documents: the rooms that could not be opened because their stored data is damaged.
    :ivar durability: why committed data may be lost, or None.
    :ivar notifications: why notifications of the database do not arrive, or None.
    :ivar bus: why the bus to other daemons cannot be used, or None.
    """

    connections: int
    documents: int
    unsaved_updates: int
    journal: str | None
    damaged_documents: Sequence[str]
    durability: str | None
    notifications: str | None
    bus: str | None = None


class Health:
    """Produces the reports of ``/health`` and ``/ready``."""

    def __init__(self, reactor: IReactorTime, database: Database, status: Callable[[], ServiceStatus]) -> None:
        """:param status: returns the present state of the daemon's parts."""
        self._reactor = reactor
        self._database = database
        self._status = status
        self._started = reactor.seconds()
        #: Whether the daemon is shutting down.
        self.stopping = False

    async def report(self) -> dict[str, Any]:
        """Return the body of ``/health``.

        Its ``status`` is ``ok``, ``degraded`` (nothing can be saved) or ``stopping``.
        """
        latency = await self._database.ping(DATABASE_TIMEOUT)
        status = self._status()
        can_save = latency is not None and status.journal is None
        return {
            "status": "stopping" if self.stopping else "ok" if can_save else "degraded",
            "version": __version__,
            "execution": compilation.MODE,
            "uptime": round(self._reactor.seconds() - self._started, 3),
            "database": {
                "ok": latency is not None,
                "latency_ms": None if latency is None else round(latency * 1000, 3),
            },
            "journal": _part(status.journal),
            "durability": _part(status.durability),
            "notifications": _part(status.notifications),
            "bus": _part(status.bus),
            "connections": status.connections,
            "documents": status.documents,
            "unsaved_updates": status.unsaved_updates,
            "damaged_documents": status.damaged_documents,
        }

    async def readiness(self) -> dict[str, Any]:
        """Return the body of ``/ready``; it has a ``reason`` only if the daemon is not ready."""
        if self.stopping:
            return {"ready": False, "reason": "shutting down"}
        if await self._database.ping(DATABASE_TIMEOUT) is None:
            return {"ready": False, "reason": "the database does not answer"}
        reason = self._status().journal
        return {"ready": True} if reason is None else {"ready": False, "reason": reason}


def _part(reason: str | None) -> dict[str, object]:
    """Return the JSON for a part of the daemon that fails for `reason`, or works if that is None."""
    return {"ok": reason is None, "reason": reason}


class _JsonResource(Resource):
    """A resource that answers GET with the JSON that a coroutine function returns."""

    isLeaf = True

    def __init__(
        self, report: Callable[[], Awaitable[dict[str, Any]]], is_good: Callable[[dict[str, Any]], bool]
    ) -> None:
        """:param report: returns the body.
        :param is_good: whether a body is answered with the status 200; otherwise it is 503.
        """
        Resource.__init__(self)
        self._report = report
        self._is_good = is_good

    def render_GET(self, request: Request) -> int:
        """Answer with the report, as soon as it is there."""
        disconnected: list[object] = []
        request.notifyFinish().addErrback(disconnected.append)

        async def answer() -> None:
            body = await self._report()
            if disconnected:
                return
            request.setResponseCode(200 if self._is_good(body) else 503)
            request.setHeader(b"content-type", b"application/json")
            request.setHeader(b"cache-control", b"no-store")
            request.write(json.dumps(body).encode() + b"\n")
            request.finish()

        Deferred.fromCoroutine(answer()).addErrback(request.processingFailed)
        return NOT_DONE_YET


@provider(IAccessLogFormatter)
def _log_line(_timestamp: str, request: Request) -> str:
    """Format a line of the access log, with the time of day; the reactor's clock is monotonic."""
    line: str = combinedLogFormatter(datetimeToLogString(), request)
    return line


class _TextResource(Resource):
    """A resource that answers GET with the text that a function returns."""

    isLeaf = True

    def __init__(self, text: Callable[[], bytes]) -> None:
        Resource.__init__(self)
        self._text = text

    def render_GET(self, request: Request) -> bytes:
        """Return the text."""
        request.setHeader(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
        request.setHeader(b"cache-control", b"no-store")
        return self._text()


def health_site(health: Health, metrics: Callable[[], bytes]) -> Site:
    """Return the site to serve on the health port.

    :param metrics: returns the metrics in Prometheus's text format.
    """
    return Site(health_resource(health, metrics), logFormatter=_log_line)


def health_resource(health: Health, metrics: Callable[[], bytes]) -> Resource:
    """Return the root resource of the health port."""
    root = Resource()
    root.putChild(b"metrics", _TextResource(metrics))
    root.putChild(b"health", _JsonResource(health.report, lambda report: report["status"] == "ok"))
    root.putChild(b"ready", _JsonResource(health.readiness, lambda report: bool(report["ready"])))
    return root
