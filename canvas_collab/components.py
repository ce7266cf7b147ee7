"""Makes the components of the daemon that need several settings: rooms, authorizers, rechecks, and relays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Cooperator

from canvas_collab.access.access_list import AccessList
from canvas_collab.access.authentication import Sessions
from canvas_collab.access.authorization import Authorizer
from canvas_collab.access.batch_authorization import BatchAuthorizer
from canvas_collab.access.fair_semaphore import FairSemaphore
from canvas_collab.access.origins import OriginPolicy
from canvas_collab.bus.messages import Codec
from canvas_collab.config.bus import ValkeyAddress
from canvas_collab.config.settings import Settings
from canvas_collab.counters import Counters
from canvas_collab.database.catalogue import Catalogue
from canvas_collab.database.pool import Database
from canvas_collab.document.document import Document
from canvas_collab.persistence.journal import Journal
from canvas_collab.persistence.store import DocumentStore, LogEntry
from canvas_collab.relay.relays import Relays
from canvas_collab.rooms.awareness import Awareness
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.pacing import FlushPacer
from canvas_collab.rooms.rechecking import Rechecker
from canvas_collab.rooms.rechecks import Rechecks
from canvas_collab.rooms.room import Room
from canvas_collab.rooms.rooms import Rooms
from canvas_collab.tracing.hooks import Tracing

#: Awareness is sent at most once in so many seconds: screens show no more, and every client that hears it echoes it.
AWARENESS_WINDOW = 0.005


def room_factory(
    reactor: Any, settings: Settings, journal: Journal, counters: Counters, tracing: Tracing
) -> Callable[[str, Document], Room[Connection]]:
    """Makes rooms from documents."""
    awareness, pacing = settings.awareness, settings.pacing
    longest_window = pacing.flush_max_ms / 1000

    def make(name: str, document: Document) -> Room[Connection]:
        append, on_flush = tracing.trace_room(journal.append)
        room: Room[Connection] = Room(
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
        room.on_flush = on_flush
        return room

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


def make_relays(
    reactor: Any,
    settings: Settings,
    journal: Journal,
    store: DocumentStore,
    missed: Callable[[], None],
    kick: Callable[[str, str], object],
    cooperator: Cooperator,
) -> Relays | None:
    """The relays that connect rooms to the bus, if the settings name one."""
    if not settings.bus.url:
        return None
    # Its client library is not loaded where there is no bus.
    from canvas_collab.bus.valkey import ValkeyBus

    def append(document_id: str, user_id: str, update: bytes) -> None:
        journal.append(LogEntry(document_id, user_id, update))

    async def load(document_id: str) -> Document:
        return (await store.load(document_id)).document

    bus = ValkeyBus(reactor, ValkeyAddress.parse(settings.bus.url))
    codec = Codec(settings.auth.secret)
    return Relays(reactor, bus, codec, settings.bus.prefix, journal, append, load, missed, kick, cooperator)
