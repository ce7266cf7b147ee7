"""The awareness states of a room: the latest one of each awareness client, and which connection owns it.

With y-protocols a client accepts the state of another one only at a higher clock than the one it knows.  It remembers
the clocks of clients that have left, and those from before it lost its connection.  Therefore the clock at which a
state is broadcast can be ahead of its client's own: a client that joins or returns is broadcast at a clock that no
other knows yet, and so are the states that are sent to a client that joins.  A client that receives its own state at a
higher clock raises its own.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import final

from canvas_collab.protocol.awareness import NULL_STATE, Entry, Reader
from canvas_collab.protocol.json_text import check_json
from canvas_collab.rooms.awareness_client import AwarenessClient, Owner
from canvas_collab.rooms.tombstones import Tombstones

#: A state that was not renewed for this many seconds is stale, as in y-protocols.  Clients renew theirs every 15.
STALE_AFTER = 30.0

#: A client that is new to the room is broadcast at its own clock plus this.  It may have been here before the daemon
#: was restarted.  Other clients then know it at clocks ahead of its own, by one for each client that had joined since
#: it sent its state: fewer than this, as clients renew their states every 15 seconds.
CLOCK_OFFSET = 4096

#: Whether a state with more characters than this is JSON has to be checked by the caller, in several steps.
LONG_STATE = 2**12


@final
class ApplyResult:
    """The result of applying the states that a connection sent."""

    __slots__ = ("changes", "corrections", "refused")

    def __init__(
        self, changes: list[Entry] | None = None, corrections: list[Entry] | None = None, refused: int = 0
    ) -> None:
        #: What to broadcast.
        self.changes: list[Entry] = [] if changes is None else changes
        #: What to send to the sender before that: its clock is behind, or its client counts as having left.
        self.corrections: list[Entry] = [] if corrections is None else corrections
        #: How many clients were over the limit for one connection.
        self.refused = refused

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ApplyResult):
            return NotImplemented
        ours = self.changes, self.corrections, self.refused
        return ours == (other.changes, other.corrections, other.refused)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ApplyResult({self.changes!r}, {self.corrections!r}, {self.refused})"


@final
class Awareness:
    """The awareness states of one room.  Times are seconds of a monotonic clock, passed in."""

    __slots__ = ("_clients", "_max_clients_per_owner", "_owners", "_tombstones", "version")

    def __init__(self, max_clients_per_owner: int, max_remembered: int = 1000) -> None:
        """:param max_clients_per_owner: how many awareness clients a connection may have, and how many new ones it may
            announce within :data:`STALE_AFTER`.
        :param max_remembered: how many clients of one user are remembered after they have left.
        """
        self._clients: dict[int, AwarenessClient] = {}
        self._owners: dict[Hashable, Owner] = {}
        self._tombstones = Tombstones(max_remembered)
        self._max_clients_per_owner = max_clients_per_owner
        #: Changes with every change of a state or a clock.
        self.version = 0

    def max_entries(self) -> int:
        """Return how many entries of one message can change anything."""
        return len(self._clients) + self._max_clients_per_owner

    def belongs_to_another_user(self, client_id: int, user: str) -> bool:
        """Return whether a client is another user's; an entry for it changes nothing, and usually is an echo."""
        client = self._clients.get(client_id)
        return client is not None and client.user != user

    def is_outdated(self, payload: bytes) -> bool:
        """Return whether no entry of an awareness update is for a new client or at a higher clock.

        :raises Malformed: if it is not an awareness update.
        """
        reader = Reader(payload)
        if reader.count > len(self._clients):
            return False
        clients = self._clients

        def is_known(client_id: int, clock: int) -> bool:
            return client_id in clients and clock <= clients[client_id].clock

        return all(not reader.read(1, is_known) for _ in range(reader.count))

    def apply(
        self, entries: Iterable[Entry], owner: Hashable, user: str, now: float, is_opening: bool = False
    ) -> ApplyResult:
        """Apply the states that the connection `owner` of `user` sent.

        Entries for a client of another user are ignored, also while that has left and is remembered.

        :param is_opening: whether this is the first state on the connection: the client may have had another connection
            before, and then sends the clock that it had there.
        :raises Malformed: if a state that is applied, and is not over :data:`LONG_STATE`, is not JSON.
        """
        result = ApplyResult()
        for entry in entries:
            client = self._clients.get(entry.client_id)
            if client is None:
                if not entry.has_left:
                    self._add(entry, owner, user, now, result)
            elif client.user == user:
                self._apply_to(client, entry, owner, now, is_opening, result)
        if result.changes:
            self.version += 1
        return result

    def _add(self, entry: Entry, owner: Hashable, user: str, now: float, result: ApplyResult) -> None:
        """Add a client that is not known; it may have been in the room before that was loaded."""
        state = self._owners.setdefault(owner, Owner())
        if now - state.interval_start >= STALE_AFTER:
            state.interval_start, state.new_clients = now, 0
        if max(len(state.clients), state.new_clients) >= self._max_clients_per_owner:
            result.refused += 1
            return
        _check(entry.state)
        state.new_clients += 1
        clock = entry.clock + CLOCK_OFFSET
        client = AwarenessClient(entry.client_id, clock, entry.state, state, user, now, entry.clock)
        self._clients[entry.client_id] = state.clients[entry.client_id] = client
        result.corrections.append(client.clock_correction())
        result.changes.append(client.entry)

    def _apply_to(
        self, client: AwarenessClient, entry: Entry, owner: Hashable, now: float, is_opening: bool, result: ApplyResult
    ) -> None:
        """Apply the state of a known client that a connection of its user sent."""
        is_owner = client.owner is self._owners.get(owner)
        # The owner's clock may be behind the one at which its state was broadcast.
        is_newer = entry.clock > (client.owner_clock if is_owner else client.clock)
        if entry.has_left:
            may_remove = is_owner or client.claimant is owner
            if not client.has_left and may_remove and entry.clock >= client.owner_clock:
                self._remove(client, max(entry.clock, client.clock), now)
                client.owner_clock = entry.clock
                result.changes.append(client.entry)
        elif client.has_left:
            if is_newer or is_opening:
                self._update(client, entry, owner, now, result)
            else:
                result.corrections.append(client.entry)
        elif is_owner:
            if is_newer and (entry.clock, entry.state) == (client.clock, client.state):
                # It has received its own state, and has raised its clock.
                client.owner_clock, client.renewed_at = entry.clock, now
            elif is_newer:
                self._update(client, entry, owner, now, result)
        elif is_newer or (is_opening and entry.state != client.state):
            # The client has a new connection, and the end of the old one was not noticed yet.
            self._update(client, entry, owner, now, result)
        elif is_opening:
            self._claim(client, owner)

    def _update(self, client: AwarenessClient, entry: Entry, owner: Hashable, now: float, result: ApplyResult) -> None:
        """Set a client's state, at a clock that is new to the others, and make `owner` its owner."""
        state = self._owners.setdefault(owner, Owner())
        if client.client_id not in state.clients and len(state.clients) >= self._max_clients_per_owner:
            result.refused += 1
            return
        _check(entry.state)
        if client.has_left:
            self._tombstones.remove(client.user, client.client_id)
        else:
            del client.owner.clients[client.client_id]
        state.clients[client.client_id] = client
        clock = max(entry.clock, client.clock + 1)
        client.set_state(clock, entry.state)
        if clock > entry.clock + 1:
            result.corrections.append(client.clock_correction())
        client.owner, client.owner_clock, client.renewed_at, client.claimant = state, entry.clock, now, None
        result.changes.append(client.entry)

    def _claim(self, client: AwarenessClient, owner: Hashable) -> None:
        """Record that a client has sent the same state on a new connection, while the old one has not ended yet."""
        client.claimant = owner
        self._owners.setdefault(owner, Owner()).claimed_ids.add(client.client_id)

    def leave(self, owner: Hashable, now: float) -> list[Entry]:
        """Remove the clients of a connection that has ended; return what to broadcast."""
        state = self._owners.pop(owner, None)
        if state is None:
            return []
        for client_id in state.claimed_ids:
            if client_id in self._clients and self._clients[client_id].claimant is owner:
                self._clients[client_id].claimant = None
        changes = []
        for client in state.clients.values():
            claimant = self._owners.get(client.claimant)
            if claimant is not None:
                client.owner, client.claimant, client.renewed_at = claimant, None, now
                claimant.clients[client.client_id] = client
            else:
                self._add_tombstone(client, client.clock, now)
                changes.append(client.entry)
        self.version += 1
        return changes

    def expire(self, now: float) -> list[Entry]:
        """Remove stale states, and forget old tombstones; return what to broadcast."""
        changes = []
        for client in list(self._clients.values()):
            if now - client.renewed_at < STALE_AFTER or client.client_id not in self._clients:
                continue
            if client.has_left:
                self._tombstones.remove(client.user, client.client_id)
                del self._clients[client.client_id]
            else:
                # The clock stays the same, so that the client is back with its next renewal if it was only slow.
                self._remove(client, client.clock, now)
                changes.append(client.entry)
        self.version += 1
        return changes

    def _remove(self, client: AwarenessClient, clock: int, now: float) -> None:
        """Remove a client whose connection may still be open."""
        del client.owner.clients[client.client_id]
        self._add_tombstone(client, clock, now)

    def _add_tombstone(self, client: AwarenessClient, clock: int, now: float) -> None:
        """Turn a client into a tombstone, at the clock of its last state as in y-protocols."""
        client.set_state(clock, NULL_STATE)
        client.renewed_at, client.claimant = now, None
        for client_id in self._tombstones.add(client.user, client.client_id):
            del self._clients[client_id]

    def present(self) -> list[Entry]:
        """Return the states of all clients that are present."""
        return [client.entry for client in self._present()]

    def _present(self) -> Iterator[AwarenessClient]:
        return (client for owner in self._owners.values() for client in owner.clients.values())

    def encode_present(self) -> list[bytes]:
        """Return the states of all clients that are present, each encoded."""
        return [client.encode() for client in self._present()]

    def encode_for_joining(self) -> list[bytes]:
        """Return the same for a client that joins, at higher clocks, as it may know the current ones from earlier."""
        for client in self._present():
            client.clock += 1
        self.version += 1
        return self.encode_present()

    def encode_known(self) -> list[bytes]:
        """Return the states of all clients that are present, and the tombstones, each encoded."""
        return [client.encode() for client in self._clients.values()]


def _check(state: str) -> None:
    if len(state) <= LONG_STATE:
        check_json(state)
