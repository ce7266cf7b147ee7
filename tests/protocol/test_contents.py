"""The content of items: validating long content in steps, and slicing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.protocol import contents
from canvas_collab.protocol.contents import (
    TEXT_PER_STEP,
    UNFINISHED,
    make_content_slicer,
    skip_content,
    skip_long_content,
)
from canvas_collab.protocol.lib0 import Malformed, encode_var_bytes, encode_var_uint
from canvas_collab.protocol.steps import run_to_completion
from canvas_collab.protocol.struct_info import STRING, Kind


@given(st.text(max_size=30).map(str.encode) | st.binary(max_size=30))
def test_a_long_text_is_validated_in_steps_with_the_same_result(text: bytes) -> None:
    data = encode_var_bytes(text)
    try:
        at_once = skip_content(data, 0, STRING)
    except Malformed:
        at_once = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "TEXT_PER_STEP", 3)
        try:
            in_steps = run_to_completion(skip_long_content(data, 0, STRING))
        except Malformed:
            in_steps = None
    assert in_steps == at_once
    if at_once is not None:
        assert at_once == (len(text.decode().encode("utf-16-le")) // 2, len(data))


def test_of_a_long_text_a_bounded_part_is_decoded_in_one_step() -> None:
    data = encode_var_bytes("😀".encode() * TEXT_PER_STEP)
    assert skip_content(data, 0, STRING)[1] == UNFINISHED
    assert sum(1 for _ in skip_long_content(data, 0, STRING)) >= 4


def test_a_truncated_long_text_is_rejected() -> None:
    data = encode_var_bytes(b"x" * 2 * TEXT_PER_STEP)[:-1]
    with pytest.raises(Malformed):
        skip_content(data, 0, STRING)


def test_slicing_content_many_times_copies_it_once() -> None:
    """Count the bytes that are copied, which other tests of linear work do not see."""
    copied = 0

    class Counting(bytes):
        def __getitem__(self, place: Any) -> Any:
            nonlocal copied
            part = super().__getitem__(place)
            copied += len(part) if isinstance(place, slice) else 1
            return part

    content = Counting(encode_var_uint(2000) + b"\x78" * 2000)
    slicer = make_content_slicer(content, Kind.ANY)
    parts = [slicer.slice(place, place + 1) for place in range(2000)]
    assert len(parts) == 2000
    assert copied < 4 * len(content)
