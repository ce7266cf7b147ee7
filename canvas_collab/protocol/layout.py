"""The layout of an encoded update: where its runs lie, so that it can be read without looking at every struct.

It is kept beside a stored snapshot.  All numbers are lib0's integers: a count of clients and, for each in the order of
the update, its id, a count of runs, and for each run the clocks between the one before and its first, the clocks it
covers, its structs, and its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.lib0 import Decoder, Malformed, encode_var_uint
from canvas_collab.protocol.steps import RUNS_PER_STEP, Steps, descending, run_to_completion
from canvas_collab.protocol.structs import Run, encode_skip
from canvas_collab.protocol.update import Update


def encode_layout(runs: Mapping[int, Sequence[Run]]) -> bytes:
    """The layout of the update that :func:`~canvas_collab.protocol.update.encode_update` makes of the same runs."""
    return run_to_completion(encode_layout_in_steps(runs))


def encode_layout_in_steps(runs: Mapping[int, Sequence[Run]]) -> Steps[bytes]:
    """The same in steps; `runs` must not change meanwhile."""
    left = RUNS_PER_STEP
    clients = 0
    encoded = bytearray()
    for client in (yield from descending(runs)):
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
            left -= 1
            if not left:
                yield
                left = RUNS_PER_STEP
    return encode_var_uint(clients) + encoded


def decode_with_layout(data: bytes, layout: bytes) -> Update:
    """What an update holds, by its layout.  The structs are not looked at: they have been when they were encoded.

    :raises Malformed: if the layout is not that of this update.
    """
    plan = Decoder(layout)
    runs: dict[int, list[Run]] = {}
    clients = plan.var_uint()
    position = _expect(data, 0, encode_var_uint(clients))
    for _ in range(clients):
        client = plan.var_uint()
        stretches = [
            (plan.var_uint(), plan.var_uint(), plan.var_uint(), plan.var_uint()) for _ in range(plan.var_uint())
        ]
        if not stretches:
            raise Malformed("a client has no runs in the layout")
        structs = sum(count for _, _, count, _ in stretches) + sum(gap > 0 for gap, _, _, _ in stretches[1:])
        end = stretches[0][0]
        header = encode_var_uint(structs) + encode_var_uint(client) + encode_var_uint(end)
        position = _expect(data, position, header)
        found = runs[client] = []
        for index, (gap, length, count, size) in enumerate(stretches):
            if gap and index:
                position = _expect(data, position, encode_skip(gap))
                end += gap
            found.append(Run(end, end + length, count, data[position : position + size]))
            position += size
            end += length
    plan.finish()
    if position > len(data):
        raise Malformed("the layout goes beyond the update")
    return Update(runs, DeleteSet.decode(data, position))


def _expect(data: bytes, position: int, expected: bytes) -> int:
    stop = position + len(expected)
    if data[position:stop] != expected:
        raise Malformed("the layout is not that of this update")
    return stop
