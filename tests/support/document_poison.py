"""Poison that shows only in the whole document, not in a single update; the server accepts it.

A history without any of it that breaks Yjs nevertheless is a bug: the server should have refused one of its updates.
"""

from __future__ import annotations

import re
from bisect import bisect_right, insort
from collections.abc import Iterable
from typing import TypeAlias

from canvas_collab.document.document import Document
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.struct_info import DELETED, EMBED, FORMAT, GC, JSON, SKIP
from canvas_collab.protocol.update import decode_update
from tests.support.crafted_updates import CraftedStruct, CraftedUpdate, Id, parse_update
from tests.support.yjs_oracle import Failure, History

#: The shared type of an item, and its key there.
Place: TypeAlias = tuple[str | Id, str | None]

LIST_AT_INHERITED_KEY = "several values at a key that is inherited"
BETWEEN_TYPES = "an item between two types"
NO_NEIGHBOURS = "an item between two that never were neighbours"
WAITING_SURROGATE = "half a character in JSON that waits"

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class Structs:
    """The structs of a history, by their ids."""

    def __init__(self, updates: Iterable[bytes] = ()) -> None:
        self._found: dict[int, dict[int, CraftedStruct]] = {}
        self._clocks: dict[int, list[int]] = {}
        #: The structs (by `id()`) that were deleted by the update that brought them.
        self.deleted: set[int] = set()
        for data in updates:
            self.add(parse_update(data))

    def add(self, update: CraftedUpdate) -> None:
        """Add the structs of an update; of a struct that is there already, the first version is kept."""
        deletions = DeleteSet()
        for client, start, length in update.deletions:
            deletions.add(client, start, start + length)
        for part in update.parts:
            known = self._found.setdefault(part.client, {})
            clocks = self._clocks.setdefault(part.client, [])
            for (_client, clock), struct in part.ids():
                if struct.kind != SKIP and clock not in known:
                    known[clock] = struct
                    clocks_of_it = DeleteSet()
                    clocks_of_it.add(part.client, clock, clock + struct.length)
                    if deletions.covers(clocks_of_it):
                        self.deleted.add(id(struct))
                    insort(clocks, clock)

    def with_update(self, update: CraftedUpdate) -> Structs:
        """Return a copy with an update added."""
        copy = Structs()
        copy._found = {client: dict(known) for client, known in self._found.items()}
        copy._clocks = {client: list(clocks) for client, clocks in self._clocks.items()}
        copy.deleted = set(self.deleted)
        copy.add(update)
        return copy

    def document_poison(self, update: CraftedUpdate | None = None) -> set[str]:
        """Return the kinds of poison in these structs, or only in those of an update that was added."""
        found: set[str] = set()
        if update is None:
            everything = [struct for known in self._found.values() for struct in known.values()]
        else:
            everything = [struct for part in update.parts for struct in part.structs]
        for struct in everything:
            found |= _kinds(self, struct)
        return found

    def at(self, identifier: Id) -> tuple[Id, CraftedStruct] | None:
        """Return the struct with an id, and its first id."""
        client, clock = identifier
        clocks = self._clocks.get(client, [])
        index = bisect_right(clocks, clock) - 1
        if index < 0:
            return None
        struct = self._found[client][clocks[index]]
        return ((client, clocks[index]), struct) if clock < clocks[index] + struct.length else None

    def follows(self, identifier: Id, other: Id) -> bool:
        """Return whether an item is another one, or its chain of origins leads to it."""
        passed: set[Id] = set()
        origin: Id | None = identifier
        while origin is not None and origin not in passed:
            passed.add(origin)
            if origin[0] == other[0] and origin[1] >= other[1]:
                found = self.at(origin)
                if found is not None and found[0][1] <= other[1]:
                    return True
            found = self.at(origin)
            if found is None:
                return False
            origin = found[1].origin
        return False

    def place(self, struct: CraftedStruct) -> Place | None:
        """Return the place of a struct: its own parent, or its neighbour's place; None if that is unknown."""
        passed: set[int] = set()
        while id(struct) not in passed:
            passed.add(id(struct))
            if struct.kind == GC:
                return None
            neighbour = struct.origin or struct.right
            if neighbour is None:
                return struct.parent, struct.key
            found = self.at(neighbour)
            if found is None:
                return None
            _, struct = found
        return None


def document_poison(history: History) -> set[str]:
    """Return the kinds of such poison in a history."""
    return Structs([Document(map(decode_update, history.before)).encode(), *history.relayed()]).document_poison()


#: The failures that each kind causes: parts of the texts of :attr:`Failure.group`.
EFFECTS = {
    LIST_AT_INHERITED_KEY: ("Item.gc", "live and told: differ"),
    NO_NEIGHBOURS: ("differ | in",),
    BETWEEN_TYPES: ("live and told: differ",),
    WAITING_SURROGATE: ("differ | in a torn character", "differ | in what they show"),
}


def is_explained(history: History, failures: Iterable[Failure]) -> bool:
    """Return whether the poison in a history explains all failures."""
    effects = [effect for kind in document_poison(history) for effect in EFFECTS[kind]]
    return all(any(effect in failure.group for effect in effects) for failure in failures)


def _kinds(structs: Structs, struct: CraftedStruct) -> set[str]:
    """Return the kinds of poison in one struct."""
    found = set()
    if struct.kind in (EMBED, FORMAT, JSON) and _SURROGATE.search(struct.content):
        found.add(WAITING_SURROGATE)
    if struct.origin is None and struct.right is None:
        return found
    if struct.length > 1 and struct.kind not in (GC, DELETED) and id(struct) not in structs.deleted:
        place = structs.place(struct)
        if place is not None and place[1] is not None:
            found.add(LIST_AT_INHERITED_KEY)
    if struct.right is not None and not _may_be_neighbours(structs, struct.origin, struct.right):
        found.add(NO_NEIGHBOURS)
    if struct.origin is not None and struct.right is not None:
        sides = [structs.at(identifier) for identifier in (struct.origin, struct.right)]
        places = [structs.place(side[1]) for side in sides if side is not None]
        if len(places) == 2 and places[0] != places[1]:
            found.add(BETWEEN_TYPES)
    return found


def _may_be_neighbours(structs: Structs, origin: Id | None, right: Id) -> bool:
    """Return whether `right` can ever have been next to `origin`, or the first item if that is None."""
    found = structs.at(right)
    if found is None:
        return True
    (client, clock), struct = found
    # The origin of the right item, which is the clock before it if it is not the first of its struct.
    before = struct.origin if right[1] == clock else (client, right[1] - 1)
    if origin is None:
        return before is None
    return (before is None or structs.follows(origin, before)) and not structs.follows(origin, right)
