"""Integration: finding the position of every item in a document, as Yjs does.

The live server does not integrate; this is for inspecting and restoring.  The algorithm is YATA as implemented in the
npm package ``yjs`` 13 (``Item.getMissing`` and ``Item.integrate``).  Content stays encoded.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

from attrs import define, field

from canvas_collab.document.budget import Budget
from canvas_collab.document.ordering import integration_order
from canvas_collab.document.slicing import decode_items, split_item
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.items import Id, Item
from canvas_collab.protocol.lib0 import Decoder
from canvas_collab.protocol.struct_info import KEY, ORIGIN, RIGHT_ORIGIN, Kind
from canvas_collab.protocol.update import Update

#: The limit on operations.  Concurrent insertions at one position take as many as the square of their number.
MAX_STEPS = 20_000_000


@define(eq=False)
class SharedType:
    """A shared type: a top-level type with a name, or the content of an item."""

    name: str | None = None
    item: Node | None = None
    first: Node | None = None
    entries: dict[str, Node] = field(factory=dict)

    def sequence(self) -> Iterator[Node]:
        """Iterate over the items of the sequence, deleted ones included; map entries are not part of it."""
        node = self.first
        while node is not None:
            yield node
            node = node.right


@define(eq=False)
class Node:
    """An integrated item, or a part of an item that was split.

    `content` is the encoded content.  GCs, and items whose parent is one, have no `parent`.
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
        """The id with its last clock."""
        return self.client, self.end - 1


@define
class _Unplaced:
    """A node that is not integrated yet, and the parent that its item names: an item's id, or a top-level type."""

    node: Node
    parent_id: Id | None
    parent_name: str | None
    key: str | None


class Integration:
    """An integrated document.

    Items that depend on missing structs are not part of it; Yjs, too, keeps them pending until those arrive.
    """

    def __init__(self, update: Update, cut_at: DeleteSet | None = None) -> None:
        """Integrate an update that holds a whole document.

        :param cut_at: ranges at whose ends items are split, so that no node is partly in one.
        :raises BudgetExceeded: if it takes too many operations.
        """
        self.roots: dict[str, SharedType] = {}
        self._nodes: dict[int, list[Node]] = {}
        self._clocks: dict[int, list[int]] = {}
        self._budget = Budget(MAX_STEPS, "integrating the document")
        ordered = integration_order({client: list(decode_items(client, runs)) for client, runs in update.runs.items()})
        places = _split_places(ordered, update.deletions, cut_at or DeleteSet())
        for client, item in ordered:
            for part in _split(client, item, places.get(client, ())):
                self._integrate(_unplaced(client, part))
        for client, ranges in update.deletions.items():
            for start, end in ranges:
                for node in self.between(client, start, end):
                    _delete(node)

    def find(self, identifier: Id) -> Node | None:
        """Return the node that contains an id; None if there is none."""
        client, clock = identifier
        index = bisect_right(self._clocks.get(client, ()), clock) - 1
        if index < 0:
            return None
        node = self._nodes[client][index]
        return node if clock < node.end else None

    def between(self, client: int, start: int, end: int) -> list[Node]:
        """Return the nodes from clock `start` up to `end`, which must be ends of deletions or of `cut_at` ranges."""
        clocks = self._clocks.get(client, [])
        return self._nodes.get(client, [])[bisect_left(clocks, start) : bisect_left(clocks, end)]

    def nodes(self) -> Iterator[Node]:
        """Iterate over all nodes, client by client."""
        for nodes in self._nodes.values():
            yield from nodes

    def _integrate(self, unplaced: _Unplaced) -> None:
        node = unplaced.node
        self._nodes.setdefault(node.client, []).append(node)
        self._clocks.setdefault(node.client, []).append(node.clock)
        if node.kind is Kind.GC:
            node.is_deleted = True
            return
        node.left = self.find(node.origin) if node.origin else None
        node.right = self.find(node.right_origin) if node.right_origin else None
        node.parent, node.key = self._parent(unplaced)
        if node.parent is None:
            node.kind, node.left, node.right, node.is_deleted = Kind.GC, None, None, True
            return
        if node.kind is Kind.TYPE:
            node.shared_type = SharedType(item=node)
        self._insert(node, node.parent)

    def _parent(self, unplaced: _Unplaced) -> tuple[SharedType | None, str | None]:
        node = unplaced.node
        neighbours = [neighbour for neighbour in (node.left, node.right) if neighbour is not None]
        if any(neighbour.kind is Kind.GC for neighbour in neighbours):
            return None, None
        if unplaced.parent_name is not None:
            return self.roots.setdefault(unplaced.parent_name, SharedType(unplaced.parent_name)), unplaced.key
        if unplaced.parent_id is not None:
            item = self.find(unplaced.parent_id)
            return (item.shared_type if item else None), unplaced.key
        return (neighbours[0].parent, neighbours[0].key) if neighbours else (None, None)

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
                # It was the entry's value until now.
                _delete(node.left)
        if (parent.item is not None and parent.item.is_deleted) or (node.key is not None and node.right is not None):
            _delete(node)
        if node.kind is Kind.DELETED:
            node.is_deleted = True

    def _left_of(self, node: Node, parent: SharedType) -> Node | None:
        """Return the left neighbour of an item among those that were inserted concurrently at its position."""
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


def _split_places(items: Sequence[tuple[int, Item]], *cut_at: DeleteSet) -> dict[int, list[int]]:
    """Return the clocks at which each client's items are split: where others were inserted, and at ends of ranges."""
    places: dict[int, set[int]] = {}
    for _, item in items:
        if item.origin is not None:
            places.setdefault(item.origin[0], set()).add(item.origin[1] + 1)
        if item.right_origin is not None:
            places.setdefault(item.right_origin[0], set()).add(item.right_origin[1])
    for ranges in cut_at:
        for client, known in ranges.items():
            places.setdefault(client, set()).update(place for bounds in known for place in bounds)
    return {client: sorted(found) for client, found in places.items()}


def _split(client: int, item: Item, places: Sequence[int]) -> Iterable[Item]:
    inside = places[bisect_right(places, item.clock) : bisect_left(places, item.end)]
    return split_item(item, client, inside) if inside else (item,)


def _unplaced(client: int, item: Item) -> _Unplaced:
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
    return _Unplaced(node, item.parent, name, key)


def _delete(node: Node) -> None:
    """Delete an item and everything in it."""
    stack = [node]
    while stack:
        node = stack.pop()
        if node.is_deleted:
            continue
        node.is_deleted = True
        if node.shared_type is not None:
            stack.extend(node.shared_type.sequence())
            stack.extend(node.shared_type.entries.values())
