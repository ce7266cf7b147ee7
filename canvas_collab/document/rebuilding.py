"""Rebuilding: removing edits from a document and its history.

Restoring does not help against structs that clients fail on, since it leaves them in the document.  Removed structs
cannot simply be missing either: later structs of the same client would wait for them for ever, and clients that still
have them would send them again.  So GCs take their clocks; of structs that are known already, clients and servers keep
the version that they have.  If a struct that stays was inserted next to a removed one, that remains as a placeholder,
an item with deleted content, so that its neighbour keeps its position.

What removed edits had deleted is inserted again, by a new client: deletions that were merely forgotten would be sent
again by clients that reconnect, but these cannot delete what they do not know.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping

from attrs import define, frozen

from canvas_collab.document.document import Document
from canvas_collab.document.restoring import restoring_update, unused_client_id
from canvas_collab.document.slicing import make_runs, split_items
from canvas_collab.document.struct_index import StructIndex
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.items import Item, to_deleted, to_gc
from canvas_collab.protocol.lib0 import MAX_SAFE_INTEGER
from canvas_collab.protocol.struct_info import KEY, Kind
from canvas_collab.protocol.structs import Run
from canvas_collab.protocol.update import Update, clocks_of, decode_update


@frozen
class Removal:
    """What to remove from a document: structs, by their clocks, and deletions of structs that stay."""

    clocks: DeleteSet
    deletions: DeleteSet


def removal_of(entries: Iterable[tuple[Update, bool]]) -> Removal:
    """Return what to remove from a document so that some log entries never had an effect.

    :param entries: all entries of the log in their order, each with whether to remove it.
    """
    clocks, known = DeleteSet(), DeleteSet()
    deletions, kept_deletions = DeleteSet(), DeleteSet()
    for update, is_removed in entries:
        update_clocks = clocks_of(update)
        if is_removed:
            # Structs that an earlier entry had already are not the removed entry's.
            clocks.update(update_clocks.difference(known))
            deletions.update(update.deletions)
        else:
            known.update(update_clocks)
            kept_deletions.update(update.deletions)
    return Removal(clocks, deletions.difference(kept_deletions).difference(clocks))


@frozen
class RebuildResult:
    """A rebuilt document.

    `change` is the update for the log: what was inserted again, everything that was deleted by rebuilding, and the
    deletions that were undone.  `unreachable` is the clocks of structs that stay, but whose parent was removed;
    `placeholders` is the number of removed structs that remain without content.  `unrecoverable` is the undone
    deletions whose content does not exist any more.
    """

    document: Document
    change: Update
    unreachable: DeleteSet
    placeholders: int
    unrecoverable: DeleteSet


def rebuild_without(document: Document, removal: Removal, keep_placeholders: bool = True) -> RebuildResult:
    """Return a document without some of its structs and deletions.

    :param keep_placeholders: whether a removed struct remains without content if a struct that stays was inserted next
        to it; otherwise both are gone.
    :raises BudgetExceeded: if integrating the document takes too many operations.
    """
    clocks = removal.clocks.intersection(clocks_of(document.as_update()))
    parts = _Parts(document.as_update().runs, clocks, keep_placeholders)
    displaced = parts.displaced().difference(document.deletions)
    undone = removal.deletions.intersection(document.deletions)
    undone.update(displaced)
    deletions = DeleteSet()
    for added in (document.deletions, clocks, displaced):
        deletions.update(added)
    runs = {client: list(make_runs(parts.items(client))) for client in document.as_update().runs}
    result = Document([Update(runs, deletions)])
    change = Update({}, DeleteSet())
    if undone:
        target = Document([Update(runs, deletions.difference(undone))])
        client = _highest_client_id(document)
        change = decode_update(restoring_update(result, target, client, override_unknown=True))
        result.apply(change)
    changed = DeleteSet()
    for added in (change.deletions, clocks, undone):
        changed.update(added)
    unreachable = parts.unreachable().difference(document.deletions)
    unrecoverable = parts.without_content(undone)
    return RebuildResult(result, Update(change.runs, changed), unreachable, parts.placeholders, unrecoverable)


def _highest_client_id(document: Document) -> int:
    """Return an unused client id, higher than all others if possible.

    Of two values set concurrently for one key, Yjs keeps that of the higher client id.  A value that is inserted again
    must be kept by clients that still have the removed value that had replaced it.
    """
    client = max(document.as_update().runs, default=0) + secrets.randbits(16) + 1
    return client if client <= MAX_SAFE_INTEGER else unused_client_id(document)


@define(eq=False)
class _Part:
    """A struct, or a part of one, that either stays or is removed as a whole."""

    client: int
    item: Item
    is_removed: bool
    #: Whether it remains as a placeholder although it is removed.
    is_placeholder: bool = False
    #: Whether its parent was removed, so that it is not part of the content any more.
    is_unreachable: bool = False


class _Parts:
    """The structs of a document, with what becomes of each."""

    def __init__(self, runs: Mapping[int, Iterable[Run]], clocks: DeleteSet, keep_placeholders: bool) -> None:
        self._parts: dict[int, list[_Part]] = {}
        for client, found in runs.items():
            ranges = clocks.ranges(client)
            self._parts[client] = [
                _Part(client, item, clocks.contains(client, item.clock)) for item in split_items(client, found, ranges)
            ]
        self._index = StructIndex(self._parts)
        if keep_placeholders:
            self._mark_placeholders()
        self._mark_unreachable()
        #: The number of placeholders.
        self.placeholders = sum(
            part.is_removed and part.is_placeholder and not part.is_unreachable for part in self._index
        )

    def items(self, client: int) -> Iterator[Item]:
        """Iterate over the items of a client in the rebuilt document; adjacent GCs are joined."""
        gc: Item | None = None
        for part in self._parts[client]:
            if not part.is_removed:
                item = part.item
            elif part.is_placeholder and not part.is_unreachable and part.item.kind is not Kind.GC:
                item = to_deleted(part.item)
            else:
                item = to_gc(part.item)
                if gc is not None and gc.end == item.clock:
                    gc = _extended(gc, item.end)
                    continue
                if gc is not None:
                    yield gc
                gc = item
                continue
            if gc is not None:
                yield gc
                gc = None
            yield item
        if gc is not None:
            yield gc

    def unreachable(self) -> DeleteSet:
        """Return the clocks of structs that stay, but are unreachable."""
        return self._clocks_where(
            lambda part: not part.is_removed and part.is_unreachable and part.item.kind is not Kind.GC
        )

    def displaced(self) -> DeleteSet:
        """Return the clocks of map values that stay, but that clients with a removed value may have replaced by it."""
        entries = _Entries(self._index)
        return self._clocks_where(lambda part: not part.is_removed and entries.may_be_displaced(part))

    def without_content(self, deletions: DeleteSet) -> DeleteSet:
        """Return those of some deletions whose content does not exist any more."""
        empty = self._clocks_where(lambda part: not part.is_removed and part.item.kind in (Kind.GC, Kind.DELETED))
        return deletions.intersection(empty)

    def _clocks_where(self, holds: Callable[[_Part], bool]) -> DeleteSet:
        clocks = DeleteSet()
        for part in self._index:
            if holds(part):
                clocks.add(part.client, part.item.clock, part.item.end)
        return clocks

    def _neighbours(self, part: _Part) -> Iterator[_Part]:
        """Iterate over the structs that a struct was inserted next to."""
        for identifier in (part.item.origin, part.item.right_origin):
            found = self._index.find(identifier)
            if found is not None:
                yield found

    def _mark_placeholders(self) -> None:
        """Mark removed structs that one that stays, or another placeholder, was inserted next to."""
        waiting = [part for part in self._index if not part.is_removed]
        while waiting:
            for neighbour in self._neighbours(waiting.pop()):
                if neighbour.is_removed and not neighbour.is_placeholder:
                    neighbour.is_placeholder = True
                    waiting.append(neighbour)

    def _mark_unreachable(self) -> None:
        """Mark structs whose parent was removed, and those in or inserted next to an unreachable one."""
        dependent: dict[int, list[_Part]] = {}
        waiting = []
        for part in self._index:
            parent = self._index.find(part.item.parent)
            if (
                part.item.kind is Kind.GC
                or (part.is_removed and not part.is_placeholder)
                or (parent and parent.is_removed)
            ):
                part.is_unreachable = True
                waiting.append(part)
            for other in (*self._neighbours(part), *([parent] if parent else [])):
                dependent.setdefault(id(other), []).append(part)
        while waiting:
            for part in dependent.get(id(waiting.pop()), ()):
                if not part.is_unreachable:
                    part.is_unreachable = True
                    waiting.append(part)


class _Entries:
    """The values that the entries of maps have had, in their order."""

    def __init__(self, parts: StructIndex[_Part]) -> None:
        self._parts = parts
        # For each part: the entry that it is a value of, if any, and how many of the removed values were set before it.
        self._positions: dict[int, tuple[bytes | None, int]] = {}
        # For each entry: how many of its values are removed.
        self._removed: dict[bytes, int] = {}
        for part in parts:
            entry, _ = self._find_position(part)
            if entry is not None and part.is_removed:
                self._removed[entry] = self._removed.get(entry, 0) + 1

    def may_be_displaced(self, part: _Part) -> bool:
        """Return whether a removed value was set concurrently with this one, or after it."""
        entry, before = self._positions[id(part)]
        return entry is not None and before < self._removed.get(entry, 0)

    def _find_position(self, part: _Part) -> tuple[bytes | None, int]:
        path: list[_Part] = []
        position = self._positions.get(id(part))
        while position is None:
            path.append(part)
            # Origins that form a cycle belong to no entry.
            self._positions[id(part)] = (None, 0)
            item = part.item
            if item.origin is None and item.right_origin is None:
                path.pop()
                has_key = item.kind is not Kind.GC and item.info & KEY
                position = self._positions[id(part)] = (item.head, int(part.is_removed)) if has_key else (None, 0)
                break
            before = self._parts.find(item.origin) or self._parts.find(item.right_origin)
            if before is None:
                break
            part, position = before, self._positions.get(id(before))
        entry, count = position or (None, 0)
        for passed in reversed(path):
            count += passed.is_removed
            self._positions[id(passed)] = (entry, count)
        return self._positions[id(path[0] if path else part)]


def _extended(gc: Item, end: int) -> Item:
    return to_gc(Item(gc.clock, end, gc.info, b"", b"", None, None, None))
