"""Snapshots as bytes: checking one, reading it, and folding into it what has been logged since.

Nothing here waits for anything; what takes long for a large document is the caller's to run elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from attrs import evolve, field, frozen

from canvas_collab.document.compaction import compact
from canvas_collab.document.document import Document
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.layout import decode_with_layout
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.steps import Steps, run_to_completion
from canvas_collab.protocol.update import EMPTY_UPDATE, Update, decode_update

#: A snapshot is compacted when it has grown by this share since the last time, and by so many bytes.
GROWTH = 0.25
GROWTH_BYTES = 2**10


class DocumentDamaged(Exception):
    """What is stored of a document is not what was written; its bytes are left as they are."""


@frozen
class Snapshot:
    """A stored document: an update that holds all of it, and where in that the runs lie.

    `checksum` is the SHA-256 of both; where something else wrote the document there is neither that nor a layout, and
    it is believed.
    """

    data: bytes = field(default=EMPTY_UPDATE, repr=False)
    layout: bytes | None = field(default=None, repr=False)
    checksum: bytes | None = None

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return len(self.data)

    def read(self) -> Update:
        """What it holds.

        :raises DocumentDamaged: if it does not match its checksum, or is no update.
        """
        if self.checksum is not None and self.checksum != _checksum(self.data, self.layout or b""):
            raise DocumentDamaged("the snapshot does not match its checksum")
        try:
            if self.checksum is not None and self.layout is not None:
                return decode_with_layout(self.data, self.layout)
            return decode_update(self.data)
        except Malformed as error:
            raise DocumentDamaged(f"the snapshot cannot be read: {error}") from error


def _checksum(data: bytes, layout: bytes) -> bytes:
    digest = hashlib.sha256(data)
    digest.update(layout)
    return digest.digest()


def snapshot_of(document: Document) -> Snapshot:
    """The snapshot that holds a document as it is."""
    return with_checksum(run_to_completion(fold(None, document)))


def fold(compacted: Document | None, document: Document) -> Steps[Snapshot]:
    """The snapshot of a document that nothing comes into meanwhile, still without its checksum, in steps.

    :param compacted: the same document in fewer bytes, or an earlier state of it.
    """
    if compacted is not None:
        # Of every struct the compacted version counts; what has come since then is in the other.
        both = Document()
        yield from both.merge(compacted.as_update())
        yield from both.merge(document.as_update())
        document = both
    data = yield from document.diff({})
    return Snapshot(data, (yield from document.encode_layout()))


def with_checksum(snapshot: Snapshot) -> Snapshot:
    """The same snapshot with its checksum, which takes a while and can be worked out in a thread."""
    return evolve(snapshot, checksum=_checksum(snapshot.data, snapshot.layout or b""))


def read_document(snapshot: Snapshot, updates: Iterable[bytes]) -> Document:
    """A document from its snapshot and the log entries that are not in that.

    :raises DocumentDamaged: if one of them cannot be read.
    """
    document = Document([snapshot.read()])
    try:
        for update in updates:
            document.append(update)
    except Malformed as error:
        raise DocumentDamaged(f"an entry of the log cannot be read: {error}") from error
    return document


def compact_document(document: Document, droppable: DeleteSet) -> Document:
    """The same document in fewer bytes, without the content of the deletions that are `droppable`."""
    return Document([compact(document.as_update(), droppable)])


def needs_compaction(size: int, compacted_size: int | None) -> bool:
    """Whether a snapshot of `size` bytes is worth compacting."""
    return size > (compacted_size or 0) * (1 + GROWTH) + GROWTH_BYTES
