"""Integration: where every item of a document ends up, worked out as Yjs works it out.

The live server never needs this.  It is for looking back: to show a document's content, and to make it again what it
was.  The algorithm is YATA as the npm package ``yjs`` 13 has it (``Item.getMissing`` and ``Item.integrate``); every
item keeps its content as bytes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from attrs import define, field

from canvas_collab.protocol.contents import cut_content
from canvas_collab.protocol.info import KEY, ORIGIN, RIGHT_ORIGIN, Kind
from canvas_collab.protocol.items import Id, decode_item
from canvas_collab.protocol.lib0 import Decoder
from canvas_collab.protocol.structs import MAX_CLOCK, Run, structs_of
from canvas_collab.protocol.update import Update


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

    def __init__(self, update: Update) -> None:
        """Integrate an update that holds a whole document."""
        self.roots: dict[str, SharedType] = {}
        self._nodes: dict[int, list[Node]] = {}
        self._clocks: dict[int, list[int]] = {}
        self._queues = {client: _read(client, runs) for client, runs in update.runs.items()}
        self._next = dict.fromkeys(self._queues, 0)
        for client in self._queues:
            self._integrate_all(client)
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
        """The nodes from one clock up to another, cut there if need be."""
        if self.find((client, start)) is not None:
            self._cut_before((client, start))
        if self.find((client, end)) is not None:
            self._cut_before((client, end))
        clocks = self._clocks.get(client, [])
        return self._nodes.get(client, [])[bisect_left(clocks, start) : bisect_left(clocks, end)]

    def nodes(self) -> Iterator[Node]:
        """All of them, client by client."""
        for nodes in self._nodes.values():
            yield from nodes

    def _known(self, client: int) -> int:
        """Up to which clock everything of a client is in its place."""
        nodes = self._nodes.get(client)
        return nodes[-1].end if nodes else 0

    def _integrate_all(self, client: int) -> None:
        """Integrate everything of a client, and before each struct what it builds on."""
        # The clocks that have to be there, each for the sake of the one before.
        way: list[Id] = [(client, MAX_CLOCK)]
        while way:
            client, clock = way[-1]
            queue = self._queues.get(client, [])
            if self._next.get(client, 0) >= len(queue) or clock < self._known(client):
                way.pop()
                continue
            waiting = queue[self._next[client]]
            missing = self._missing(waiting)
            if waiting.node.clock != self._known(client) or (missing and not self._can_come(missing, way)):
                # There is a gap, or what it builds on waits for a gap: nothing more of this client has a place.
                self._next[client] = len(queue)
                way.pop()
            elif missing:
                way.append(missing)
            else:
                self._next[client] += 1
                self._place(waiting)

    def _can_come(self, missing: Id, way: Sequence[Id]) -> bool:
        """Whether a client has more to place that waits for nothing on the way."""
        client = missing[0]
        has_more = self._next.get(client, 0) < len(self._queues.get(client, ()))
        return has_more and all(client != waiting for waiting, _ in way)

    def _missing(self, waiting: _Waiting) -> Id | None:
        """The id of something that has to be there before a struct can be placed, and is not."""
        node = waiting.node
        for identifier in (node.origin, node.right_origin, waiting.parent_id):
            if identifier and identifier[0] != node.client and identifier[1] >= self._known(identifier[0]):
                return identifier
        return None

    def _place(self, waiting: _Waiting) -> None:
        node = waiting.node
        self._nodes.setdefault(node.client, []).append(node)
        self._clocks.setdefault(node.client, []).append(node.clock)
        if node.kind is Kind.GC:
            node.is_deleted = True
            return
        node.left = self._cut_after(node.origin) if node.origin else None
        node.right = self._cut_before(node.right_origin) if node.right_origin else None
        node.parent, node.key = self._parent(waiting)
        if node.parent is None:
            node.kind, node.left, node.right, node.is_deleted = Kind.GC, None, None, True
            return
        if node.kind is Kind.TYPE:
            node.shared_type = SharedType(item=node)
        self._insert(node, node.parent)

    def _parent(self, waiting: _Waiting) -> tuple[SharedType | None, str | None]:
        node = waiting.node
        neighbours = [neighbour for neighbour in (node.left, node.right) if neighbour is not None]
        if any(neighbour.kind is Kind.GC for neighbour in neighbours):
            return None, None
        if waiting.parent_name is not None:
            return self.roots.setdefault(waiting.parent_name, SharedType(waiting.parent_name)), waiting.key
        if waiting.parent_id is not None:
            item = self.find(waiting.parent_id)
            return (item.shared_type if item else None), waiting.key
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
            node.right = _first_of(parent.entries.get(node.key))
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
            other = _first_of(parent.entries.get(node.key))
        else:
            other = parent.first
        conflicting: set[int] = set()
        before_origin: set[int] = set()
        while other is not None and other is not node.right:
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

    def _cut_after(self, identifier: Id) -> Node | None:
        """The node that ends with an id."""
        client, clock = identifier
        if self.find((client, clock + 1)) is not None:
            self._cut_before((client, clock + 1))
        return self.find(identifier)

    def _cut_before(self, identifier: Id) -> Node | None:
        """The node that begins with an id."""
        client, clock = identifier
        node = self.find(identifier)
        if node is None or node.clock == clock:
            return node
        at = clock - node.clock
        rest = Node(
            client,
            clock,
            node.end,
            node.kind,
            cut_content(node.content, 0, node.kind, at, node.end - node.clock),
            (client, clock - 1),
            node.right_origin,
            node.parent,
            node.key,
            node,
            node.right,
            node.is_deleted,
        )
        node.content = cut_content(node.content, 0, node.kind, 0, at)
        node.end = clock
        if node.parent is not None:
            node.right = rest
            if rest.right is not None:
                rest.right.left = rest
            elif rest.key is not None:
                node.parent.entries[rest.key] = rest
        index = bisect_left(self._clocks[client], clock)
        self._clocks[client].insert(index, clock)
        self._nodes[client].insert(index, rest)
        return rest


def _read(client: int, runs: Sequence[Run]) -> list[_Waiting]:
    """A client's structs, taken apart."""
    queue = []
    for run in runs:
        for struct in structs_of(run, client):
            data = run.data[struct.start : struct.stop]
            item = decode_item(data, struct.content - struct.start, struct.clock, struct.end)
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
            queue.append(_Waiting(node, item.parent, name, key))
    return queue


def _first_of(node: Node | None) -> Node | None:
    while node is not None and node.left is not None:
        node = node.left
    return node


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
