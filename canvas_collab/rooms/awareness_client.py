"""What a room knows of one awareness client, and of the connection that owns it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import final

from canvas_collab.protocol.awareness import NULL_STATE, Entry
from canvas_collab.protocol.lib0 import encode_var_string, encode_var_uint


@final
class Owner:
    """A connection with awareness clients.

    It has no reference to the connection itself, which would otherwise stay in memory as long as one of its clients is
    remembered.
    """

    __slots__ = ("claimed_ids", "clients", "interval_start", "new_clients")

    def __init__(self) -> None:
        #: The clients that it owns, by their ids.
        self.clients: dict[int, AwarenessClient] = {}
        #: The ids of the clients that it claims, while another connection owns them.
        self.claimed_ids: set[int] = set()
        #: When the interval began in which its new clients are counted, and how many there were.
        self.interval_start = float("-inf")
        self.new_clients = 0


@final
class AwarenessClient:
    """The state of one awareness client.

    :ivar clock: the clock at which the state was broadcast last.
    :ivar owner: the connection that sent the state last.
    :ivar user: the id of that connection's user.
    :ivar renewed_at: when the owner sent the state, in seconds of a monotonic clock.
    :ivar owner_clock: the clock at which the owner sent it, which may be behind `clock`.
    :ivar claimant: a newer connection of the same user that has announced this client, and owns it when `owner` ends.
    """

    __slots__ = (
        "_encoded_id",
        "_encoded_state",
        "claimant",
        "client_id",
        "clock",
        "owner",
        "owner_clock",
        "renewed_at",
        "state",
        "user",
    )

    def __init__(
        self, client_id: int, clock: int, state: str, owner: Owner, user: str, renewed_at: float, owner_clock: int
    ) -> None:
        self.client_id = client_id
        self.clock = clock
        self.state = state
        self.owner = owner
        self.user = user
        self.renewed_at = renewed_at
        self.owner_clock = owner_clock
        self.claimant: Hashable | None = None
        self._encoded_id = self._encoded_state = b""

    @property
    def entry(self) -> Entry:
        """The state as an entry of an awareness update."""
        return Entry(self.client_id, self.clock, self.state)

    @property
    def has_left(self) -> bool:
        """Whether this is a tombstone."""
        return self.state == NULL_STATE

    def set_state(self, clock: int, state: str) -> None:
        """Replace the state."""
        self.clock, self.state, self._encoded_state = clock, state, b""

    def encode(self) -> bytes:
        """Return the encoded entry.

        Id and state are cached: every client that joins is sent the same, only with another clock.
        """
        if not self._encoded_state:
            self._encoded_id, self._encoded_state = encode_var_uint(self.client_id), encode_var_string(self.state)
        return self._encoded_id + encode_var_uint(self.clock) + self._encoded_state

    def clock_correction(self) -> Entry:
        """Return the entry that makes the client raise its own clock to the one at which its state was broadcast.

        An entry with its state would not do: the client may have a newer state by now, and would replace it by this
        one.  An entry that says that it has left, at the clock below, makes it raise its clock and keep its state.
        """
        return Entry(self.client_id, self.clock - 1, NULL_STATE)
