"""Layouts of encoded updates."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from canvas_collab.document.document import Document
from canvas_collab.protocol.layout import decode_with_layout
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.update import Update
from tests.support.updates import document_of, edits

seeds = st.integers(0, 2**32)


@given(seeds, st.integers(1, 300), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_decoding_with_a_layout_gives_the_same_document(seed: int, count: int, chance: random.Random) -> None:
    updates = [update for update in edits(seed, count) if chance.random() < 0.8]
    document = document_of(updates)
    data, layout = document.encode(), document.layout
    again = Document([decode_with_layout(data, layout)])
    assert again.encode() == data
    assert again.state_vector == document.state_vector
    assert again.size == document.size
    assert len(layout) < len(data) + 20


@given(seeds, st.integers(0, 2**16), st.integers(1, 255))
@settings(max_examples=100, deadline=None)
def test_a_corrupted_layout_is_detected_or_harmless(seed: int, place: int, change: int) -> None:
    document = document_of(edits(seed, 30))
    layout = bytearray(document.layout)
    layout[place % len(layout)] ^= change
    try:
        found = decode_with_layout(document.encode(), bytes(layout))
    except Malformed:
        return
    assert isinstance(found, Update)
