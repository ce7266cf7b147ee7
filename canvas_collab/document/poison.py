"""Finding what real Yjs breaks on, or takes very long over, in what is stored.

Not everything of that can be seen in an update by itself: how deeply a type is nested, or for which key a value is, may
say structs that came long before.  So this looks at a whole document, in time linear in its size, without working out
what it shows.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, frozen

from canvas_collab.document.slicing import items_of
from canvas_collab.document.struct_index import StructIndex
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.items import Id, Item
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.poison import refuse_content
from canvas_collab.protocol.steps import run_to_completion
from canvas_collab.protocol.struct_info import KEY, Kind
from canvas_collab.protocol.update import Update

#: Types that are nested more deeply are reported: Yjs runs out of stack somewhere above a thousand.
MAX_DEPTH = 500

#: More insertions at one place are reported: their number squared is what every client has to do to load them.
MAX_AT_ONE_PLACE = 1000


@frozen(order=True)
class Poison:
    """Structs that do harm, by their author and clocks, and `what` is wrong with them."""

    client: int
    start: int
    end: int
    what: str


def find_poison(update: Update) -> list[Poison]:
    """The structs of a whole document that do harm."""
    return sorted(_Search(update).found())


@define(eq=False)
class _Struct:
    """A struct, and what is found out about it."""

    client: int
    item: Item
    #: The struct that says for this one what it is in: itself, or one beside which it was put.
    root: _Struct | None = None
    #: How many types it is in; None while that is not known.
    depth: int | None = None
    #: How many of those that have to have a place before this one have none yet.
    missing: int = 0
    waits_for_unknown: bool = False


class _Search:
    """Looks at every struct."""

    def __init__(self, update: Update) -> None:
        self._deletions: DeleteSet = update.deletions
        self._structs = {
            client: [_Struct(client, item) for item in items_of(client, runs)] for client, runs in update.runs.items()
        }
        self._index = StructIndex(self._structs)

    def found(self) -> Iterator[Poison]:
        """Everything that is found."""
        places: dict[object, list[_Struct]] = {}
        ordered = self._ordered()
        for struct in ordered:
            self._place(struct)
            yield from self._wrong_by_place(struct)
            if struct.root is struct and struct.item.kind is not Kind.GC:
                places.setdefault((struct.item.head, None, None), []).append(struct)
            elif struct.root is not None:
                places.setdefault((b"", struct.item.origin, struct.item.right_origin), []).append(struct)
        for crowd in places.values():
            if len(crowd) > MAX_AT_ONE_PLACE:
                for struct in crowd:
                    yield self._poison(struct, f"more than {MAX_AT_ONE_PLACE} insertions at one place")
        placed = set(map(id, ordered))
        for struct in self._index:
            yield from (self._poison(struct, what) for what in _wrong_content(struct.item))
            if id(struct) not in placed and not struct.waits_for_unknown:
                yield self._poison(struct, "items each of which was put beside the other")

    def _poison(self, struct: _Struct, what: str) -> Poison:
        return Poison(struct.client, struct.item.clock, struct.item.end, what)

    def _ordered(self) -> list[_Struct]:
        """The structs in an order in which they can be placed; those that wait for something are not among them."""
        dependent: dict[int, list[_Struct]] = {}
        ready, waiting = [], []
        for structs in self._structs.values():
            before: _Struct | None = None
            for struct in structs:
                item = struct.item
                needs = [self._index.find(identifier) for identifier in _needs(item)]
                if item.clock:
                    follows = before is not None and before.item.end == item.clock
                    needs.append(before if follows else None)
                for needed in needs:
                    if needed is None:
                        struct.waits_for_unknown = True
                    elif needed is not struct:
                        struct.missing += 1
                        dependent.setdefault(id(needed), []).append(struct)
                if struct.waits_for_unknown:
                    waiting.append(struct)
                elif not struct.missing:
                    ready.append(struct)
                before = struct
        ordered = []
        while ready:
            struct = ready.pop()
            ordered.append(struct)
            for other in dependent.get(id(struct), ()):
                other.missing -= 1
                if not other.missing and not other.waits_for_unknown:
                    ready.append(other)
        while waiting:
            for other in dependent.get(id(waiting.pop()), ()):
                if not other.waits_for_unknown:
                    other.waits_for_unknown = True
                    waiting.append(other)
        return ordered

    def _place(self, struct: _Struct) -> None:
        """Find out what a struct is in; what it builds on has been placed."""
        item = struct.item
        struct.depth = 0
        if item.kind is Kind.GC:
            return
        if item.origin is None and item.right_origin is None:
            struct.root = struct
            parent = self._index.find(item.parent)
            struct.depth = (parent.depth or 0) + 1 if parent is not None else 0
            return
        beside = self._index.find(item.origin if item.origin is not None else item.right_origin)
        if beside is not None and beside.root is not None:
            struct.root, struct.depth = beside.root, beside.depth

    def _wrong_by_place(self, struct: _Struct) -> Iterator[Poison]:
        item, root = struct.item, struct.root
        if (struct.depth or 0) > MAX_DEPTH:
            yield self._poison(struct, f"types nested more than {MAX_DEPTH} deep")
        if root is None or not root.item.info & KEY:
            return
        if item.end - item.clock > 1 and item.kind is not Kind.DELETED and not self._is_deleted(struct):
            yield self._poison(struct, "several values for one key")

    def _is_deleted(self, struct: _Struct) -> bool:
        """Whether all of it is deleted."""
        whole = DeleteSet()
        whole.add(struct.client, struct.item.clock, struct.item.end)
        return self._deletions.covers(whole)


def _needs(item: Item) -> Iterator[Id]:
    """The ids of what has to have a place before an item."""
    for identifier in (item.origin, item.right_origin, item.parent):
        if identifier is not None:
            yield identifier


def _wrong_content(item: Item) -> Iterator[str]:
    """What is wrong with an item's content by itself."""
    try:
        run_to_completion(refuse_content(item.content, 0, len(item.content), item.kind))
    except Malformed as error:
        yield str(error)
