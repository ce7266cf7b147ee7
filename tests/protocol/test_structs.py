"""Slicing runs of structs."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Doc, Text

from canvas_collab.protocol.structs import slice_run
from canvas_collab.protocol.update import EMPTY_UPDATE, decode_update, encode_update
from tests.support.updates import document_of


@settings(max_examples=60, deadline=None)
@given(st.text("a😀é", min_size=2, max_size=12), st.data())
def test_a_run_of_text_can_be_sliced_anywhere(text: str, data: st.DataObject) -> None:
    doc: Doc[Any] = Doc()
    shared = doc.get("text", type=Text)
    shared += text
    [run] = decode_update(doc.get_update()).runs[doc.client_id]
    cut = data.draw(st.integers(1, run.end - 1))
    first, second = slice_run(run, 0, cut, doc.client_id), slice_run(run, cut, run.end, doc.client_id)
    deletions = decode_update(EMPTY_UPDATE).deletions
    parts = [encode_update({doc.client_id: [part]}, deletions) for part in (first, second)]
    units = text.encode("utf-16-le")
    halves = [units[: 2 * cut].decode("utf-16-le", "replace"), units[2 * cut :].decode("utf-16-le", "replace")]
    fresh: Doc[Any] = Doc()
    for part in parts:
        fresh.apply_update(part)
    assert str(fresh.get("text", type=Text)) == "".join(halves)


def test_a_gc_with_the_field_bits_of_an_item_is_sliced_as_a_gc() -> None:
    known = b"\x01\x01\x05\x00\x00\x02\x00"
    # Yjs ignores the other bits of a GC.
    longer = b"\x01\x01\x05\x00\xc0\x04\x00"
    assert document_of([known, longer]).clocks == {5: 4}
