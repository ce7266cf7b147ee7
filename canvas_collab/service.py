"""The daemon, put together: what there is, what knows what, in which order it starts and stops."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Sequence
from typing import Any

from twisted.application import strports
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from canvas_collab.access.authentication import Sessions
from canvas_collab.access.authorization import Authorizer
from canvas_collab.access.fair_semaphore import FairSemaphore
from canvas_collab.access.roles import AccessList
from canvas_collab.config import Settings
from canvas_collab.database.catalogue import Catalogue
from canvas_collab.database.pool import Database, wait_at_most
from canvas_collab.descriptors import raise_descriptor_limit
from canvas_collab.health import Health, ServiceStatus, health_site
from canvas_collab.memory import release_free_memory
from canvas_collab.persistence.compactor import abort, compact_in_background
from canvas_collab.persistence.durability import DurabilityCheck
from canvas_collab.persistence.journal import Journal
from canvas_collab.persistence.pruning import LogPruner
from canvas_collab.persistence.snapshots import Snapshots
from canvas_collab.persistence.store import DocumentStore, LogEntry
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.replication.follower import LogFollower
from canvas_collab.replication.log_reader import LogReader
from canvas_collab.replication.notifications import Notifications
from canvas_collab.replication.resets import ResetHandler
from canvas_collab.rooms.awareness import Awareness
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.opening import ConnectionOpener
from canvas_collab.rooms.pacing import FlushPacer
from canvas_collab.rooms.room import Room
from canvas_collab.rooms.rooms import Rooms
from canvas_collab.scheduling import make_cooperator
from canvas_collab.websocket.server import ServerFactory

#: Cursors are sent at most once in so many seconds: no screen shows more, and each is echoed by everybody who hears it.
AWARENESS_WINDOW = 0.005

#: Descriptors that are not for clients: the log, the database, the listening sockets, compaction.
OTHER_DESCRIPTORS = 64

#: The garbage collector looks at new objects when there are so many more of them.
COLLECT_AFTER = 10_000

#: It looks at all objects after so many times ten of these looks: with large documents open that takes long.
COLLECT_ALL_AFTER = 50

#: What was folded into a snapshot stays in the log until it was looked for what was missed about so many times.
LOOKS_AT_HISTORY = 5

#: What stopping may take, in seconds: for clients to go, for the journal to be committed, for snapshots to be written.
CLIENTS_TIMEOUT = 1.5
JOURNAL_TIMEOUT = 1.5
SNAPSHOTS_TIMEOUT = 1.5


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
    reserved = 2 if settings.database_pool_size >= 4 else 1
    at_once = settings.database_pool_size - reserved
    # Nobody who wants to come in, or opens documents, takes a connection away from the journal, the rechecks of those
    # who are in, or the health's question. Of each of these three there is one statement at a time.
    keeping = Database(reactor, settings.database_url, reserved)
    database = Database(reactor, settings.database_url, at_once)
    store = DocumentStore(database, catalogue, compact_in_background, settings.history_retention, keeping, cooperator)
    snapshots = Snapshots(reactor, store.fold, settings.snapshot_debounce, settings.snapshot_max_wait)
    journal = Journal(
        reactor,
        store,
        settings.journal_interval_ms / 1000,
        settings.journal_queue_max,
        on_commit=snapshots.changed,
    )

    def keep(document_id: str, user_id: str, update: bytes) -> None:
        journal.append(LogEntry(document_id, user_id, update))

    window = settings.flush_max_ms / 1000

    async def load(name: str) -> Room[Connection]:
        stored = await store.load(name)
        snapshots.loaded(name, stored.snapshot_size, stored.unmerged_size)
        resets.loaded(name, stored.reset_at)
        return Room[Connection](
            reactor,
            name,
            stored.document,
            Awareness(settings.max_awareness_clients, settings.max_awareness_remembered),
            FlushPacer(settings.fanout_share, window),
            FlushPacer(settings.fanout_share / 2, window, AWARENESS_WINDOW),
            keep,
        )

    async def save(name: str) -> None:
        await journal.when_committed(name)
        await snapshots.unloaded(name)

    rooms = Rooms(reactor, load, save, release_free_memory, journal.when_committed)

    def authorizer(asked: Database, turns: FairSemaphore) -> Authorizer:
        sessions = Sessions(asked, catalogue, settings.better_auth_secret)
        access_list = AccessList(asked, catalogue, settings.room_prefix)
        return Authorizer(reactor, settings, sessions, access_list, turns)

    # Nothing goes from the log before it has been looked at several times.
    least_history = LOOKS_AT_HISTORY * settings.reconcile_interval
    resets = ResetHandler(database, rooms)
    follower = LogFollower(
        reactor,
        store,
        LogReader(database),
        rooms,
        snapshots,
        settings.reconcile_interval,
        max(settings.history_retention, least_history),
        lambda: notifications.trouble is None,
        resets.missed,
        cooperator,
    )
    notifications = Notifications(
        reactor,
        settings.database_url,
        database,
        settings.reconcile_interval,
        follower.added,
        follower.missed,
        resets.reset,
    )
    durability = DurabilityCheck(reactor, database)
    opener = ConnectionOpener(
        reactor,
        settings,
        authorizer(database, FairSemaphore(at_once, settings.max_waiting_lookups)),
        authorizer(keeping, FairSemaphore(1, settings.max_connections)),
        rooms,
        journal,
    )
    factory = ServerFactory(reactor, settings, opener, journal, cooperator)

    def figures() -> ServiceStatus:
        return ServiceStatus(
            len(factory.clients),
            len(rooms),
            journal.unsaved,
            journal.trouble,
            sorted(opener.damaged),
            durability.trouble,
            notifications.trouble,
        )

    health = Health(reactor, keeping, figures)
    return CollaborationService(
        health,
        [
            *before,
            # Stops late, so that those who ask hear that the daemon is on its way out.
            strports.service(health_endpoint, health_site(health), reactor=reactor),
            keeping,
            database,
            durability,
            follower,
            notifications,
            journal,
            snapshots,
            LogPruner(reactor, lambda limit: store.prune(limit, least_history)),
            rooms,
            ShutdownFlush(reactor, journal, snapshots),
            Clients(reactor, factory, settings.session_recheck, settings.ping_interval),
            strports.service(ws_endpoint, factory, reactor=reactor),
        ],
    )


class CollaborationService(MultiService):
    """The daemon's parts.  They start in order; they stop in reverse, each when the one before it has stopped."""

    log = Logger()

    def __init__(self, health: Health, parts: list[Service]) -> None:
        MultiService.__init__(self)
        self._health = health
        for part in parts:
            part.setServiceParent(self)

    def startService(self) -> None:
        """Start part after part."""
        MultiService.startService(self)
        # What there is by now stays to the end, and need not be looked through again. What comes after it is nearly
        # all freed without the collector; looking more rarely is a tenth of the work that a message takes.
        gc.collect()
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER, 10, COLLECT_ALL_AFTER)

    def stopService(self) -> Deferred[Any]:
        """Stop part after part."""
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
        abort()
        self.log.info("stopped")


class Clients(Service):
    """The clients that are connected: from time to time it is looked whether they are still there, and whether their
    sessions still count; they go at the end.
    """

    log = Logger()

    def __init__(self, reactor: Any, factory: ServerFactory, recheck_interval: float, ping_interval: float) -> None:
        self._reactor = reactor
        self._factory = factory
        self._loops = {
            LoopingCall(self._recheck_all): recheck_interval,
            LoopingCall(self._keep_all_alive): ping_interval,
        }

    def startService(self) -> None:
        """Begin to look."""
        Service.startService(self)
        wanted, allowed = self._factory.settings.max_connections + OTHER_DESCRIPTORS, raise_descriptor_limit()
        if allowed < wanted:
            self.log.warn("too few file descriptors", allowed=allowed, wanted=wanted)
        for loop, interval in self._loops.items():
            loop.clock = self._reactor
            loop.start(interval, now=False)

    def _keep_all_alive(self) -> None:
        for client in list(self._factory.clients):
            client.keep_alive()

    async def _recheck_all(self) -> None:
        """One after the other, so that the database's other work is not held up."""
        for client in list(self._factory.clients):
            await client.recheck()

    def stopService(self) -> Deferred[None]:
        """Tell every client that the daemon restarts, and cut off those that do not go."""
        Service.stopService(self)
        for loop in self._loops:
            loop.stop()
        return Deferred.fromCoroutine(self._part())

    async def _part(self) -> None:
        empty: Deferred[None] = Deferred()
        self._factory.on_empty = lambda: None if empty.called else empty.callback(None)
        for client in list(self._factory.clients):
            client.close(CloseCode.SERVICE_RESTART, "the server restarts")
        if self._factory.clients:
            await wait_at_most(self._reactor, empty, CLIENTS_TIMEOUT, None)
        for client in list(self._factory.clients):
            client.dropConnection(abort=True)


class ShutdownFlush(Service):
    """The last thing that happens to what was edited: it is committed, then snapshotted, as far as time allows."""

    log = Logger()

    def __init__(self, reactor: Any, journal: Journal, snapshots: Snapshots) -> None:
        self._reactor = reactor
        self._journal = journal
        self._snapshots = snapshots

    def stopService(self) -> Deferred[None]:
        """Bring everything to disk."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        # What is being compacted can be later, and is in the way of its snapshot.
        abort()
        committed = self._journal.when_committed()
        self._journal.flush_soon()
        await self._attempt("updates not committed", committed, JOURNAL_TIMEOUT)
        if not self._journal.unsaved:
            written = Deferred.fromCoroutine(self._snapshots.write_all())
            await self._attempt("snapshots not written", written, SNAPSHOTS_TIMEOUT)

    async def _attempt(self, complaint: str, work: Awaitable[None], timeout: float) -> None:
        async def finish() -> bool:
            await work
            return True

        if not await wait_at_most(self._reactor, Deferred.fromCoroutine(finish()), timeout, False):
            self.log.error(complaint, unsaved=self._journal.unsaved)
