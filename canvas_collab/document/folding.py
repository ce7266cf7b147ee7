"""Snapshots: verifying and reading one, and folding log entries into a new one.

Only :func:`fold` works in steps; for large documents the caller should run the other functions in a thread.
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

#: A snapshot is compacted when, it has grown by this share and by this many bytes since the last time.
GROWTH = 0.25
GROWTH_BYTES = 2**10


class DocumentDamaged(Exception):
    """A stored document cannot be read; the stored bytes are left unchanged."""


@frozen
class Snapshot:
    """A stored document: an update with everything in it, and the layout of that update.

    `checksum` is the SHA-256 of both.  Documents written by other software have neither a checksum nor a layout.
    """

    data: bytes = field(default=EMPTY_UPDATE, repr=False)
    layout: bytes | None = field(default=None, repr=False)
    checksum: bytes | None = None

    @property
    def size(self) -> int:
        """The size of the update in bytes."""
        return len(self.data)

    def read(self) -> Update:
        """Verify and decode the snapshot.

        :raises DocumentDamaged: if it does not match its checksum, or is not an update.
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
    """Return the snapshot of a document, with its checksum."""
    return with_checksum(run_to_completion(fold(None, document)))


def fold(compacted: Document | None, document: Document) -> Steps[Snapshot]:
    """Return the snapshot of a document, without its checksum, in steps; the document must not change between them.

    :param compacted: the document after compaction, or an earlier state of it after compaction.
    """
    if compacted is not None:
        # The version of a struct that is merged first is kept: the compacted one.
        merged = Document()
        yield from merged.merge(compacted.as_update())
        yield from merged.merge(document.as_update())
        document = merged
    data = yield from document.diff({})
    return Snapshot(data, (yield from document.encode_layout()))


def with_checksum(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with its checksum, which can be computed in a thread."""
    return evolve(snapshot, checksum=_checksum(snapshot.data, snapshot.layout or b""))


def read_document(snapshot: Snapshot, updates: Iterable[bytes]) -> Document:
    """Return the document that a snapshot and later log entries make.

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
    """Return a compacted copy of a document; see :func:`~canvas_collab.document.compaction.compact`."""
    return Document([compact(document.as_update(), droppable)])


def needs_compaction(size: int, compacted_size: int | None) -> bool:
    """Return whether a snapshot of `size` bytes has grown enough since the last compaction to be compacted again."""
    return size > (compacted_size or 0) * (1 + GROWTH) + GROWTH_BYTES
