"""The order in which structs can be integrated: each after the structs before it of the same client, and after its
dependencies, which are its origins and its parent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from canvas_collab.protocol.items import Id, Item
from canvas_collab.protocol.structs import MAX_CLOCK


def integration_order(items: Mapping[int, Sequence[Item]]) -> list[tuple[int, Item]]:
    """Return items in an order in which they can be integrated, each with its client id.

    Items that depend, even indirectly, on missing structs are left out.

    :param items: for each client, in the order of their clocks.
    """
    return _Sort(items).ordered


class _Sort:
    """A topological sort."""

    def __init__(self, items: Mapping[int, Sequence[Item]]) -> None:
        self._queues = items
        # For each client, the index of the next item.
        self._next = dict.fromkeys(items, 0)
        # For each client, the clock up to which everything is in the result.
        self._known: dict[int, int] = {}
        self.ordered: list[tuple[int, Item]] = []
        for client in items:
            self._add_all(client)

    def _add_all(self, client: int) -> None:
        """Add all items of a client, and before each its dependencies."""
        # The ids that have to be added, each a dependency of the one before; and their clients.
        path: list[Id] = [(client, MAX_CLOCK)]
        on_path = {client}
        while path:
            client, clock = path[-1]
            queue = self._queues.get(client, ())
            known = self._known.get(client, 0)
            place = self._next.get(client, 0)
            if place >= len(queue) or clock < known:
                path.pop()
                on_path.discard(client)
                continue
            item = queue[place]
            missing = self._missing_dependency(client, item)
            if item.clock != known or (missing and not self._can_be_added(missing, on_path)):
                # There is a gap, or a dependency is behind a gap: no more items of this client can be integrated.
                self._next[client] = len(queue)
                path.pop()
                on_path.discard(client)
            elif missing:
                path.append(missing)
                on_path.add(missing[0])
            else:
                self._next[client] += 1
                self._known[client] = item.end
                self.ordered.append((client, item))

    def _can_be_added(self, missing: Id, on_path: set[int]) -> bool:
        """Return whether the client of an id has more items, and does not depend on one on the path."""
        client = missing[0]
        has_more = self._next.get(client, 0) < len(self._queues.get(client, ()))
        return has_more and client not in on_path

    def _missing_dependency(self, client: int, item: Item) -> Id | None:
        """Return a dependency of an item that was not added yet; None if there is none."""
        for identifier in (item.origin, item.right_origin, item.parent):
            if identifier and identifier[0] != client and identifier[1] >= self._known.get(identifier[0], 0):
                return identifier
        return None
