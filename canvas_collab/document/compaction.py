"""Compaction: making a document smaller without changing what Yjs makes of it.

It does two things that Yjs does, too, when it encodes an integrated document.  Deleted content is replaced by its
length.  And items that were inserted one right after the other, such as the characters of a typed text, are joined.

Neither needs integration, in which implementations of Yjs differ: the delete set says which content is deleted, and
two items may be joined if Yjs would split the joined item into exactly these two.  The result must cover the same
clocks and deletions; this is checked, and if it does not, the document is left unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import define

from canvas_collab.document.budget import Budget
from canvas_collab.document.slicing import make_runs, split_items
from canvas_collab.document.struct_index import StructIndex
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.items import Id, Item, join_items, to_deleted, to_gc
from canvas_collab.protocol.ranges import Range
from canvas_collab.protocol.struct_info import Kind
from canvas_collab.protocol.structs import RUN_SIZE, Run
from canvas_collab.protocol.update import Update


def compact(update: Update, droppable: DeleteSet) -> Update:
    """Return the update, compacted.

    :param droppable: the deletions whose content may be dropped; those that `update` does not have are ignored.
    :raises BudgetExceeded: if it takes too many operations.
    """
    dropping = droppable.intersection(update.deletions)
    pieces = {client: list(_pieces(client, runs, dropping, update.deletions)) for client, runs in update.runs.items()}
    # Each piece is looked up once, and passed once on the way from another.
    budget = Budget(2 * sum(map(len, pieces.values())), "compaction")
    parents = _ParentLookup(pieces, budget)
    runs = {client: list(make_runs(_compacted_items(client, found, parents))) for client, found in pieces.items()}
    compacted = Update(runs, update.deletions)
    return compacted if _clock_ranges(compacted.runs) == _clock_ranges(update.runs) else update


def _clock_ranges(runs: Mapping[int, Sequence[Run]]) -> dict[int, list[Range]]:
    """Return the clocks that each client's runs cover, adjacent runs as one range."""
    ranges: dict[int, list[Range]] = {}
    for client, found in runs.items():
        known = ranges[client] = []
        for run in found:
            if known and known[-1][1] == run.clock:
                known[-1] = (known[-1][0], run.end)
            else:
                known.append((run.clock, run.end))
    return ranges


@define(eq=False)
class _Piece:
    """An item, or a part of one, that is either wholly deleted or not at all."""

    item: Item
    is_deleted: bool
    is_dropped: bool
    #: Whether its parent's content was dropped; None while not known.
    has_dropped_parent: bool | None = None


def _pieces(client: int, runs: Sequence[Run], dropping: DeleteSet, deletions: DeleteSet) -> Iterator[_Piece]:
    """Iterate over one client's items, split where deletions begin and end."""
    for item in split_items(client, runs, dropping.ranges(client), deletions.ranges(client)):
        yield _Piece(item, deletions.contains(client, item.clock), dropping.contains(client, item.clock))


class _ParentLookup:
    """Finds the items whose parent was dropped, which Yjs replaces with GCs."""

    def __init__(self, pieces: Mapping[int, Sequence[_Piece]], budget: Budget) -> None:
        self._pieces = StructIndex(pieces)
        self._budget = budget

    def has_dropped_parent(self, piece: _Piece) -> bool:
        """Return whether the type that an item is in was dropped, so that its position does not matter any more."""
        passed: list[_Piece] = []
        answer = piece.has_dropped_parent
        while answer is None:
            self._budget.spend()
            passed.append(piece)
            # Items whose origins form a cycle have no parent: no client can ever integrate them.
            piece.has_dropped_parent = False
            item = piece.item
            if item.parent is not None:
                answer = self._is_dropped(item.parent)
            elif item.origin is None and item.right_origin is None:
                answer = item.kind is Kind.GC
            else:
                neighbour = self._pieces.find(item.origin) or self._pieces.find(item.right_origin)
                if neighbour is None:
                    answer = False
                else:
                    piece = neighbour
                    answer = piece.has_dropped_parent
        for other in passed:
            other.has_dropped_parent = answer
        return answer

    def _is_dropped(self, parent: Id) -> bool:
        piece = self._pieces.find(parent)
        return piece is not None and (piece.is_dropped or piece.item.kind in (Kind.GC, Kind.DELETED))


def _compacted_items(client: int, pieces: Sequence[_Piece], parents: _ParentLookup) -> Iterator[Item]:
    """Iterate over one client's items, those dropped without their content, and joined where possible."""
    last: _Piece | None = None
    for piece in pieces:
        if piece.is_dropped and piece.item.kind is not Kind.GC:
            item = to_gc(piece.item) if parents.has_dropped_parent(piece) else to_deleted(piece.item)
            piece = _Piece(item, is_deleted=True, is_dropped=True)
        if last is not None and last.item.end == piece.item.clock and last.is_deleted == piece.is_deleted:
            joined = join_items(last.item, piece.item, client, RUN_SIZE)
            if joined is not None:
                last = _Piece(joined, last.is_deleted, last.is_dropped)
                continue
        if last is not None:
            yield last.item
        last = piece
    if last is not None:
        yield last.item
