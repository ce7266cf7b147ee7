"""Restoring: the earlier state of a document, and the update that makes the document show it again.

Nothing is removed from the document's history.  What was inserted since is deleted, and what was deleted since is
inserted again at its position, by a new client.  So connected clients receive it as an ordinary edit, and restoring can
be undone by restoring.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence

from canvas_collab.document.document import Document
from canvas_collab.document.integration import Integration, Node, SharedType
from canvas_collab.protocol.contents import ContentSlicer, make_content_slicer
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.items import Id, encode_id
from canvas_collab.protocol.lib0 import encode_var_string, encode_var_uint
from canvas_collab.protocol.struct_info import KEY, ORIGIN, RIGHT_ORIGIN, Kind
from canvas_collab.protocol.structs import Run, slice_run
from canvas_collab.protocol.update import Update, clocks_of, encode_update


def document_before(document: Document, later: Iterable[Update], earlier: Iterable[Update] = ()) -> Document:
    """Return a document without what its latest updates added.

    :param later: all updates since some time; everything in them counts as new, unless it is in `earlier`.
    :param earlier: updates from before that time, as far as they are known.
    """
    clocks, deletions = _clocks_and_deletions(later)
    known, known_deletions = _clocks_and_deletions(earlier)
    clocks, deletions = clocks.difference(known), deletions.difference(known_deletions)
    whole = document.as_update()
    kept: dict[int, list[Run]] = {}
    for client, found in whole.runs.items():
        rest = [part for run in found for part in _without(run, client, clocks)]
        if rest:
            kept[client] = rest
    return Document([Update(kept, whole.deletions.difference(deletions))])


def _clocks_and_deletions(updates: Iterable[Update]) -> tuple[DeleteSet, DeleteSet]:
    """Return the clocks that updates have structs for, and the deletions in them."""
    clocks, deletions = DeleteSet(), DeleteSet()
    for update in updates:
        clocks.update(clocks_of(update))
        deletions.update(update.deletions)
    return clocks, deletions


def _without(run: Run, client: int, clocks: DeleteSet) -> Iterator[Run]:
    """Iterate over the parts of a run that are not among the clocks."""
    covered = DeleteSet()
    covered.add(client, run.clock, run.end)
    for start, end in covered.difference(clocks).ranges(client):
        yield slice_run(run, start, end, client)


def restoring_update(current: Document, target: Document, client: int, override_unknown: bool = False) -> bytes:
    """Return the update that makes a document show what an earlier state of it shows.

    :param current: the document, which must have everything in `target`.
    :param target: the earlier state.
    :param client: the client id of the edits; it must be unused in the document.
    :param override_unknown: whether clients may have map values that `current` does not have.  Values set again
        override these too then, if `client` is higher than all other client ids.
    :raises BudgetExceeded: if integrating the documents takes too many operations.
    """
    return _Restoration(current.as_update(), Integration(target.as_update()), client, override_unknown).update()


def unused_client_id(document: Document) -> int:
    """Return a client id that is unused in a document: 32 random bits, as in Yjs."""
    known = document.as_update().runs
    while (client := secrets.randbits(32)) in known:
        continue
    return client


class _Restoration:
    """Compares the current document with the target, type by type, and collects the edits."""

    def __init__(self, current: Update, target: Integration, client: int, override_unknown: bool) -> None:
        self._target = target
        self._client = client
        self._override_unknown = override_unknown
        self._clock = 0
        self._structs: list[bytes] = []
        self._deletions = DeleteSet()
        # The clocks that are not deleted in the target.
        self._wanted = DeleteSet()
        for node in target.nodes():
            if not node.is_deleted:
                self._wanted.add(node.client, node.clock, node.end)
        self._current = Integration(current, self._wanted)
        # The types that are to be compared; and the copies of types that are to be filled.
        self._to_compare = list(self._current.roots.values())
        self._to_fill: list[tuple[Id, SharedType]] = []
        # The content that was sliced last.
        self._last_slicer: tuple[Node, ContentSlicer] | None = None

    def update(self) -> bytes:
        """Return all edits as one encoded update."""
        while self._to_compare:
            self._compare(self._to_compare.pop())
        while self._to_fill:
            self._fill(*self._to_fill.pop())
        runs = {}
        if self._structs:
            runs[self._client] = [Run(0, self._clock, len(self._structs), b"".join(self._structs))]
        return encode_update(runs, self._deletions)

    def _is_wanted(self, node: Node) -> bool:
        return self._wanted.contains(node.client, node.clock)

    def _compare(self, shared_type: SharedType) -> None:
        """Restore the content of a type that is not deleted in the current document nor in the target."""
        missing: list[Node] = []
        for node in list(shared_type.sequence()):
            if not self._is_wanted(node):
                self._keep_or_delete(node)
            elif node.is_deleted or self._splits_character(node):
                if not node.is_deleted:
                    self._deletions.add(node.client, node.clock, node.end)
                if missing and not self._are_one_node(missing[-1], node):
                    self._insert_again(missing)
                    missing = []
                missing.append(node)
            else:
                self._insert_again(missing)
                missing = []
                self._keep_or_delete(node)
        self._insert_again(missing)
        for key, last in shared_type.entries.items():
            values = list(_values_of_entry(last))
            value = next((node for node in values if self._is_wanted(node)), None)
            if value is not None and value.is_deleted:
                if self._override_unknown:
                    self._insert(value, value.end, None, None, _parent_of(shared_type), key)
                else:
                    self._insert(value, value.end, last.last, None)
            for node in values:
                self._keep_or_delete(node)

    def _keep_or_delete(self, node: Node) -> None:
        """Delete a node unless it is in the target; its content is compared then."""
        if node.is_deleted:
            return
        if not self._is_wanted(node):
            self._deletions.add(node.client, node.clock, node.end)
        elif node.shared_type is not None:
            self._to_compare.append(node.shared_type)

    def _insert_again(self, missing: Sequence[Node]) -> None:
        """Insert nodes that are one node in the target at the position of the last of them."""
        if missing:
            last = missing[-1]
            right = (last.right.client, last.right.clock) if last.right else None
            self._insert(missing[0], last.end, last.last, right)

    def _are_one_node(self, first: Node, second: Node) -> bool:
        """Return whether two nodes are parts of one node in the target."""
        if first.client != second.client or first.end != second.clock:
            return False
        return self._target.find(first.last) is self._target.find((second.client, second.clock))

    def _splits_character(self, node: Node) -> bool:
        """Return whether a string begins or ends in the middle of a surrogate pair of the target."""
        if node.kind is not Kind.STRING:
            return False
        source = self._target.find((node.client, node.clock))
        if source is None or (source.clock, source.end) == (node.clock, node.end):
            return False
        units = self._slicer(source).units
        places = (node.clock - source.clock, node.end - source.clock)
        return any(0xDC <= units[2 * place + 1] <= 0xDF for place in places if 0 < place < source.end - source.clock)

    def _insert(
        self,
        node: Node,
        end: int,
        origin: Id | None,
        right_origin: Id | None,
        parent: Id | str | None = None,
        key: str | None = None,
    ) -> Id:
        """Insert a copy of what the target has from a node on up to a clock; a shared type is filled later.

        Returns the id with the copy's last clock.
        """
        identifier = (self._client, self._clock)
        source = self._target.find((node.client, node.clock))
        assert source is not None, "it is in the target"
        info = int(source.kind)
        head = b""
        if origin is not None:
            info |= ORIGIN
            head += encode_id(origin)
        if right_origin is not None:
            info |= RIGHT_ORIGIN
            head += encode_id(right_origin)
        if parent is not None and origin is None:
            if isinstance(parent, str):
                head += encode_var_uint(1) + encode_var_string(parent)
            else:
                head += encode_var_uint(0) + encode_id(parent)
            if key is not None:
                info |= KEY
                head += encode_var_string(key)
        content = source.content
        if (node.clock, end) != (source.clock, source.end):
            content = self._slicer(source).slice(node.clock - source.clock, end - source.clock)
        self._structs.append(bytes((info,)) + head + content)
        self._clock += end - node.clock
        last = (self._client, self._clock - 1)
        if source.shared_type is not None:
            self._to_fill.append((identifier, source.shared_type))
        return last

    def _slicer(self, node: Node) -> ContentSlicer:
        """Return a slicer of a node's content; it is cached, since parts of one node are often copied in turn."""
        if self._last_slicer is None or self._last_slicer[0] is not node:
            self._last_slicer = node, make_content_slicer(node.content, node.kind)
        return self._last_slicer[1]

    def _fill(self, parent: Id, shared_type: SharedType) -> None:
        """Insert the content of a type in the target into the copy of that type."""
        left: Id | None = None
        for node in shared_type.sequence():
            if not node.is_deleted:
                left = self._insert(node, node.end, left, None, parent)
        for key, last in shared_type.entries.items():
            if not last.is_deleted:
                self._insert(last, last.end, None, None, parent, key)


def _values_of_entry(last: Node) -> Iterator[Node]:
    """Iterate over all values that a map entry has had, the latest first."""
    node: Node | None = last
    while node is not None:
        yield node
        node = node.left


def _parent_of(shared_type: SharedType) -> Id | str:
    """Return the parent that items in a shared type name: an item's id, or the name of a top-level type."""
    if shared_type.item is not None:
        return (shared_type.item.client, shared_type.item.clock)
    return shared_type.name or ""
