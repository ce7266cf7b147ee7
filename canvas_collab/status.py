"""The state of the daemon's parts at one moment, for ``/health`` and ``/metrics``."""

from __future__ import annotations

from collections import Counter

from attrs import frozen

from canvas_collab.access.fair_semaphore import FairSemaphore
from canvas_collab.health import ServiceStatus
from canvas_collab.metrics import Gauges
from canvas_collab.persistence.durability import DurabilityCheck
from canvas_collab.persistence.journal import Journal
from canvas_collab.relay.relays import Relays
from canvas_collab.replication.notifications import Notifications
from canvas_collab.rooms.opening import ConnectionOpener
from canvas_collab.rooms.rooms import Rooms
from canvas_collab.websocket.server import ServerFactory


@frozen
class DaemonStatus:
    """Reads the state of the parts; `relays` is None without a bus."""

    factory: ServerFactory
    rooms: Rooms
    journal: Journal
    opener: ConnectionOpener
    durability: DurabilityCheck
    notifications: Notifications
    relays: Relays | None
    lookups: FairSemaphore

    @property
    def _bus_problem(self) -> str | None:
        return self.relays.problem if self.relays is not None else None

    def report(self) -> ServiceStatus:
        """Return what ``/health`` reports."""
        return ServiceStatus(
            len(self.factory.clients),
            len(self.rooms),
            self.journal.unsaved,
            self.journal.problem,
            sorted(self.opener.damaged),
            self.durability.problem,
            self.notifications.problem,
            self._bus_problem,
        )

    def gauges(self) -> Gauges:
        """Return what ``/metrics`` reports beside the counters."""
        loaded = self.rooms.loaded_rooms()
        protocols = Counter(member.channel.protocol.split(" ")[0] for room in loaded for member in room.members)
        return Gauges(
            protocols,
            len(self.factory.clients),
            len(loaded),
            sum(room.document.weight for room in loaded),
            sum(client.outbound.has_backpressure for client in self.factory.clients),
            self.journal.unsaved,
            self.journal.unsaved_bytes,
            len(self.lookups),
            self.factory.receive_limit.size,
            {
                "journal": self.journal.problem is not None,
                "durability": self.durability.problem is not None,
                "notifications": self.notifications.problem is not None,
                "bus": self._bus_problem is not None,
                "damaged_documents": bool(self.opener.damaged),
            },
        )
