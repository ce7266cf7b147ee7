"""A document without some of what was edited: what restoring cannot help against, since that leaves it where it is.

The structs that are left out cannot simply be missing: everything that their authors did later would wait for them for
ever, and a client that still has them would bring them back.  So stretches of which nothing is known take their clocks;
of a struct that is known already the first version stays.  Where something that stays was put beside one that goes, of
that one the place stays, without its content, as it does when it is deleted.

What was deleted is inserted again, by a client that did not exist before: clients that come back would bring deletions
that were merely forgotten, but cannot undo this.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping

from attrs import define, frozen

from canvas_collab.document.document import Document
from canvas_collab.document.restoring import restoring_update, unused_client_id
from canvas_collab.document.slicing import cut_items, runs_of
from canvas_collab.document.struct_index import StructIndex
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.items import Item, collected, deleted
from canvas_collab.protocol.lib0 import MAX_SAFE_INTEGER
from canvas_collab.protocol.struct_info import KEY, Kind
from canvas_collab.protocol.structs import Run
from canvas_collab.protocol.update import Update, clocks_of, decode_update


@frozen
class Removal:
    """What is to be left out of a document: structs, by their clocks, and deletions of what stays."""

    clocks: DeleteSet
    deletions: DeleteSet


def removal_of(entries: Iterable[tuple[Update, bool]]) -> Removal:
    """What some entries of a log brought, of all of them in their order: each with whether it is to be left out."""
    clocks, known = DeleteSet(), DeleteSet()
    deletions, kept_deletions = DeleteSet(), DeleteSet()
    for update, goes in entries:
        brought = clocks_of(update)
        if goes:
            # What somebody else had brought before was not theirs.
            clocks.update(brought.difference(known))
            deletions.update(update.deletions)
        else:
            known.update(brought)
            kept_deletions.update(update.deletions)
    return Removal(clocks, deletions.difference(kept_deletions).difference(clocks))


@frozen
class RebuildResult:
    """A document without something.

    `change` is what has to be in the log for it: what was inserted again, and everything that is deleted now or is not
    any more.  `unreachable` are the clocks of what stays and cannot be shown, since what it was in is gone;
    `placeholders` says how many structs have left their place.  `unrecoverable` are those of the deletions whose
    content nobody has any more.
    """

    document: Document
    change: Update
    unreachable: DeleteSet
    placeholders: int
    unrecoverable: DeleteSet


def rebuild_without(whole: Document, without: Removal, keep_placeholders: bool = True) -> RebuildResult:
    """A document without some of its structs and deletions.

    :param keep_placeholders: whether of structs beside which something else was put the place stays.
    :raises BudgetExceeded: if it takes too long to find out what the document shows.
    """
    clocks = without.clocks.intersection(clocks_of(whole.as_update()))
    parts = _Parts(whole.as_update().runs, clocks, keep_placeholders)
    displaced = parts.displaced().difference(whole.deletions)
    undone = without.deletions.intersection(whole.deletions)
    undone.update(displaced)
    deletions = DeleteSet()
    for part in (whole.deletions, clocks, displaced):
        deletions.update(part)
    runs = {author: list(runs_of(parts.items(author))) for author in whole.as_update().runs}
    document = Document([Update(runs, deletions)])
    change = Update({}, DeleteSet())
    if undone:
        then = Document([Update(runs, deletions.difference(undone))])
        change = decode_update(restoring_update(document, then, _last_client(whole), beside_unknown=True))
        document.apply(change)
    changed = DeleteSet()
    for part in (change.deletions, clocks, undone):
        changed.update(part)
    lost = parts.lost().difference(whole.deletions)
    return RebuildResult(document, Update(change.runs, changed), lost, parts.places, parts.without_content(undone))


def _last_client(whole: Document) -> int:
    """The id of a client that has edited nothing, above all others if there is room.

    Of two values that were set at once for one key, that of the higher client counts: a value that is inserted again
    has to count for clients that still have what had replaced it.
    """
    client = max(whole.as_update().runs, default=0) + secrets.randbits(16) + 1
    return client if client <= MAX_SAFE_INTEGER else unused_client_id(whole)


@define(eq=False)
class _Part:
    """A struct, or the part of one that stays or goes as a whole."""

    client: int
    item: Item
    goes: bool
    #: Whether its place has to stay although it goes.
    leaves_place: bool = False
    #: Whether it is in something that is gone, so that it has no place itself.
    has_no_place: bool = False


class _Parts:
    """All structs of a document, and which of them need which others."""

    def __init__(self, runs: Mapping[int, Iterable[Run]], clocks: DeleteSet, keep_placeholders: bool) -> None:
        self._parts: dict[int, list[_Part]] = {}
        for client, found in runs.items():
            ranges = clocks.ranges(client)
            self._parts[client] = [
                _Part(client, item, clocks.has(client, item.clock)) for item in cut_items(client, found, ranges)
            ]
        self._index = StructIndex(self._parts)
        if keep_placeholders:
            self._keep_places()
        self._find_lost()
        #: How many structs leave their place.
        self.places = sum(part.goes and part.leaves_place and not part.has_no_place for part in self._index)

    def items(self, client: int) -> Iterator[Item]:
        """A client's structs as they are to be."""
        stretch: Item | None = None
        for part in self._parts[client]:
            if not part.goes:
                item = part.item
            elif part.leaves_place and not part.has_no_place and part.item.kind is not Kind.GC:
                item = deleted(part.item)
            else:
                item = collected(part.item)
                if stretch is not None and stretch.end == item.clock:
                    stretch = _longer(stretch, item.end)
                    continue
                if stretch is not None:
                    yield stretch
                stretch = item
                continue
            if stretch is not None:
                yield stretch
                stretch = None
            yield item
        if stretch is not None:
            yield stretch

    def lost(self) -> DeleteSet:
        """The clocks of what stays and has no place."""
        return self._clocks_where(lambda part: not part.goes and part.has_no_place and part.item.kind is not Kind.GC)

    def displaced(self) -> DeleteSet:
        """The clocks of values that stay and, where what goes is known, may not count beside it, for the same key."""
        entries = _Entries(self._index)
        return self._clocks_where(lambda part: not part.goes and entries.may_be_displaced(part))

    def without_content(self, deletions: DeleteSet) -> DeleteSet:
        """Those of some deletions of which there is no content to be brought back."""
        empty = self._clocks_where(lambda part: not part.goes and part.item.kind in (Kind.GC, Kind.DELETED))
        return deletions.intersection(empty)

    def _clocks_where(self, holds: Callable[[_Part], bool]) -> DeleteSet:
        clocks = DeleteSet()
        for part in self._index:
            if holds(part):
                clocks.add(part.client, part.item.clock, part.item.end)
        return clocks

    def _beside(self, part: _Part) -> Iterator[_Part]:
        """What a struct was put beside."""
        for identifier in (part.item.origin, part.item.right_origin):
            found = self._index.find(identifier)
            if found is not None:
                yield found

    def _keep_places(self) -> None:
        """Mark what something that stays was put beside, and what that was put beside."""
        waiting = [part for part in self._index if not part.goes]
        while waiting:
            for neighbour in self._beside(waiting.pop()):
                if neighbour.goes and not neighbour.leaves_place:
                    neighbour.leaves_place = True
                    waiting.append(neighbour)

    def _find_lost(self) -> None:
        """Mark what is in something that is gone, and what was put beside that."""
        dependent: dict[int, list[_Part]] = {}
        waiting = []
        for part in self._index:
            parent = self._index.find(part.item.parent)
            if part.item.kind is Kind.GC or (part.goes and not part.leaves_place) or (parent and parent.goes):
                part.has_no_place = True
                waiting.append(part)
            for other in (*self._beside(part), *([parent] if parent else [])):
                dependent.setdefault(id(other), []).append(part)
        while waiting:
            for part in dependent.get(id(waiting.pop()), ()):
                if not part.has_no_place:
                    part.has_no_place = True
                    waiting.append(part)


class _Entries:
    """The values that the entries of maps have had."""

    def __init__(self, parts: StructIndex[_Part]) -> None:
        self._parts = parts
        # For each part: which entry it is of, if any, and how many that go are known to have been there before it.
        self._known: dict[int, tuple[bytes | None, int]] = {}
        self._going: dict[bytes, int] = {}
        for part in parts:
            entry, _ = self._place(part)
            if entry is not None and part.goes:
                self._going[entry] = self._going.get(entry, 0) + 1

    def may_be_displaced(self, part: _Part) -> bool:
        """Whether a value that goes was set at the same time as this one, or after it."""
        entry, before = self._known[id(part)]
        return entry is not None and before < self._going.get(entry, 0)

    def _place(self, part: _Part) -> tuple[bytes | None, int]:
        way: list[_Part] = []
        place = self._known.get(id(part))
        while place is None:
            way.append(part)
            # Origins that go round in a circle are of no entry.
            self._known[id(part)] = (None, 0)
            item = part.item
            if item.origin is None and item.right_origin is None:
                way.pop()
                has_key = item.kind is not Kind.GC and item.info & KEY
                place = self._known[id(part)] = (item.head, int(part.goes)) if has_key else (None, 0)
                break
            before = self._parts.find(item.origin) or self._parts.find(item.right_origin)
            if before is None:
                break
            part, place = before, self._known.get(id(before))
        entry, count = place or (None, 0)
        for passed in reversed(way):
            count += passed.goes
            self._known[id(passed)] = (entry, count)
        return self._known[id(way[0] if way else part)]


def _longer(stretch: Item, end: int) -> Item:
    return collected(Item(stretch.clock, end, stretch.info, b"", b"", None, None, None))
