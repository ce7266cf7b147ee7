"""The order in which structs can be placed: each after its author's before it, and after what it builds on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from canvas_collab.protocol.items import Id, Item
from canvas_collab.protocol.structs import MAX_CLOCK


class Ordering:
    """All authors' structs in such an order; what waits for something that is not there is not among them."""

    def __init__(self, items: Mapping[int, Sequence[Item]]) -> None:
        self._queues = items
        self._next = dict.fromkeys(items, 0)
        # Up to which clock everything of an author is in its place.
        self._known: dict[int, int] = {}
        self.placed: list[tuple[int, Item]] = []
        for client in items:
            self._place_all(client)

    def _place_all(self, client: int) -> None:
        """Place everything of an author, and before each struct what it builds on."""
        # The clocks that have to be there, each for the sake of the one before; and of whom they are.
        way: list[Id] = [(client, MAX_CLOCK)]
        on_way = {client}
        while way:
            client, clock = way[-1]
            queue = self._queues.get(client, ())
            known = self._known.get(client, 0)
            place = self._next.get(client, 0)
            if place >= len(queue) or clock < known:
                way.pop()
                on_way.discard(client)
                continue
            item = queue[place]
            missing = self._missing(client, item)
            if item.clock != known or (missing and not self._can_come(missing, on_way)):
                # There is a gap, or what it builds on waits for a gap: nothing more of this author has a place.
                self._next[client] = len(queue)
                way.pop()
                on_way.discard(client)
            elif missing:
                way.append(missing)
                on_way.add(missing[0])
            else:
                self._next[client] += 1
                self._known[client] = item.end
                self.placed.append((client, item))

    def _can_come(self, missing: Id, on_way: set[int]) -> bool:
        """Whether an author has more to place that waits for nothing on the way."""
        client = missing[0]
        has_more = self._next.get(client, 0) < len(self._queues.get(client, ()))
        return has_more and client not in on_way

    def _missing(self, client: int, item: Item) -> Id | None:
        """The id of something that has to be there before a struct can be placed, and is not."""
        for identifier in (item.origin, item.right_origin, item.parent):
            if identifier and identifier[0] != client and identifier[1] >= self._known.get(identifier[0], 0):
                return identifier
        return None
