"""State vectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.protocol import state_vector
from canvas_collab.protocol.lib0 import MAX_SAFE_INTEGER, Malformed, encode_var_uint
from canvas_collab.protocol.state_vector import read_state_vector
from canvas_collab.protocol.steps import run_to_completion

integers = st.integers(0, MAX_SAFE_INTEGER)


@given(st.dictionaries(integers, integers, max_size=20))
def test_state_vectors_come_back_as_they_were(clocks: dict[int, int]) -> None:
    assert state_vector.decode_state_vector(state_vector.encode_state_vector(clocks)) == clocks


@pytest.mark.parametrize("data", ["", "01", "0101", "0000", "ffffffff0f"])
def test_other_bytes_are_malformed(data: str) -> None:
    with pytest.raises(Malformed):
        state_vector.decode_state_vector(bytes.fromhex(data))


def test_only_known_clients_of_a_state_vector_are_returned() -> None:
    data = encode_var_uint(5000) + b"".join(encode_var_uint(client) + b"\x01" for client in range(5000))
    assert sum(1 for _ in read_state_vector(data, {3, 4999, 7000})) >= 4
    assert run_to_completion(read_state_vector(data, {3, 4999, 7000})) == {3: 1, 4999: 1}
