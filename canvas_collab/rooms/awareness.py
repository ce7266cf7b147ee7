"""Who is in a room and what they show of themselves: the latest state per client, and which connection owns it.

The y-websocket clients re-send every awareness change they hear, so that one change comes back once from everybody
who heard it.  These echoes bring nothing newer and are recognised by client id and clock alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from attrs import define

from canvas_collab.protocol.awareness import LEFT, Entry
from canvas_collab.protocol.json_text import check_json

#: An entry that was not renewed for so many seconds is stale, as y-protocols has it; clients renew after half of that.
STALE_AFTER = 30.0


class TooManyClients(ValueError):
    """One connection tried to speak for more clients than it may."""


@define
class _Client:
    """What is known of one client id; `owner` is the connection that spoke for it last, `user` whose that is."""

    entry: Entry
    owner: Hashable
    user: str
    renewed: float


class Awareness:
    """The awareness states of one room.  Time is passed in, in seconds of a monotonic clock."""

    __slots__ = ("_clients", "_clients_per_owner", "_present")

    def __init__(self, clients_per_owner: int) -> None:
        """:param clients_per_owner: how many client ids one connection may announce."""
        self._clients: dict[int, _Client] = {}
        # Those of them that have not left, by owner: those that have may be many more.
        self._present: dict[Hashable, dict[int, _Client]] = {}
        self._clients_per_owner = clients_per_owner

    def apply(
        self, entries: Iterable[Entry], owner: Hashable, user: str, now: float
    ) -> tuple[list[Entry], list[Entry]]:
        """Take in what the connection `owner` of `user` sent.

        An entry counts if its clock is higher than the known one, or equal and it says that the client has left.
        Nobody may change the state of a client that a connection of another user owns.

        :return: what the others should hear, and what the sender should be told because it has fallen behind: that
            the server took one of its clients for gone.
        :raises Malformed: if a state that counts is not JSON.
        :raises TooManyClients: if `owner` would own too many.
        """
        news: list[Entry] = []
        corrections: list[Entry] = []
        for entry in entries:
            known = self._clients.get(entry.client_id)
            if known is None:
                if entry.has_left:
                    continue
                self._enter(_Client(entry, owner, user, now))
                news.append(entry)
            elif not _counts(entry, known.entry):
                if known.entry.has_left and not entry.has_left:
                    corrections.append(known.entry)
            elif known.entry.has_left:
                if not entry.has_left:
                    self._enter(_Client(entry, owner, user, now))
                    news.append(entry)
            elif known.user == user:
                if entry.has_left:
                    self._exit(known)
                    known.entry, known.renewed = entry, now
                elif known.owner is owner:
                    check_json(entry.state)
                    known.entry, known.renewed = entry, now
                else:
                    # A client that is back on a new connection, while the old one is not known to be dead yet.
                    self._enter(_Client(entry, owner, user, now))
                    self._exit(known)
                news.append(entry)
        return news, corrections

    def leave(self, owner: Hashable, now: float) -> list[Entry]:
        """A connection has ended: its clients leave.  Returns what the others should hear."""
        gone = []
        for client in self._present.pop(owner, {}).values():
            entry = client.entry
            client.entry = Entry(entry.client_id, entry.clock + 1, LEFT)
            client.renewed = now
            gone.append(client.entry)
        return gone

    def expire(self, now: float) -> list[Entry]:
        """Take out what has gone stale, and forget who left long ago.  Returns what the others should hear."""
        gone = []
        for client_id, client in list(self._clients.items()):
            if now - client.renewed < STALE_AFTER:
                continue
            if client.entry.has_left:
                del self._clients[client_id]
            else:
                self._exit(client)
                # The clock stays, so that the next renewal of a client that was only slow counts again.
                client.entry = Entry(client_id, client.entry.clock, LEFT)
                client.renewed = now
                gone.append(client.entry)
        return gone

    def present(self) -> list[Entry]:
        """The states of all who are here."""
        return [client.entry for owned in self._present.values() for client in owned.values()]

    def known(self) -> list[Entry]:
        """The states of all who are here, and that of those who have left lately that they have."""
        return [client.entry for client in self._clients.values()]

    def _enter(self, client: _Client) -> None:
        """A client is here, for the first time, or again, or with another owner."""
        check_json(client.entry.state)
        owned = self._present.setdefault(client.owner, {})
        if len(owned) >= self._clients_per_owner:
            raise TooManyClients(f"one connection may announce {self._clients_per_owner} awareness clients, no more")
        owned[client.entry.client_id] = self._clients[client.entry.client_id] = client

    def _exit(self, client: _Client) -> None:
        """A client is not here any more, or not with this owner."""
        owned = self._present[client.owner]
        del owned[client.entry.client_id]
        if not owned:
            del self._present[client.owner]


def _counts(entry: Entry, known: Entry) -> bool:
    """Whether `entry` is newer than what is known of its client, by y-protocols' rule."""
    if entry.clock != known.clock:
        return entry.clock > known.clock
    return entry.has_left and not known.has_left
