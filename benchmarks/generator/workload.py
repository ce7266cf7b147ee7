"""What the generator's clients send, how many of them, and how often."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from attrs import frozen

from benchmarks.endpoint import Endpoint

if TYPE_CHECKING:
    from benchmarks.recordings import Recording


class Kind(enum.Enum):
    """The kind of messages that clients send."""

    #: Document updates.
    TYPING = enum.auto()
    #: Awareness updates.
    CURSORS = enum.auto()
    #: Awareness updates; every client also sends each update that it receives back to the server, as y-websocket's
    #: provider does.
    ECHOED_CURSORS = enum.auto()
    #: The document updates of a recording.
    RECORDED = enum.auto()


@frozen
class Workload:
    """One run of the generator.

    :ivar clients: the number of clients in each room of the endpoint.
    :ivar writers: how many of these send updates.
    :ivar rate: updates per second of each writer.
    :ivar seconds: how long writers send.
    :ivar size: the content of an edit, in bytes.
    :ivar recording: what the writers do, for :attr:`Kind.RECORDED`; such a workload has one room.
    :ivar at_once: how many connections are opened concurrently; None for all of them.
    :ivar patience: how long to wait, in seconds, for updates that have not arrived when the last one has been sent.
    """

    endpoint: Endpoint
    clients: int
    writers: int
    rate: float
    seconds: float
    kind: Kind = Kind.TYPING
    size: int = 1
    recording: Recording | None = None
    at_once: int | None = 32
    patience: float = 60.0

    @property
    def updates(self) -> int:
        """The number of updates that are sent, in all rooms."""
        return round(len(self.endpoint.rooms) * self.writers * self.rate * self.seconds)

    @property
    def deliveries(self) -> int:
        """The number of deliveries that are due: each update goes to every other client of its room."""
        return self.updates * (self.clients - 1)
