"""Integers as large as a client can write are refused with the same error, whether compiled or interpreted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.document.document import Document
from canvas_collab.document.merging import merge_updates
from canvas_collab.protocol import awareness, hocuspocus, sync
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.layout import decode_with_layout
from canvas_collab.protocol.lib0 import MAX_SAFE_INTEGER, Malformed, encode_var_uint, read_var_uint
from canvas_collab.protocol.state_vector import decode_state_vector
from canvas_collab.protocol.steps import run_to_completion
from canvas_collab.protocol.structs import MAX_CLOCK
from canvas_collab.protocol.update import decode_update, read_update
from tests.support.updates import edits

#: What is written in place of every part of valid input: the largest integer, and encodings of larger ones.
LARGE = (
    encode_var_uint(MAX_CLOCK),
    encode_var_uint(MAX_CLOCK + 1),
    encode_var_uint(MAX_SAFE_INTEGER),
    b"\x80" * 7 + b"\x10",  # 2**53
    b"\xff" * 7 + b"\x7f",  # 2**56 - 1
    b"\xff" * 9 + b"\x7f",  # 2**70 - 1
)

EDITS = edits(7, 40)
DOCUMENT = Document(map(decode_update, EDITS))


def decode_both_ways(data: bytes) -> None:
    """Decode an update as a client's, at once if it is small, and in steps with a limit."""
    with contextlib.suppress(Malformed):
        DOCUMENT.lacks_any_of(decode_update(data))
    run_to_completion(read_update(data, 2**20, reject_poison=True))


@pytest.mark.parametrize(
    ("decode", "data"),
    [
        *((decode_both_ways, data) for data in EDITS[::4]),
        (decode_both_ways, merge_updates([decode_update(data) for data in EDITS[:8]])),
        (DeleteSet.decode, DOCUMENT.deletions.encode()),
        (decode_state_vector, DOCUMENT.state_vector),
        (DOCUMENT.encode_diff, DOCUMENT.state_vector),
        (awareness.decode, awareness.encode([awareness.Entry(1, 2, "{}"), awareness.Entry(2**40, 3, "null")])),
        (sync.decode, sync.encode_update(EDITS[0])),
        (hocuspocus.decode, b"\x04room" + sync.encode_update(EDITS[0])),
        (lambda layout: decode_with_layout(DOCUMENT.encode(), layout), DOCUMENT.layout),
    ],
    # The data differ from run to run, and so would their ids.
    ids=lambda value: "decoding" if callable(value) else "data",
)
def test_large_integers_anywhere_in_valid_input_are_read_or_malformed(
    decode: Callable[[bytes], object], data: bytes
) -> None:
    for position in range(len(data)):
        for large in LARGE:
            for rest in (position, position + 1, position + len(large)):
                with contextlib.suppress(Malformed):
                    decode(data[:position] + large + data[rest:])


@pytest.mark.parametrize("large", LARGE[2:], ids=bytes.hex)
def test_no_sum_of_large_integers_wraps(large: bytes) -> None:
    client = b"\x01\x01\x01"
    for data in (
        b"\x01" + large,  # structs without end
        client + large,  # the clock of the first struct
        client + b"\x00\x00" + large,  # the length of a GC
        client + b"\x00\x0a" + large,  # the length of a skip
        client + b"\x00\x04\x01" + large + b"abc",  # a string
        client + b"\x00\x08\x01\x01a" + large + b"\x7e",  # the number of values
        client + b"\x00\x08\x01\x01a\x01\x75" + large + b"\x7e",  # the number of values in an array
        client + b"\x00\x03\x01\x01a" + large + b"abc",  # bytes
        client + b"\x05\x00" + large + b"\x00",  # the second struct of a client
        b"\x00\x01\x01\x01" + large + b"\x01",  # a deleted range that begins there
        b"\x00\x01\x01\x01\x01" + large,  # a deleted range that ends there
        b"\x00\x01\x01" + large + b"\x01\x01",  # the number of ranges
        b"\x00" + large,  # the number of clients with deletions
        large,  # the number of clients
    ):
        with pytest.raises(Malformed):
            decode_update(data)
        with pytest.raises(Malformed):
            run_to_completion(read_update(data + bytes(4096), 2**20, reject_poison=True))


@given(st.integers(0, MAX_SAFE_INTEGER), st.integers(0, 5))
def test_every_integer_of_53_bits_is_read_as_it_was_written(number: int, position: int) -> None:
    encoded = encode_var_uint(number)
    assert read_var_uint(bytes(position) + encoded, position) == (number, position + len(encoded))
