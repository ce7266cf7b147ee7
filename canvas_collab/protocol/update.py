"""Yjs updates, version 1: from bytes to runs of structs and a delete set, and back.

An update is a count of clients, then for each a count of structs, the client's id, the clock of the first struct, and
the structs; then the delete set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.lib0 import Malformed, encode_var_uint, read_var_uint
from canvas_collab.protocol.structs import MAX_CLOCK, Run, encode_skip, read_runs

#: The update that changes nothing: no structs, no deletions.
EMPTY_UPDATE = b"\x00\x00"


@frozen
class Update:
    """What an update holds: for each client its runs, in order and without overlap, and what is deleted."""

    runs: Mapping[int, Sequence[Run]]
    deletions: DeleteSet

    def __bool__(self) -> bool:
        """Whether it holds anything at all."""
        return bool(self.runs) or bool(self.deletions)


def decode_update(data: bytes) -> Update:
    """Decode an update and check all of it.  Bytes after its end are ignored, as Yjs ignores them.

    :raises Malformed: if it is no update, or none that every client can read.
    """
    runs: dict[int, list[Run]] = {}
    clients, position = read_var_uint(data, 0)
    for _ in range(clients):
        count, position = read_var_uint(data, position)
        client, position = read_var_uint(data, position)
        clock, position = read_var_uint(data, position)
        if client in runs:
            raise Malformed("a client has structs in two places")
        if clock > MAX_CLOCK:
            raise Malformed("a clock is too high")
        runs[client], position = read_runs(data, position, count, client, clock)
    if not all(runs.values()):
        runs = {client: found for client, found in runs.items() if found}
    return Update(runs, DeleteSet.decode(data, position))


def encode_update(runs: Mapping[int, Sequence[Run]], deletions: DeleteSet) -> bytes:
    """Encode an update; gaps between the runs of a client are filled with skipped stretches."""
    present = {client: found for client, found in runs.items() if found}
    parts = [encode_var_uint(len(present))]
    for client in sorted(present, reverse=True):
        parts += _encode_client(client, present[client])
    parts.append(deletions.encode())
    return b"".join(parts)


def _encode_client(client: int, runs: Sequence[Run]) -> list[bytes]:
    structs: list[bytes] = []
    count = 0
    end = runs[0].clock
    for run in runs:
        if run.clock > end:
            structs.append(encode_skip(run.clock - end))
            count += 1
        structs.append(run.data)
        count += run.count
        end = run.end
    return [encode_var_uint(count), encode_var_uint(client), encode_var_uint(runs[0].clock), *structs]
