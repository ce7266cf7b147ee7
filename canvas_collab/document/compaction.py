"""Compaction: the same document in fewer bytes.

Two things are done, which Yjs does too when it encodes a document that it has integrated.  Content that was deleted
goes, and only its length stays.  And what was typed as one character after the other, and came as an item each, becomes
one item again.

No engine is needed for either, and so nothing is worked out that engines differ in.  Which content is deleted, the
delete set says.  Two items are halves of one exactly if splitting that one would give them.  What comes out covers the
same clocks and the same deletions; that is checked, and where it were not so the document would be left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import define

from canvas_collab.document.budget import Budget
from canvas_collab.document.slicing import cut_items, runs_of
from canvas_collab.document.struct_index import StructIndex
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.items import Id, Item, collected, deleted, joined
from canvas_collab.protocol.ranges import Range
from canvas_collab.protocol.struct_info import Kind
from canvas_collab.protocol.structs import RUN_SIZE, Run
from canvas_collab.protocol.update import Update


def compact(update: Update, droppable: DeleteSet) -> Update:
    """The same update in fewer bytes.

    :param droppable: the deletions of which the content may go; those that `update` does not have count for nothing.
    """
    dropping = droppable.intersection(update.deletions)
    pieces = {client: list(_pieces(client, runs, dropping, update.deletions)) for client, runs in update.runs.items()}
    # Each piece is asked once, and passed by once on the way of another.
    budget = Budget(2 * sum(map(len, pieces.values())), "compaction")
    ancestry = _Ancestry(pieces, budget)
    runs = {client: list(runs_of(_joined(client, found, ancestry))) for client, found in pieces.items()}
    compacted = Update(runs, update.deletions)
    return compacted if _stretches(compacted.runs) == _stretches(update.runs) else update


def _stretches(runs: Mapping[int, Sequence[Run]]) -> dict[int, list[Range]]:
    """Which clocks of which client are there, neighbouring runs taken as one."""
    stretches: dict[int, list[Range]] = {}
    for client, found in runs.items():
        known = stretches[client] = []
        for run in found:
            if known and known[-1][1] == run.clock:
                known[-1] = (known[-1][0], run.end)
            else:
                known.append((run.clock, run.end))
    return stretches


@define(eq=False)
class _Piece:
    """An item, or the part of one that is deleted or not as a whole."""

    item: Item
    is_deleted: bool
    is_dropped: bool
    #: Whether it lies in something of which nothing remains; None while that is not known.
    is_within_dropped: bool | None = None


def _pieces(client: int, runs: Sequence[Run], dropping: DeleteSet, deletions: DeleteSet) -> Iterator[_Piece]:
    """One client's structs, cut where deletions begin and end."""
    for item in cut_items(client, runs, dropping.ranges(client), deletions.ranges(client)):
        yield _Piece(item, deletions.has(client, item.clock), dropping.has(client, item.clock))


class _Ancestry:
    """Which items lie within something that was deleted as a whole, the type that they are in."""

    def __init__(self, pieces: Mapping[int, Sequence[_Piece]], budget: Budget) -> None:
        self._pieces = StructIndex(pieces)
        self._budget = budget

    def is_within_dropped(self, piece: _Piece) -> bool:
        """Whether the type that an item is in has no content any more, so that nobody can tell what was where in it."""
        way: list[_Piece] = []
        answer = piece.is_within_dropped
        while answer is None:
            self._budget.spend()
            way.append(piece)
            # Items whose origins go round in a circle are in no type: no client ever gives them a place.
            piece.is_within_dropped = False
            item = piece.item
            if item.parent is not None:
                answer = self._is_gone(item.parent)
            elif item.origin is None and item.right_origin is None:
                answer = item.kind is Kind.GC
            else:
                neighbour = self._pieces.find(item.origin) or self._pieces.find(item.right_origin)
                if neighbour is None:
                    answer = False
                else:
                    piece = neighbour
                    answer = piece.is_within_dropped
        for passed in way:
            passed.is_within_dropped = answer
        return answer

    def _is_gone(self, parent: Id) -> bool:
        piece = self._pieces.find(parent)
        return piece is not None and (piece.is_dropped or piece.item.kind in (Kind.GC, Kind.DELETED))


def _joined(client: int, pieces: Sequence[_Piece], ancestry: _Ancestry) -> Iterator[Item]:
    last: _Piece | None = None
    for piece in pieces:
        if piece.is_dropped and piece.item.kind is not Kind.GC:
            item = collected(piece.item) if ancestry.is_within_dropped(piece) else deleted(piece.item)
            piece = _Piece(item, is_deleted=True, is_dropped=True)
        if last is not None and last.item.end == piece.item.clock and last.is_deleted == piece.is_deleted:
            together = joined(last.item, piece.item, client, RUN_SIZE)
            if together is not None:
                last = _Piece(together, last.is_deleted, last.is_dropped)
                continue
        if last is not None:
            yield last.item
        last = piece
    if last is not None:
        yield last.item
