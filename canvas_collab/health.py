"""The health of the daemon, over HTTP on its own port: `/health` for people and monitors, `/ready` for proxies."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.http import combinedLogFormatter, datetimeToLogString
from twisted.web.iweb import IAccessLogFormatter
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import provider

from canvas_collab import __version__
from canvas_collab.database.pool import Database

#: A database that does not answer for so many seconds is reported as away.
DATABASE_TIMEOUT = 1.5


@frozen
class ServiceStatus:
    """What the daemon counts at one moment.

    Three say why something is not as it should be, if so: `journal`, why updates are not committed; `durability`, why
    what is committed may be lost; `notifications`, why what others add is not heard of.
    """

    connections: int
    documents: int
    unsaved_updates: int
    journal: str | None
    damaged_documents: Sequence[str]
    durability: str | None = None
    notifications: str | None = None


class Health:
    """Finds out how the daemon is."""

    def __init__(self, reactor: IReactorTime, database: Database, figures: Callable[[], ServiceStatus]) -> None:
        self._reactor = reactor
        self._database = database
        self._figures = figures
        self._started = reactor.seconds()
        #: Whether the daemon is on its way out.
        self.stopping = False

    async def report(self) -> dict[str, Any]:
        """Everything ``/health`` says; ``status`` is ``ok``, ``degraded`` (nothing can be saved) or ``stopping``."""
        latency = await self._database.ping(DATABASE_TIMEOUT)
        figures = self._figures()
        is_well = latency is not None and figures.journal is None
        status = "stopping" if self.stopping else "ok" if is_well else "degraded"
        return {
            "status": status,
            "version": __version__,
            "uptime": round(self._reactor.seconds() - self._started, 3),
            "database": {
                "ok": latency is not None,
                "latency_ms": None if latency is None else round(latency * 1000, 3),
            },
            "journal": _aspect(figures.journal),
            "durability": _aspect(figures.durability),
            "notifications": _aspect(figures.notifications),
            "connections": figures.connections,
            "documents": figures.documents,
            "unsaved_updates": figures.unsaved_updates,
            "damaged_documents": figures.damaged_documents,
        }

    async def readiness(self) -> dict[str, Any]:
        """Everything ``/ready`` says; ``reason`` is there only where it is not ready."""
        if self.stopping:
            return {"ready": False, "reason": "shutting down"}
        if await self._database.ping(DATABASE_TIMEOUT) is None:
            return {"ready": False, "reason": "the database does not answer"}
        trouble = self._figures().journal
        return {"ready": True} if trouble is None else {"ready": False, "reason": trouble}


def _aspect(trouble: str | None) -> dict[str, object]:
    return {"ok": trouble is None, "reason": trouble}


class _Json(Resource):
    """A resource that answers GET with what a coroutine says."""

    isLeaf = True

    def __init__(self, ask: Callable[[], Any], good: Callable[[dict[str, Any]], bool]) -> None:
        Resource.__init__(self)
        self._ask = ask
        self._good = good

    def render_GET(self, request: Request) -> int:
        """Answer 200 if all is well, else 503, with the same JSON either way."""
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)

        async def answer() -> None:
            body = await self._ask()
            if gone:
                return
            request.setResponseCode(200 if self._good(body) else 503)
            request.setHeader(b"content-type", b"application/json")
            request.setHeader(b"cache-control", b"no-store")
            request.write(json.dumps(body).encode() + b"\n")
            request.finish()

        Deferred.fromCoroutine(answer()).addErrback(request.processingFailed)
        return NOT_DONE_YET


@provider(IAccessLogFormatter)
def _log_line(_timestamp: str, request: Request) -> str:
    """An access log's line with the time of day, which the reactor's clock does not know."""
    line: str = combinedLogFormatter(datetimeToLogString(), request)
    return line


def health_site(health: Health) -> Site:
    """What answers on the health port."""
    return Site(health_resource(health), logFormatter=_log_line)


def health_resource(health: Health) -> Resource:
    """The tree of resources of the health port."""
    root = Resource()
    root.putChild(b"health", _Json(health.report, lambda report: report["status"] == "ok"))
    root.putChild(b"ready", _Json(health.readiness, lambda report: bool(report["ready"])))
    return root
