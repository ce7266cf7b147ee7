"""Detects poison in whole documents: structs that Yjs clients fail on, or take very long to integrate.

Some poison cannot be detected in a single update: how deeply a type is nested, or which key a value is for, may depend
on structs that came long before.  This examines a whole document, in time linear in its size, without integrating it.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, frozen

from canvas_collab.document.slicing import decode_items
from canvas_collab.document.struct_index import StructIndex
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.items import Id, Item
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.poison import check_content
from canvas_collab.protocol.steps import run_to_completion
from canvas_collab.protocol.struct_info import KEY, Kind
from canvas_collab.protocol.update import Update

#: Types nested more deeply are reported: Yjs overflows the stack somewhere above a thousand.
MAX_DEPTH = 500

#: More insertions at one position are reported: the time that every client takes to load them is the square of it.
MAX_AT_ONE_PLACE = 1000


@frozen(order=True)
class Poison:
    """Structs that are poison: their client and clocks, and `what` is wrong with them."""

    client: int
    start: int
    end: int
    what: str


def find_poison(update: Update) -> list[Poison]:
    """Return the poison in an update that holds a whole document."""
    return sorted(_Search(update).run())


@define(eq=False)
class _Struct:
    """A struct, and what the search has found out about it."""

    client: int
    item: Item
    #: The struct that names the parent: this one, or the one that this one inherits its parent from, through origins.
    root: _Struct | None = None
    #: The number of types that it is nested in; None while not known.
    depth: int | None = None
    #: The number of its dependencies that have not been ordered yet.
    missing: int = 0
    #: Whether it depends, even indirectly, on a struct that the document lacks.
    is_pending: bool = False


class _Search:
    """Examines every struct of a document."""

    def __init__(self, update: Update) -> None:
        self._deletions: DeleteSet = update.deletions
        self._structs = {
            client: [_Struct(client, item) for item in decode_items(client, runs)]
            for client, runs in update.runs.items()
        }
        self._index = StructIndex(self._structs)

    def run(self) -> Iterator[Poison]:
        """Iterate over the poison."""
        places: dict[object, list[_Struct]] = {}
        ordered = self._ordered()
        for struct in ordered:
            self._find_parent(struct)
            yield from self._check_position(struct)
            if struct.root is struct and struct.item.kind is not Kind.GC:
                places.setdefault((struct.item.head, None, None), []).append(struct)
            elif struct.root is not None:
                places.setdefault((b"", struct.item.origin, struct.item.right_origin), []).append(struct)
        for structs in places.values():
            if len(structs) > MAX_AT_ONE_PLACE:
                for struct in structs:
                    yield self._poison(struct, f"more than {MAX_AT_ONE_PLACE} insertions at one place")
        ordered_ids = set(map(id, ordered))
        for struct in self._index:
            yield from (self._poison(struct, what) for what in _check_content(struct.item))
            if id(struct) not in ordered_ids and not struct.is_pending:
                yield self._poison(struct, "items whose origins form a cycle")

    def _poison(self, struct: _Struct, what: str) -> Poison:
        return Poison(struct.client, struct.item.clock, struct.item.end, what)

    def _ordered(self) -> list[_Struct]:
        """Return the structs in an order in which they can be integrated.

        Pending ones, and those whose origins form a cycle, are left out.
        """
        dependent: dict[int, list[_Struct]] = {}
        ready, pending = [], []
        for structs in self._structs.values():
            before: _Struct | None = None
            for struct in structs:
                item = struct.item
                dependencies = [self._index.find(identifier) for identifier in _dependencies(item)]
                if item.clock:
                    follows = before is not None and before.item.end == item.clock
                    dependencies.append(before if follows else None)
                for dependency in dependencies:
                    if dependency is None:
                        struct.is_pending = True
                    elif dependency is not struct:
                        struct.missing += 1
                        dependent.setdefault(id(dependency), []).append(struct)
                if struct.is_pending:
                    pending.append(struct)
                elif not struct.missing:
                    ready.append(struct)
                before = struct
        ordered = []
        while ready:
            struct = ready.pop()
            ordered.append(struct)
            for other in dependent.get(id(struct), ()):
                other.missing -= 1
                if not other.missing and not other.is_pending:
                    ready.append(other)
        while pending:
            for other in dependent.get(id(pending.pop()), ()):
                if not other.is_pending:
                    other.is_pending = True
                    pending.append(other)
        return ordered

    def _find_parent(self, struct: _Struct) -> None:
        """Find a struct's root and depth; those of its dependencies must be known."""
        item = struct.item
        struct.depth = 0
        if item.kind is Kind.GC:
            return
        if item.origin is None and item.right_origin is None:
            struct.root = struct
            parent = self._index.find(item.parent)
            struct.depth = (parent.depth or 0) + 1 if parent is not None else 0
            return
        neighbour = self._index.find(item.origin if item.origin is not None else item.right_origin)
        if neighbour is not None and neighbour.root is not None:
            struct.root, struct.depth = neighbour.root, neighbour.depth

    def _check_position(self, struct: _Struct) -> Iterator[Poison]:
        """Iterate over the poison in a struct that depends on its parent."""
        item, root = struct.item, struct.root
        if (struct.depth or 0) > MAX_DEPTH:
            yield self._poison(struct, f"types nested more than {MAX_DEPTH} deep")
        if root is None or not root.item.info & KEY:
            return
        if item.end - item.clock > 1 and item.kind is not Kind.DELETED and not self._is_deleted(struct):
            yield self._poison(struct, "several values for one key")

    def _is_deleted(self, struct: _Struct) -> bool:
        """Return whether all clocks of a struct are deleted."""
        whole = DeleteSet()
        whole.add(struct.client, struct.item.clock, struct.item.end)
        return self._deletions.covers(whole)


def _dependencies(item: Item) -> Iterator[Id]:
    """Iterate over the ids that must be integrated before an item."""
    for identifier in (item.origin, item.right_origin, item.parent):
        if identifier is not None:
            yield identifier


def _check_content(item: Item) -> Iterator[str]:
    """Iterate over what is wrong with an item's content."""
    try:
        run_to_completion(check_content(item.content, 0, len(item.content), item.kind))
    except Malformed as error:
        yield str(error)
