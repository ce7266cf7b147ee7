"""Makes the components of the daemon that need several settings: rooms, authorizers, and rechecks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Cooperator

from canvas_collab.access.authentication import Sessions
from canvas_collab.access.authorization import Authorizer
from canvas_collab.access.batch_authorization import BatchAuthorizer
from canvas_collab.access.fair_semaphore import FairSemaphore
from canvas_collab.access.origins import OriginPolicy
from canvas_collab.access.roles import AccessList
from canvas_collab.config.settings import Settings
from canvas_collab.counters import Counters
from canvas_collab.database.catalogue import Catalogue
from canvas_collab.database.pool import Database
from canvas_collab.document.document import Document
from canvas_collab.persistence.journal import Journal
from canvas_collab.persistence.store import LogEntry
from canvas_collab.rooms.awareness import Awareness
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.pacing import FlushPacer
from canvas_collab.rooms.rechecking import Rechecker
from canvas_collab.rooms.rechecks import Rechecks
from canvas_collab.rooms.room import Room
from canvas_collab.rooms.rooms import Rooms

#: Awareness is sent at most once in so many seconds: screens show no more, and every client that hears it echoes it.
AWARENESS_WINDOW = 0.005


def room_factory(
    reactor: Any, settings: Settings, journal: Journal, counters: Counters
) -> Callable[[str, Document], Room[Connection]]:
    """Makes rooms from documents."""
    awareness, pacing = settings.awareness, settings.pacing
    longest_window = pacing.flush_max_ms / 1000

    def append(document_id: str, user_id: str, update: bytes) -> None:
        journal.append(LogEntry(document_id, user_id, update))

    def make(name: str, document: Document) -> Room[Connection]:
        return Room(
            reactor,
            name,
            document,
            Awareness(awareness.max_clients, awareness.max_remembered),
            FlushPacer(pacing.fanout_share, longest_window),
            FlushPacer(pacing.fanout_share / 2, longest_window, AWARENESS_WINDOW),
            append,
            counters,
            pacing.sync_part_size,
        )

    return make


def make_authorizer(
    reactor: Any, settings: Settings, catalogue: Catalogue, database: Database, lookups: FairSemaphore
) -> Authorizer:
    """An authorizer that looks sessions and roles up in `database`."""
    auth = settings.auth
    return Authorizer(
        reactor,
        settings.routing,
        auth.cookie_prefix,
        OriginPolicy(auth.allowed_origins, auth.application_url, not settings.process.production),
        Sessions(database, catalogue, auth.secret),
        AccessList(database, catalogue, settings.routing.room_prefix),
        lookups,
        # Half of the handshake's time, so that a client is told why before Autobahn cuts the connection.
        settings.websocket.handshake_timeout / 2,
    )


def make_rechecks(
    reactor: Any, settings: Settings, catalogue: Catalogue, database: Database, rooms: Rooms, cooperator: Cooperator
) -> Rechecks:
    """Rechecks that look sessions and roles up in `database`."""
    auth, prefix = settings.auth, settings.routing.room_prefix
    rechecker = Rechecker(
        reactor,
        BatchAuthorizer(
            database,
            catalogue,
            Sessions(database, catalogue, auth.secret),
            AccessList(database, catalogue, prefix),
            prefix,
            cooperator,
        ),
        make_authorizer(reactor, settings, catalogue, database, FairSemaphore(1, 1)),
        cooperator,
        auth.token_renewal + auth.recheck_interval,
    )
    return Rechecks(reactor, rooms, rechecker, cooperator, auth.recheck_interval, prefix)
