"""The layout of an encoded update: where its runs are, so that it can be decoded without parsing every struct.

A layout is stored with each snapshot.  It is a sequence of lib0's unsigned integers: the number of clients and, for
each in the order of the update, its id, the number of its runs, and for each run the number of clocks between the
previous run and this one, of clocks, of structs, and of bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.lib0 import Decoder, Malformed, encode_var_uint
from canvas_collab.protocol.steps import RUNS_PER_STEP, Steps, run_to_completion, sort_descending
from canvas_collab.protocol.structs import MAX_CLOCK, Run, encode_skip
from canvas_collab.protocol.update import Update


def encode_layout(runs: Mapping[int, Sequence[Run]]) -> bytes:
    """Encode the layout of what :func:`~canvas_collab.protocol.update.encode_update` returns for the same runs."""
    return run_to_completion(encode_layout_in_steps(runs))


def encode_layout_in_steps(runs: Mapping[int, Sequence[Run]]) -> Steps[bytes]:
    """:func:`encode_layout` in steps; `runs` must not change between them."""
    remaining = RUNS_PER_STEP
    clients = 0
    encoded = bytearray()
    for client in (yield from sort_descending(runs)):
        found = runs[client]
        if not found:
            continue
        clients += 1
        encoded += encode_var_uint(client) + encode_var_uint(len(found))
        end = 0
        for run in found:
            numbers = (run.clock - end, run.end - run.clock, run.count, len(run.data))
            encoded += b"".join(map(encode_var_uint, numbers))
            end = run.end
            remaining -= 1
            if not remaining:
                yield
                remaining = RUNS_PER_STEP
    return encode_var_uint(clients) + encoded


def decode_with_layout(data: bytes, layout: bytes) -> Update:
    """Decode an update with the help of its layout, without validating its structs again.

    :raises Malformed: if the layout is not that of this update.
    """
    decoder = Decoder(layout)
    runs: dict[int, list[Run]] = {}
    clients = decoder.var_uint()
    position = _expect(data, 0, encode_var_uint(clients))
    for _ in range(clients):
        client = decoder.var_uint()
        entries = [
            (decoder.var_uint(), decoder.var_uint(), decoder.var_uint(), decoder.var_uint())
            for _ in range(decoder.var_uint())
        ]
        if not entries:
            raise Malformed("a client has no runs in the layout")
        structs = sum([count for _, _, count, _ in entries]) + sum([gap > 0 for gap, _, _, _ in entries[1:]])
        if structs > MAX_CLOCK:
            raise Malformed("the layout is not that of this update")
        end = entries[0][0]
        header = encode_var_uint(structs) + encode_var_uint(client) + encode_var_uint(end)
        position = _expect(data, position, header)
        found = runs[client] = []
        for index, (gap, length, count, size) in enumerate(entries):
            if gap and index:
                position = _expect(data, position, encode_skip(gap))
                end += gap
            stop = position + size
            if end + length > MAX_CLOCK or stop > len(data):
                raise Malformed("the layout extends past the end of the update")
            found.append(Run(end, end + length, count, data[position:stop]))
            position = stop
            end += length
    decoder.finish()
    return Update(runs, DeleteSet.decode(data, position))


def _expect(data: bytes, position: int, expected: bytes) -> int:
    stop = position + len(expected)
    if data[position:stop] != expected:
        raise Malformed("the layout is not that of this update")
    return stop
