"""Going back: what a document was at some time, and the edits that make it that again.

Nothing is taken out of the document's history for that.  What has been added since is deleted, and what has been
deleted since is inserted again, where it was, by a client that did not exist before; so whoever has the document open
follows, and going forward again is another going back.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence

from canvas_collab.document.document import Document
from canvas_collab.document.integration import Integration, Node, SharedType
from canvas_collab.protocol.contents import ContentCutter, cutter_of
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.items import Id, encode_id
from canvas_collab.protocol.lib0 import encode_var_string, encode_var_uint
from canvas_collab.protocol.struct_info import KEY, ORIGIN, RIGHT_ORIGIN, Kind
from canvas_collab.protocol.structs import Run, cut_run
from canvas_collab.protocol.update import Update, clocks_of, encode_update


def document_before(everything: Document, later: Iterable[Update], earlier: Iterable[Update] = ()) -> Document:
    """A document less what some updates brought, which are all that have come since some time.

    :param later: those. What they hold is taken for what was new when they came.
    :param earlier: what is known to have come before them; what is in that was not new.
    """
    clocks, deletions = _held_by(later)
    known, known_deletions = _held_by(earlier)
    clocks, deletions = clocks.difference(known), deletions.difference(known_deletions)
    whole = everything.as_update()
    kept: dict[int, Sequence[Run]] = {}
    for client, found in whole.runs.items():
        rest = [part for run in found for part in _without(run, client, clocks)]
        if rest:
            kept[client] = rest
    return Document([Update(kept, whole.deletions.difference(deletions))])


def _held_by(updates: Iterable[Update]) -> tuple[DeleteSet, DeleteSet]:
    """The clocks that some updates have structs of, and what they delete."""
    clocks, deletions = DeleteSet(), DeleteSet()
    for update in updates:
        clocks.update(clocks_of(update))
        deletions.update(update.deletions)
    return clocks, deletions


def _without(run: Run, client: int, clocks: DeleteSet) -> Iterator[Run]:
    """The parts of a run that are not among the clocks."""
    covered = DeleteSet()
    covered.add(client, run.clock, run.end)
    for start, end in covered.difference(clocks).ranges(client):
        yield cut_run(run, start, end, client)


def restoring_update(now: Document, then: Document, client: int, beside_unknown: bool = False) -> bytes:
    """The update that makes a document show what it showed `then`.

    :param now: the document as it is, which holds everything that it held then.
    :param client: the id of the client that makes the edits, one that has made none in this document.
    :raises BudgetExceeded: if it takes too many steps to work out what the document shows.
    :param beside_unknown: whether there may be values of entries that some clients have and `now` has not; then what is
        set again counts beside these as well, if `client` is higher than all others.
    """
    return _Restoration(now.as_update(), Integration(then.as_update()), client, beside_unknown).update()


def unused_client_id(document: Document) -> int:
    """The id of a client that has edited nothing in a document; like Yjs's, 32 random bits."""
    known = document.as_update().runs
    while (client := secrets.randbits(32)) in known:
        continue
    return client


class _Restoration:
    """Compares what is shown with what was, type by type, and collects the edits."""

    def __init__(self, now: Update, then: Integration, client: int, beside_unknown: bool) -> None:
        self._then = then
        self._client = client
        self._beside_unknown = beside_unknown
        self._clock = 0
        self._structs: list[bytes] = []
        self._deletions = DeleteSet()
        # Which clocks were shown, as ranges.
        self._shown = DeleteSet()
        for node in then.nodes():
            if not node.is_deleted:
                self._shown.add(node.client, node.clock, node.end)
        self._now = Integration(now, self._shown)
        # Types that are still to be compared; and those that are still to be filled with what was in another.
        self._to_compare = list(self._now.roots.values())
        self._to_fill: list[tuple[Id, SharedType]] = []
        # The content that parts were taken of last.
        self._cut: tuple[Node, ContentCutter] | None = None

    def update(self) -> bytes:
        """All edits as one update."""
        while self._to_compare:
            self._compare(self._to_compare.pop())
        while self._to_fill:
            self._fill(*self._to_fill.pop())
        runs = {}
        if self._structs:
            runs[self._client] = [Run(0, self._clock, len(self._structs), b"".join(self._structs))]
        return encode_update(runs, self._deletions)

    def _was_shown(self, node: Node) -> bool:
        return self._shown.has(node.client, node.clock)

    def _compare(self, shared_type: SharedType) -> None:
        """Bring the content of a type back that is shown now and was shown then."""
        lost: list[Node] = []
        for node in list(shared_type.sequence()):
            if not self._was_shown(node):
                self._keep_or_delete(node)
            elif node.is_deleted or self._is_torn(node):
                if not node.is_deleted:
                    self._deletions.add(node.client, node.clock, node.end)
                if lost and not self._belong_together(lost[-1], node):
                    self._bring_back(lost)
                    lost = []
                lost.append(node)
            else:
                self._bring_back(lost)
                lost = []
                self._keep_or_delete(node)
        self._bring_back(lost)
        for key, last in shared_type.entries.items():
            chain = list(_chain(last))
            value = next((node for node in chain if self._was_shown(node)), None)
            if value is not None and value.is_deleted:
                if self._beside_unknown:
                    self._insert(value, value.end, None, None, _parent_of(shared_type), key)
                else:
                    self._insert(value, value.end, last.last, None)
            for node in chain:
                self._keep_or_delete(node)

    def _keep_or_delete(self, node: Node) -> None:
        if node.is_deleted:
            return
        if not self._was_shown(node):
            self._deletions.add(node.client, node.clock, node.end)
        elif node.shared_type is not None:
            self._to_compare.append(node.shared_type)

    def _bring_back(self, lost: Sequence[Node]) -> None:
        """Insert what was one piece then where its last part is now."""
        if lost:
            last = lost[-1]
            right = (last.right.client, last.right.clock) if last.right else None
            self._insert(lost[0], last.end, last.last, right)

    def _belong_together(self, first: Node, second: Node) -> bool:
        """Whether two nodes are parts of one piece that was shown."""
        if first.client != second.client or first.end != second.clock:
            return False
        return self._then.find(first.last) is self._then.find((second.client, second.clock))

    def _is_torn(self, node: Node) -> bool:
        """Whether an end of a string is now in the middle of what was one character then."""
        if node.kind is not Kind.STRING:
            return False
        then = self._then.find((node.client, node.clock))
        if then is None or (then.clock, then.end) == (node.clock, node.end):
            return False
        units = self._content(then).units
        places = (node.clock - then.clock, node.end - then.clock)
        return any(0xDC <= units[2 * place + 1] <= 0xDF for place in places if 0 < place < then.end - then.clock)

    def _insert(
        self,
        node: Node,
        end: int,
        origin: Id | None,
        right_origin: Id | None,
        parent: Id | str | None = None,
        key: str | None = None,
    ) -> Id:
        """Insert a copy of what was shown from a node up to a clock; a type is filled later.

        Returns the copy's last id.
        """
        identifier = (self._client, self._clock)
        then = self._then.find((node.client, node.clock))
        assert then is not None, "it was shown"
        info = int(then.kind)
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
        content = then.content
        if (node.clock, end) != (then.clock, then.end):
            content = self._content(then).cut(node.clock - then.clock, end - then.clock)
        self._structs.append(bytes((info,)) + head + content)
        self._clock += end - node.clock
        last = (self._client, self._clock - 1)
        if then.shared_type is not None:
            self._to_fill.append((identifier, then.shared_type))
        return last

    def _content(self, node: Node) -> ContentCutter:
        """A node's content, to take parts of; which are often asked for one after the other."""
        if self._cut is None or self._cut[0] is not node:
            self._cut = node, cutter_of(node.content, node.kind)
        return self._cut[1]

    def _fill(self, parent: Id, shared_type: SharedType) -> None:
        """Insert into a copied type what was shown in the one it is a copy of, as it was then."""
        left: Id | None = None
        for node in shared_type.sequence():
            if not node.is_deleted:
                left = self._insert(node, node.end, left, None, parent)
        for key, last in shared_type.entries.items():
            if not last.is_deleted:
                self._insert(last, last.end, None, None, parent, key)


def _chain(last: Node) -> Iterator[Node]:
    """All values that a map's entry has had, the newest first."""
    node: Node | None = last
    while node is not None:
        yield node
        node = node.left


def _parent_of(shared_type: SharedType) -> Id | str:
    """What an item in a shared type says of its parent."""
    if shared_type.item is not None:
        return (shared_type.item.client, shared_type.item.clock)
    return shared_type.name or ""
