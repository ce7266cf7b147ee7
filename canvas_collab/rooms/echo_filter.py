"""Which awareness updates come back: the y-websocket clients re-send every change of awareness that they hear.

In a room of N clients one movement of a cursor comes back N times, and whoever joins sends back the states of all the
others.  Most come back word for word, and are known by their hash, before they are decoded or their size is judged.
"""

from __future__ import annotations

from collections.abc import Hashable

from attrs import define, field

#: So many updates that went to everybody are remembered, and so many of those that went to one member alone.
REMEMBERED = 1024


@define
class _Member:
    """When somebody joined, counted in updates that went to everybody; and what went to them alone, by its hash."""

    joined: int
    told: dict[int, None] = field(factory=dict)


class EchoFilter:
    """The awareness updates that one room has sent lately, to everybody or to one member."""

    __slots__ = ("_count", "_members", "_sent")

    def __init__(self) -> None:
        self._count = 0
        # When each was sent last, by its hash, the oldest first.
        self._sent: dict[int, int] = {}
        self._members: dict[Hashable, _Member] = {}

    def joined(self, member: Hashable) -> None:
        """Somebody hears of everything from now on."""
        self._members[member] = _Member(self._count)

    def left(self, member: Hashable) -> None:
        """Somebody has gone."""
        self._members.pop(member, None)

    def sent(self, payload: bytes) -> None:
        """An update went to everybody."""
        key = hash(payload)
        self._count += 1
        self._sent.pop(key, None)
        self._sent[key] = self._count
        _bound(self._sent)

    def told(self, member: Hashable, payload: bytes) -> None:
        """An update went to one member."""
        state = self._members.get(member)
        if state is not None:
            state.told[hash(payload)] = None
            _bound(state.told)

    def is_echo(self, member: Hashable, payload: bytes) -> bool:
        """Whether `member` repeats what it was sent.

        What was sent before it joined it has not heard here: a client that returns may say the same as before.
        """
        state = self._members.get(member)
        if state is None:
            return False
        key = hash(payload)
        return self._sent.get(key, 0) > state.joined or key in state.told


def _bound(hashes: dict[int, int] | dict[int, None]) -> None:
    if len(hashes) > REMEMBERED:
        del hashes[next(iter(hashes))]
