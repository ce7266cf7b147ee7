"""Awareness clients that are connected to other daemons.

The daemon to which a client is connected decides on the clock at which its state is broadcast; the others broadcast it
at the same clock.  So a client that moves from one daemon to another knows no clock that is ahead of theirs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from attrs import define, field

from canvas_collab.protocol.awareness import Entry
from canvas_collab.rooms.awareness import Awareness


@define
class ReplicatedChanges:
    """The result of applying states of another daemon.

    :ivar changes: what to broadcast.
    :ivar raised: states that are known already, at a higher clock: for those that joined lately, and may know them at
        the old one.
    """

    changes: list[Entry] = field(factory=list)
    raised: list[Entry] = field(factory=list)


def apply_replicated(
    awareness: Awareness, states: Iterable[tuple[str, Entry]], daemon: Hashable, now: float
) -> ReplicatedChanges:
    """Apply the states that another daemon has published.

    :param states: each with the id of the client's user.
    :param daemon: who has published them; owns these clients from now on.
    """
    result = ReplicatedChanges()
    for user, entry in states:
        client = awareness.get(entry.client_id)
        if client is None:
            if not entry.has_left:
                awareness.add_replicated(entry, daemon, user, now)
                result.changes.append(entry)
        elif client.user != user:
            continue
        elif entry.has_left:
            is_owned = client.owner is awareness.owner(daemon)
            if not client.has_left and (entry.clock > client.clock or (is_owned and entry.clock == client.clock)):
                awareness.remove_replicated(client, entry.clock, now)
                result.changes.append(client.entry)
        elif entry.clock > client.clock:
            is_known = entry.state == client.state and not client.has_left
            awareness.update_replicated(client, entry, daemon, now)
            (result.raised if is_known else result.changes).append(entry)
    return result
