"""State vectors: for every client, how many of its operations are known without a gap.

The format is Yjs's own: a count, then that many pairs of client id and clock, each a lib0 integer.
"""

from __future__ import annotations

from collections.abc import Mapping

from canvas_collab.protocol.lib0 import Decoder, encode_var_uint

#: The state vector of an empty document.
EMPTY_STATE_VECTOR = b"\x00"


def decode_state_vector(data: bytes) -> dict[int, int]:
    """Decode a state vector to ``{client id: clock}``.

    :raises Malformed: if the bytes are not exactly one state vector.
    """
    decoder = Decoder(data)
    clocks = {}
    for _ in range(decoder.var_uint()):
        client = decoder.var_uint()
        clocks[client] = decoder.var_uint()
    decoder.finish()
    return clocks


def encode_state_vector(clocks: Mapping[int, int]) -> bytes:
    """Encode ``{client id: clock}``, higher client ids first, as Yjs orders them."""
    parts = [encode_var_uint(len(clocks))]
    for client in sorted(clocks, reverse=True):
        parts.append(encode_var_uint(client))
        parts.append(encode_var_uint(clocks[client]))
    return b"".join(parts)
