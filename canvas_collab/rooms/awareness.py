"""Who is in a room and what they show of themselves: the latest state per client, and which connection owns it.

A client takes a state in only if its clock is higher than the one that it remembers, and it remembers the clocks of
those who have left, and of everybody from before it lost its connection.  Therefore the clock at which the others
hear a state can be ahead of its client's own: whoever enters, returns, or is shown to somebody who joins is shown at
a clock that is new to them.  A client raises its own clock when it hears of itself at a higher one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator

from attrs import define, field

from canvas_collab.protocol.awareness import NULL_STATE, Entry, Reader
from canvas_collab.protocol.json_text import check_json
from canvas_collab.protocol.lib0 import encode_var_string, encode_var_uint
from canvas_collab.rooms.tombstones import Tombstones

#: An entry that was not renewed for so many seconds is stale, as y-protocols has it; clients renew after half of that.
STALE_AFTER = 30.0

#: Who enters is shown at a clock so far ahead of its own.  It may have been in this room before the daemon was
#: restarted, and the others then have heard of it at clocks ahead of its own by one for each who had joined since it
#: showed something: fewer than this, as clients renew what they show every 15 seconds.
AHEAD = 4096

#: Whether longer states are JSON has to be found out before they come here: that takes longer than one step may.
LONG = 2**12


@define
class Outcome:
    """What came of awareness states that a connection sent."""

    #: What the others should hear.
    news: list[Entry] = field(factory=list)
    #: What the sender should hear before that: its clock is behind, or it was taken for gone.
    corrections: list[Entry] = field(factory=list)
    #: How many clients were over what one connection may announce.
    refused: int = 0


@define(eq=False)
class _Owner:
    """A connection that shows clients: those that are here, those that it claims, and how many were new lately.

    It does not hold the connection itself, which would stay in memory for as long as a client of it is remembered.
    """

    present: dict[int, _Client] = field(factory=dict)
    claims: set[int] = field(factory=set)
    since: float = float("-inf")
    entered: int = 0


@define(eq=False)
class _Client:
    """What is known of one client id.

    `owner` is the connection that shows it, `user` whose that is.  `clock` is what the others have heard, `heard` what
    the owner said last.  `claimant` is a newer connection that says it has this client now.
    """

    client_id: int
    clock: int
    state: str
    owner: _Owner
    user: str
    renewed: float
    heard: int
    claimant: Hashable | None = None
    _head: bytes = b""
    _tail: bytes = b""

    @property
    def entry(self) -> Entry:
        return Entry(self.client_id, self.clock, self.state)

    @property
    def has_left(self) -> bool:
        return self.state is NULL_STATE

    def show(self, clock: int, state: str) -> None:
        self.clock, self.state, self._tail = clock, state, b""

    def encode(self) -> bytes:
        """The entry encoded: what does not change with the clock is kept, as everybody who joins is sent it."""
        if not self._tail:
            self._head, self._tail = encode_var_uint(self.client_id), encode_var_string(self.state)
        return self._head + encode_var_uint(self.clock) + self._tail


class Awareness:
    """The awareness states of one room.  Time is passed in, in seconds of a monotonic clock."""

    __slots__ = ("_clients", "_clients_per_owner", "_owners", "_tombstones", "version")

    def __init__(self, clients_per_owner: int, remembered: int = 1000) -> None:
        """:param clients_per_owner: how many client ids one connection may announce, and how many new ones within
            the time after which a state is stale.
        :param remembered: how many clients of one user are remembered after they have left.
        """
        self._clients: dict[int, _Client] = {}
        self._owners: dict[Hashable, _Owner] = {}
        self._tombstones = Tombstones(remembered)
        self._clients_per_owner = clients_per_owner
        #: Changes whenever what is known does.
        self.version = 0

    def most_entries(self) -> int:
        """How many entries a message can have that are of any use."""
        return len(self._clients) + self._clients_per_owner

    def is_of_another(self, client_id: int, user: str) -> bool:
        """Whether a client is another user's: whatever this one says of it changes nothing, as a rule it is an echo."""
        known = self._clients.get(client_id)
        return known is not None and known.user != user

    def is_old(self, payload: bytes) -> bool:
        """Whether an awareness update tells nothing that is not known, judged by client ids and clocks alone.

        :raises Malformed: if it is none.
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
    ) -> Outcome:
        """Take in what the connection `owner` of `user` sent.

        Nobody changes the state of a client that a connection of another user owns, or owned and is remembered for.

        :param is_opening: whether that is what the connection said first: its client may be back from another one,
            and has its old clock.
        :raises Malformed: if a state that counts, and is not :data:`LONG`, is not JSON.
        """
        outcome = Outcome()
        for entry in entries:
            known = self._clients.get(entry.client_id)
            if known is None:
                if not entry.has_left:
                    self._enter(entry, owner, user, now, outcome)
            elif known.user == user:
                self._hear(known, entry, owner, now, is_opening, outcome)
        if outcome.news:
            self.version += 1
        return outcome

    def _enter(self, entry: Entry, owner: Hashable, user: str, now: float, outcome: Outcome) -> None:
        """A client comes that is not known here; it may have been, before this room was in memory."""
        state = self._owners.setdefault(owner, _Owner())
        if now - state.since >= STALE_AFTER:
            state.since, state.entered = now, 0
        if max(len(state.present), state.entered) >= self._clients_per_owner:
            outcome.refused += 1
            return
        _check(entry.state)
        state.entered += 1
        client = _Client(entry.client_id, entry.clock + AHEAD, entry.state, state, user, now, entry.clock)
        self._clients[entry.client_id] = state.present[entry.client_id] = client
        outcome.corrections.append(_raise_to(client))
        outcome.news.append(client.entry)

    def _hear(
        self, known: _Client, entry: Entry, owner: Hashable, now: float, is_opening: bool, outcome: Outcome
    ) -> None:
        """A client is heard of that is known, by a connection of its user."""
        is_owner = known.owner is self._owners.get(owner)
        # By its owner's own count, where the others' may be ahead.
        is_newer = entry.clock > (known.heard if is_owner else known.clock)
        if entry.has_left:
            is_its_own = is_owner or known.claimant is owner
            if not known.has_left and is_its_own and entry.clock >= known.heard:
                self._leave(known, max(entry.clock, known.clock), now)
                known.heard = entry.clock
                outcome.news.append(known.entry)
        elif known.has_left:
            if is_newer or is_opening:
                self._show(known, entry, owner, now, outcome)
            else:
                outcome.corrections.append(known.entry)
        elif is_owner:
            if is_newer and (entry.clock, entry.state) == (known.clock, known.state):
                # It has heard of itself, and has raised its clock.
                known.heard, known.renewed = entry.clock, now
            elif is_newer:
                self._show(known, entry, owner, now, outcome)
        elif is_newer or (is_opening and entry.state != known.state):
            # A client that is back on a new connection, while the old one is not known to be dead yet.
            self._show(known, entry, owner, now, outcome)
        elif is_opening:
            self._claim(known, owner)

    def _show(self, client: _Client, entry: Entry, owner: Hashable, now: float, outcome: Outcome) -> None:
        """A state is news, at whichever clock; and `owner` owns its client from now on."""
        state = self._owners.setdefault(owner, _Owner())
        if client.client_id not in state.present and len(state.present) >= self._clients_per_owner:
            outcome.refused += 1
            return
        _check(entry.state)
        if client.has_left:
            self._tombstones.cancel(client.user, client.client_id)
        else:
            del client.owner.present[client.client_id]
        state.present[client.client_id] = client
        clock = max(entry.clock, client.clock + 1)
        client.show(clock, entry.state)
        if clock > entry.clock + 1:
            outcome.corrections.append(_raise_to(client))
        client.owner, client.heard, client.renewed, client.claimant = state, entry.clock, now, None
        outcome.news.append(client.entry)

    def _claim(self, client: _Client, owner: Hashable) -> None:
        """A client is back on a new connection and shows the same as on the old one, which is not known to be dead."""
        client.claimant = owner
        self._owners.setdefault(owner, _Owner()).claims.add(client.client_id)

    def leave(self, owner: Hashable, now: float) -> list[Entry]:
        """A connection has ended: its clients leave.  Returns what the others should hear."""
        state = self._owners.pop(owner, None)
        if state is None:
            return []
        for client_id in state.claims:
            if client_id in self._clients and self._clients[client_id].claimant is owner:
                self._clients[client_id].claimant = None
        gone = []
        for client in state.present.values():
            claimant = self._owners.get(client.claimant)
            if claimant is not None:
                client.owner, client.claimant, client.renewed = claimant, None, now
                claimant.present[client.client_id] = client
            else:
                self._depart(client, client.clock, now)
                gone.append(client.entry)
        self.version += 1
        return gone

    def expire(self, now: float) -> list[Entry]:
        """Take out what has gone stale, and forget who left long ago.  Returns what the others should hear."""
        gone = []
        for client in list(self._clients.values()):
            if now - client.renewed < STALE_AFTER or client.client_id not in self._clients:
                continue
            if client.has_left:
                self._tombstones.cancel(client.user, client.client_id)
                del self._clients[client.client_id]
            else:
                # The clock stays, so that the next renewal of a client that was only slow counts again.
                self._leave(client, client.clock, now)
                gone.append(client.entry)
        self.version += 1
        return gone

    def _leave(self, client: _Client, clock: int, now: float) -> None:
        """A client is not here any more, and its connection may still be."""
        del client.owner.present[client.client_id]
        self._depart(client, clock, now)

    def _depart(self, client: _Client, clock: int, now: float) -> None:
        """Remember of a client that it has left: as y-protocols has it, at the clock of its last state."""
        client.show(clock, NULL_STATE)
        client.renewed, client.claimant = now, None
        for client_id in self._tombstones.add(client.user, client.client_id):
            del self._clients[client_id]

    def present(self) -> list[Entry]:
        """The states of all who are here."""
        return [client.entry for client in self._present()]

    def _present(self) -> Iterator[_Client]:
        return (client for state in self._owners.values() for client in state.present.values())

    def encode_present(self) -> list[bytes]:
        """The states of all who are here, each encoded."""
        return [client.encode() for client in self._present()]

    def introduce(self) -> list[bytes]:
        """The same for somebody who joins, who may know these very clocks from earlier: at higher ones."""
        for client in self._present():
            client.clock += 1
        self.version += 1
        return self.encode_present()

    def encode_known(self) -> list[bytes]:
        """The states of all who are here, and that of those who have left lately that they have, each encoded."""
        return [client.encode() for client in self._clients.values()]


def _check(state: str) -> None:
    if len(state) <= LONG:
        check_json(state)


def _raise_to(client: _Client) -> Entry:
    """What tells a client at which clock it is shown.

    It may have gone on meanwhile, and would take what it hears of itself for newer.  Told that it has left, at a clock
    below, it raises its clock to that one and keeps its state.
    """
    return Entry(client.client_id, client.clock - 1, NULL_STATE)
