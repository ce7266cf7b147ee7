"""Composes the daemon: which services there are, what each is given, and in which order they start and stop."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.application import strports
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from canvas_collab import __version__, compilation
from canvas_collab.access.fair_semaphore import FairSemaphore
from canvas_collab.components import make_authorizer, make_rechecks, make_relays, room_factory
from canvas_collab.config.settings import Settings
from canvas_collab.control.drain import Drain
from canvas_collab.control.interface import control_path
from canvas_collab.control.listener import ControlFactory, ControlListener
from canvas_collab.control.requests import RequestHandler
from canvas_collab.counters import Counters
from canvas_collab.database.catalogue import Catalogue
from canvas_collab.database.pool import Database
from canvas_collab.health import Health, health_site
from canvas_collab.limits.users import UserConnections
from canvas_collab.memory import FullCollections, release_free_memory, tune_garbage_collection
from canvas_collab.metrics import LatenessMeter, exporter
from canvas_collab.persistence.appending import journal_connection
from canvas_collab.persistence.compactor import abort_compactions, compact_in_background
from canvas_collab.persistence.durability import DurabilityCheck
from canvas_collab.persistence.journal import Journal
from canvas_collab.persistence.pruning import LogPruner
from canvas_collab.persistence.shutdown_flush import ShutdownFlush
from canvas_collab.persistence.snapshots import Snapshots
from canvas_collab.persistence.store import DocumentStore
from canvas_collab.replication.announcer import AppendAnnouncer
from canvas_collab.replication.follower import LogFollower
from canvas_collab.replication.log_reader import LogReader
from canvas_collab.replication.notifications import Notifications
from canvas_collab.replication.resets import ResetHandler
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.opening import ConnectionOpener
from canvas_collab.rooms.room import Room
from canvas_collab.rooms.rooms import Rooms
from canvas_collab.scheduling import make_cooperator
from canvas_collab.status import DaemonStatus
from canvas_collab.supervision import SystemdNotifier
from canvas_collab.tracing.switch import make_tracing
from canvas_collab.websocket.admission import Admission
from canvas_collab.websocket.monitor import ConnectionMonitor
from canvas_collab.websocket.rates import RateLimiter
from canvas_collab.websocket.routing import HandlerRouter
from canvas_collab.websocket.server import ServerFactory

#: Entries of the log that are in a snapshot are kept for so many reconcile intervals at least.
RECONCILIATIONS_KEPT = 5


def collaboration_service(
    reactor: Any,
    settings: Settings,
    catalogue: Catalogue,
    ws_endpoint: str,
    health_endpoint: str,
    before: Sequence[Service] = (),
) -> CollaborationService:
    """Compose the daemon.

    :param catalogue: what :func:`canvas_collab.database.migrations.prepare_database` found out.
    :param ws_endpoint: where clients are served, as a Twisted endpoint string.
    :param health_endpoint: where ``/health`` and ``/ready`` are.
    :param before: what starts before everything else, and stops after it.
    """
    cooperator = make_cooperator(reactor)
    counters = Counters()
    tracing = make_tracing(reactor, settings.process.tracing)

    # The database. The reserved connections are for the journal, rechecks and health, each with one statement at a
    # time: however many clients sign in or open documents, none of these waits for a connection.
    reserved_count = 2 if settings.database.pool_size >= 4 else 1
    shared_count = settings.database.pool_size - reserved_count
    reserved = Database(reactor, settings.database.url, reserved_count)
    shared = Database(reactor, settings.database.url, shared_count)
    durability = DurabilityCheck(reactor, shared)
    # The journal has a connection of its own besides, and uses the reserved ones for what that cannot do.
    journal_database = journal_connection(reactor, settings.database.url, catalogue)

    # Documents on disk.
    history_retention = settings.snapshots.history_retention
    store = DocumentStore(
        shared,
        catalogue,
        compact_in_background,
        history_retention,
        reserved,
        cooperator,
        journal_database,
    )
    snapshots = Snapshots(reactor, store.fold, settings.snapshots.debounce, settings.snapshots.max_wait, counters)
    journal = Journal(
        reactor,
        tracing.trace_log(store),
        settings.journal.interval_ms / 1000,
        settings.journal.queue_max,
        snapshots.changed,
        counters,
    )
    least_retention = RECONCILIATIONS_KEPT * settings.replication.reconcile_interval
    pruner = LogPruner(reactor, lambda limit: store.prune(limit, least_retention))

    # Documents in memory.
    async def load(name: str) -> Room[Connection]:
        stored = await store.load(name)
        snapshots.loaded(name, stored.snapshot_size, stored.unmerged_size)
        resets.loaded(name, stored.reset_at)
        return make_room(name, stored.document)

    async def save(name: str) -> None:
        if relays is not None:
            await relays.settle(name)
        await journal.when_committed(name)
        await snapshots.unloaded(name)

    # What other daemons do at this moment, if there is a bus between them.
    relays = make_relays(
        reactor,
        settings,
        journal,
        store,
        lambda: follower.catch_up(),
        lambda user, room: requests.close_connections(user or None, room or None),
        cooperator,
    )

    make_room = room_factory(reactor, settings, journal, counters, tracing)
    load_room = load if relays is None else relays.loading(load)
    rooms = Rooms(reactor, load_room, save, release_free_memory, journal.when_committed)

    # Rechecks of the clients in these rooms.
    rechecks = make_rechecks(reactor, settings, catalogue, reserved, rooms, cooperator)

    # What other daemons, operators and the application commit.
    reconcile_interval = settings.replication.reconcile_interval
    resets = ResetHandler(shared, catalogue.tables, rooms)
    follower = LogFollower(
        reactor,
        store,
        LogReader(shared, catalogue.tables),
        rooms,
        snapshots,
        reconcile_interval,
        max(history_retention, least_retention),
        lambda: notifications.problem is None,
        resets.find_missed,
        cooperator,
    )

    def notifications_missed() -> None:
        follower.catch_up()
        rechecks.notifications_missed()

    notifications = Notifications(
        reactor,
        settings.database.direct_url,
        shared,
        reconcile_interval,
        follower.appended,
        notifications_missed,
        resets.reset,
        rechecks.access_changed,
        lambda: announcer.other_appeared(),
    )
    announcer = AppendAnnouncer(reactor, reserved, store.origin, lambda: notifications.is_alone)
    store.on_append = announcer.appended

    # Clients.
    lookups = FairSemaphore(shared_count, settings.database.max_waiting_lookups)
    opener = ConnectionOpener(
        reactor,
        make_authorizer(reactor, settings, catalogue, shared, lookups),
        rechecks,
        rooms,
        journal,
        settings.limits,
        counters,
        settings.database.max_waiting_lookups,
        UserConnections(settings.user_limits, counters.limits),
    )
    router = HandlerRouter(reactor, opener, journal, settings.routing, settings.hocuspocus)
    factory = ServerFactory(
        reactor,
        settings.websocket,
        opener,
        tracing.trace_handlers(router.handler),
        cooperator,
        counters,
        Admission(reactor, settings.websocket, settings.address_limits, counters.limits),
        lambda socket: RateLimiter(reactor, socket, settings.rates, counters.limits),
    )

    status = DaemonStatus(factory, rooms, journal, opener, durability, notifications, relays, lookups)
    health = Health(reactor, reserved, status.report)

    def drain_started() -> None:
        health.stopping = True

    clients = strports.service(ws_endpoint, factory, reactor=reactor)
    drain = Drain(reactor, factory, clients, drain_started)
    requests = RequestHandler(factory, rooms, drain, *(() if relays is None else (relays.kick,)))
    control = ControlListener(
        reactor,
        control_path(settings.listen.control_socket, os.environ),
        ControlFactory(reactor, requests, cooperator),
    )
    return CollaborationService(
        health,
        {
            "version": __version__,
            "execution": compilation.description(),
            "clients": ws_endpoint,
            "health": health_endpoint,
            "migrations": " ".join(catalogue.migrations),
            "settings": " ".join(f"{name}={value}" for name, value in settings.changed().items()),
        },
        [
            *before,
            # Stops late, so that it can answer that the daemon is stopping.
            strports.service(health_endpoint, health_site(health, exporter(counters, status.gauges)), reactor=reactor),
            *tracing.services(),
            reserved,
            shared,
            journal_database,
            LatenessMeter(reactor, counters.reactor_lateness),
            FullCollections(reactor),
            durability,
            follower,
            notifications,
            announcer,
            *(() if relays is None else (relays,)),
            journal,
            snapshots,
            pruner,
            rooms,
            ShutdownFlush(reactor, journal, snapshots),
            rechecks,
            ConnectionMonitor(reactor, factory, settings.websocket.ping_interval),
            clients,
            control,
            SystemdNotifier(reactor, os.environ, health.readiness),
        ],
    )


class CollaborationService(MultiService):
    """The daemon's services.  They start in order; they stop in reverse order, one after the other."""

    log = Logger()

    def __init__(self, health: Health, summary: Mapping[str, str], parts: list[Service]) -> None:
        """:param summary: the fields of the event that is logged when all services have started."""
        MultiService.__init__(self)
        self._health = health
        self._summary = summary
        for part in parts:
            part.setServiceParent(self)

    def startService(self) -> None:
        """Start every service."""
        MultiService.startService(self)
        tune_garbage_collection()
        self.log.info("serving", **self._summary)

    def stopService(self) -> Deferred[Any]:
        """Stop every service, and fire when the last has stopped."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._health.stopping = True
        self.running = 0
        self.log.info("stopping")
        for part in reversed(self.services):
            try:
                await maybeDeferred(part.stopService)
            except Exception as error:
                self.log.failure("a part did not stop", reason=str(error))
        # The process does not end before its threads, and they wait for what they have started.
        abort_compactions()
        self.log.info("stopped")
