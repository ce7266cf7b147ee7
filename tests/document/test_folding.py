"""Snapshots: encoding them with a layout and a checksum, and decoding them."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from pycrdt import Doc, Text

from canvas_collab.document.folding import DocumentDamaged, Snapshot, read_document, snapshot_of


def test_a_snapshot_is_read_as_it_was_written_and_a_damaged_one_is_rejected() -> None:
    doc: Doc[Any] = Doc()
    doc["text"] = Text("abc")
    document = read_document(Snapshot(), [doc.get_update()])
    snapshot = snapshot_of(document)
    assert read_document(snapshot, []).encode() == document.encode()
    # What something else wrote has neither layout nor checksum.
    assert read_document(Snapshot(doc.get_update()), []).encode() == document.encode()
    layout = snapshot.layout or b""
    for damaged in (
        Snapshot(snapshot.data[:-1] + b"\x01", layout, snapshot.checksum),
        Snapshot(snapshot.data, layout + b"\x00", snapshot.checksum),
        Snapshot(snapshot.data, None, snapshot.checksum),
        Snapshot(b"\xff"),
        Snapshot(b"\x00\x00", b"\x09", hashlib.sha256(b"\x00\x00\x09").digest()),
    ):
        with pytest.raises(DocumentDamaged):
            read_document(damaged, [])
    with pytest.raises(DocumentDamaged):
        read_document(Snapshot(), [b"\xff"])
