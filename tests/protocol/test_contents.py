"""The content of items: what is long is checked in steps, and found to be the same as at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.protocol import contents
from canvas_collab.protocol.contents import TEXT_PER_STEP, UNFINISHED, skip_content, skip_long_content
from canvas_collab.protocol.lib0 import Malformed, encode_var_bytes
from canvas_collab.protocol.steps import run_to_completion
from canvas_collab.protocol.struct_info import STRING


@given(st.text(max_size=30).map(str.encode) | st.binary(max_size=30))
def test_a_long_text_is_checked_in_steps_as_it_is_at_once(text: bytes) -> None:
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


def test_a_long_text_that_ends_before_its_time_is_refused() -> None:
    data = encode_var_bytes(b"x" * 2 * TEXT_PER_STEP)[:-1]
    with pytest.raises(Malformed):
        skip_content(data, 0, STRING)
