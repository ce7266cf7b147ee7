"""lib0's variable-length encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.protocol.lib0 import (
    MAX_SAFE_INTEGER,
    Decoder,
    Malformed,
    encode_var_bytes,
    encode_var_string,
    encode_var_uint,
)


@given(st.integers(0, MAX_SAFE_INTEGER))
def test_every_integer_comes_back_as_it_was(number: int) -> None:
    decoder = Decoder(encode_var_uint(number))
    assert decoder.var_uint() == number
    decoder.finish()


@given(st.binary(max_size=300), st.text(max_size=100))
def test_byte_arrays_and_strings_come_back_as_they_were(data: bytes, text: str) -> None:
    decoder = Decoder(encode_var_bytes(data) + encode_var_string(text))
    assert decoder.var_bytes() == data
    assert decoder.var_string() == text
    assert decoder.remaining == 0


@pytest.mark.parametrize(
    ("number", "encoded"),
    [(0, "00"), (127, "7f"), (128, "8001"), (2**32, "8080808010"), (MAX_SAFE_INTEGER, "ffffffffffffff0f")],
)
def test_integers_are_encoded_as_lib0_encodes_them(number: int, encoded: str) -> None:
    assert encode_var_uint(number).hex() == encoded


@pytest.mark.parametrize("number", [-1, MAX_SAFE_INTEGER + 1])
def test_an_integer_that_javascript_cannot_count_is_not_encoded(number: int) -> None:
    with pytest.raises(ValueError, match="not between"):
        encode_var_uint(number)


@pytest.mark.parametrize("encoded", ["", "80", "ffff", "ffffffffffffff1f", "ffffffffffffffff01", "80" * 1000])
def test_an_integer_that_is_cut_or_too_large_is_malformed(encoded: str) -> None:
    with pytest.raises(Malformed):
        Decoder(bytes.fromhex(encoded)).var_uint()


@given(st.binary(max_size=40))
def test_any_bytes_are_either_decoded_or_malformed(data: bytes) -> None:
    for read in (Decoder.var_uint, Decoder.var_bytes, Decoder.var_string):
        decoder = Decoder(data)
        try:
            read(decoder)
        except Malformed:
            continue
        assert 0 <= decoder.remaining < len(data)


def test_a_string_that_is_not_utf_8_is_malformed() -> None:
    with pytest.raises(Malformed, match="UTF-8"):
        Decoder(b"\x01\xff").var_string()


def test_bytes_after_the_end_are_malformed_where_nothing_may_follow() -> None:
    decoder = Decoder(b"\x00\x00")
    decoder.var_uint()
    with pytest.raises(Malformed, match="1 bytes follow"):
        decoder.finish()
