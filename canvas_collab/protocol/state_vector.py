"""State vectors: for each client, the clock up to which all its structs are known.

The format is that of Yjs: a count, then that many pairs of client id and clock, each an unsigned integer of lib0.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from canvas_collab.protocol.lib0 import Malformed, encode_var_uint, read_var_uint
from canvas_collab.protocol.steps import VALUES_PER_STEP, Steps, run_to_completion, sort_descending

#: The state vector of an empty document.
EMPTY_STATE_VECTOR = b"\x00"


def decode_state_vector(data: bytes) -> dict[int, int]:
    """Decode a state vector to ``{client id: clock}``.

    :raises Malformed: if the bytes are not exactly one state vector.
    """
    return run_to_completion(read_state_vector(data, None))


def read_state_vector(data: bytes, known: Container[int] | None) -> Steps[dict[int, int]]:
    """Decode a state vector, in steps.

    :param known: the clients to return; None for all.

    :raises Malformed: if the bytes are not exactly one state vector.
    """
    clocks = {}
    count, position = read_var_uint(data, 0)
    for index in range(count):
        client, position = read_var_uint(data, position)
        clock, position = read_var_uint(data, position)
        if known is None or client in known:
            clocks[client] = clock
        if index % VALUES_PER_STEP == VALUES_PER_STEP - 1:
            yield
    if position != len(data):
        raise Malformed(f"{len(data) - position} bytes follow the end of the message")
    return clocks


def encode_state_vector(clocks: Mapping[int, int]) -> bytes:
    """Encode ``{client id: clock}``, higher client ids first, as Yjs orders them."""
    return run_to_completion(encode_state_vector_in_steps(clocks))


def encode_state_vector_in_steps(clocks: Mapping[int, int]) -> Steps[bytes]:
    """:func:`encode_state_vector` in steps; clocks may rise and clients may be added between them."""
    clients = yield from sort_descending(clocks)
    encoded = bytearray(encode_var_uint(len(clients)))
    for index, client in enumerate(clients):
        encoded += encode_var_uint(client) + encode_var_uint(clocks[client])
        if index % VALUES_PER_STEP == VALUES_PER_STEP - 1:
            yield
    return bytes(encoded)
