"""Integration: where every item of a document ends up, worked out as Yjs works it out.

The live server never needs this.  It is for looking back: to show a document's content, and to make it again what it
was.  The algorithm is YATA as the npm package ``yjs`` 13 has it (``Item.getMissing`` and ``Item.integrate``); every
item keeps its content as bytes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

from attrs import define, field

from canvas_collab.document.budget import Budget
from canvas_collab.document.ordering import Ordering
from canvas_collab.document.slicing import cut_item, items_of
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.items import Id, Item
from canvas_collab.protocol.lib0 import Decoder
from canvas_collab.protocol.struct_info import KEY, ORIGIN, RIGHT_ORIGIN, Kind
from canvas_collab.protocol.update import Update

#: Where much was inserted at one place, that takes as many steps as its number squared.  So many are taken.
MAX_STEPS = 20_000_000


@define(eq=False)
class SharedType:
    """A shared type: one that is named on the document, or the content of an item."""

    name: str | None = None
    item: Node | None = None
    first: Node | None = None
    entries: dict[str, Node] = field(factory=dict)

    def sequence(self) -> Iterator[Node]:
        """Its items in their order, deleted ones included; those of map entries have no place in it."""
        node = self.first
        while node is not None:
            yield node
            node = node.right


@define(eq=False)
class Node:
    """An item in its place, or the part of one between two cuts.

    `content` is as :mod:`canvas_collab.protocol.structs` has it.  What was garbage-collected, or lies within what was,
    has no `parent`.
    """

    client: int
    clock: int
    end: int
    kind: Kind
    content: bytes
    origin: Id | None
    right_origin: Id | None
    parent: SharedType | None = None
    key: str | None = None
    left: Node | None = None
    right: Node | None = None
    is_deleted: bool = False
    shared_type: SharedType | None = None

    @property
    def last(self) -> Id:
        """The id of its last clock."""
        return self.client, self.end - 1


@define
class _Waiting:
    """A struct that is to be integrated, and what it says of its parent: an item's id, or a name."""

    node: Node
    parent_id: Id | None
    parent_name: str | None
    key: str | None


class Integration:
    """A document whose items are in their places.

    What waits for something that is not there is left out, as Yjs leaves it out until that comes.
    """

    def __init__(self, update: Update, cut_at: DeleteSet | None = None) -> None:
        """Integrate an update that holds a whole document.

        :param cut_at: no node is to be partly in one of these ranges.
        :raises BudgetExceeded: if that takes more steps than it may.
        """
        self.roots: dict[str, SharedType] = {}
        self._nodes: dict[int, list[Node]] = {}
        self._clocks: dict[int, list[int]] = {}
        self._budget = Budget(MAX_STEPS, "working out what the document shows")
        placed = Ordering({client: list(items_of(client, runs)) for client, runs in update.runs.items()}).placed
        places = _cuts(placed, update.deletions, cut_at or DeleteSet())
        for client, item in placed:
            for part in _cut(client, item, places.get(client, ())):
                self._place(_waiting(client, part))
        for client, ranges in update.deletions.items():
            for start, end in ranges:
                for node in self.between(client, start, end):
                    _delete(node)

    def find(self, identifier: Id) -> Node | None:
        """The node that holds an id."""
        client, clock = identifier
        index = bisect_right(self._clocks.get(client, ()), clock) - 1
        if index < 0:
            return None
        node = self._nodes[client][index]
        return node if clock < node.end else None

    def between(self, client: int, start: int, end: int) -> list[Node]:
        """The nodes from one clock up to another, which are those of a deletion or were asked for."""
        clocks = self._clocks.get(client, [])
        return self._nodes.get(client, [])[bisect_left(clocks, start) : bisect_left(clocks, end)]

    def nodes(self) -> Iterator[Node]:
        """All of them, client by client."""
        for nodes in self._nodes.values():
            yield from nodes

    def _place(self, waiting: _Waiting) -> None:
        node = waiting.node
        self._nodes.setdefault(node.client, []).append(node)
        self._clocks.setdefault(node.client, []).append(node.clock)
        if node.kind is Kind.GC:
            node.is_deleted = True
            return
        node.left = self.find(node.origin) if node.origin else None
        node.right = self.find(node.right_origin) if node.right_origin else None
        node.parent, node.key = self._parent(waiting)
        if node.parent is None:
            node.kind, node.left, node.right, node.is_deleted = Kind.GC, None, None, True
            return
        if node.kind is Kind.TYPE:
            node.shared_type = SharedType(item=node)
        self._insert(node, node.parent)

    def _parent(self, waiting: _Waiting) -> tuple[SharedType | None, str | None]:
        node = waiting.node
        follower = [neighbour for neighbour in (node.left, node.right) if neighbour is not None]
        if any(neighbour.kind is Kind.GC for neighbour in follower):
            return None, None
        if waiting.parent_name is not None:
            return self.roots.setdefault(waiting.parent_name, SharedType(waiting.parent_name)), waiting.key
        if waiting.parent_id is not None:
            item = self.find(waiting.parent_id)
            return (item.shared_type if item else None), waiting.key
        return (follower[0].parent, follower[0].key) if follower else (None, None)

    def _insert(self, node: Node, parent: SharedType) -> None:
        if (node.left is None and (node.right is None or node.right.left is not None)) or (
            node.left is not None and node.left.right is not node.right
        ):
            node.left = self._left_of(node, parent)
        if node.left is not None:
            node.right = node.left.right
            node.left.right = node
        elif node.key is not None:
            node.right = self._first_of(parent.entries.get(node.key))
        else:
            node.right = parent.first
            parent.first = node
        if node.right is not None:
            node.right.left = node
        elif node.key is not None:
            parent.entries[node.key] = node
            if node.left is not None:
                # The entry has a new value.
                _delete(node.left)
        if (parent.item is not None and parent.item.is_deleted) or (node.key is not None and node.right is not None):
            _delete(node)
        if node.kind is Kind.DELETED:
            node.is_deleted = True

    def _left_of(self, node: Node, parent: SharedType) -> Node | None:
        """Where among items that were inserted at the same place, by others at the same time, an item belongs."""
        left = node.left
        other: Node | None
        if left is not None:
            other = left.right
        elif node.key is not None:
            other = self._first_of(parent.entries.get(node.key))
        else:
            other = parent.first
        conflicting: set[int] = set()
        before_origin: set[int] = set()
        while other is not None and other is not node.right:
            self._budget.spend()
            before_origin.add(id(other))
            conflicting.add(id(other))
            if node.origin == other.origin:
                if other.client < node.client:
                    left = other
                    conflicting.clear()
                elif node.right_origin == other.right_origin:
                    break
            else:
                origin = self.find(other.origin) if other.origin else None
                if origin is None or id(origin) not in before_origin:
                    break
                if id(origin) not in conflicting:
                    left = other
                    conflicting.clear()
            other = other.right
        return left

    def _first_of(self, node: Node | None) -> Node | None:
        while node is not None and node.left is not None:
            self._budget.spend()
            node = node.left
        return node


def _cuts(placed: Sequence[tuple[int, Item]], *cut_at: DeleteSet) -> dict[int, list[int]]:
    """Where structs of each client are cut: between clocks between which another was put, and where ranges end."""
    places: dict[int, set[int]] = {}
    for _, item in placed:
        if item.origin is not None:
            places.setdefault(item.origin[0], set()).add(item.origin[1] + 1)
        if item.right_origin is not None:
            places.setdefault(item.right_origin[0], set()).add(item.right_origin[1])
    for ranges in cut_at:
        for client, known in ranges.items():
            places.setdefault(client, set()).update(place for bounds in known for place in bounds)
    return {client: sorted(found) for client, found in places.items()}


def _cut(client: int, item: Item, places: Sequence[int]) -> Iterable[Item]:
    wait_at_most = places[bisect_right(places, item.clock) : bisect_left(places, item.end)]
    return cut_item(item, client, wait_at_most) if wait_at_most else (item,)


def _waiting(client: int, item: Item) -> _Waiting:
    node = Node(client, item.clock, item.end, item.kind, item.content, item.origin, item.right_origin)
    name = key = None
    if item.kind is not Kind.GC and not item.info & (ORIGIN | RIGHT_ORIGIN):
        decoder = Decoder(item.head)
        if decoder.var_uint() == 1:
            name = decoder.var_string()
        else:
            decoder.var_uint()
            decoder.var_uint()
        key = decoder.var_string() if item.info & KEY else None
    return _Waiting(node, item.parent, name, key)


def _delete(node: Node) -> None:
    """Delete an item and what is in it."""
    stack = [node]
    while stack:
        node = stack.pop()
        if node.is_deleted:
            continue
        node.is_deleted = True
        if node.shared_type is not None:
            stack.extend(node.shared_type.sequence())
            stack.extend(node.shared_type.entries.values())
