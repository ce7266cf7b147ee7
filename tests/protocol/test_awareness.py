"""Awareness updates."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.protocol import awareness
from canvas_collab.protocol.lib0 import MAX_SAFE_INTEGER, Malformed
from canvas_collab.protocol.structs import MAX_CLOCK

integers = st.integers(0, MAX_SAFE_INTEGER)
entries = st.builds(awareness.Entry, integers, st.integers(0, MAX_CLOCK - 1), st.text(max_size=40))


@given(st.lists(entries, max_size=10))
def test_awareness_updates_come_back_as_they_were(update: list[awareness.Entry]) -> None:
    assert awareness.decode(awareness.encode(update)) == update


@given(st.binary(max_size=60))
def test_any_bytes_are_either_an_awareness_update_or_malformed(data: bytes) -> None:
    try:
        awareness.decode(data)
    except Malformed:
        return
