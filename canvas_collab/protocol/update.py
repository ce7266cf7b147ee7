"""Yjs updates, version 1: from bytes to runs of structs and a delete set, and back.

An update is a count of clients, then for each a count of structs, the client's id, the clock of the first struct, and
the structs; then the delete set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import field, frozen

from canvas_collab.protocol.delete_set import DeleteSet, read_delete_set
from canvas_collab.protocol.lib0 import Malformed, TooLarge, encode_var_uint, read_var_uint
from canvas_collab.protocol.poison import refuse_lists_at_keys, refuse_poison
from canvas_collab.protocol.steps import RUNS_PER_STEP, Steps, descending, run_to_completion
from canvas_collab.protocol.structs import MAX_CLOCK, Run, encode_skip, read_runs

#: The update that changes nothing: no structs, no deletions.
EMPTY_UPDATE = b"\x00\x00"

#: What a run takes in memory beside its bytes, its place in a list and a dictionary included.
RUN_WEIGHT = 512


@frozen
class Update:
    """What an update holds: for each client its runs, in order and without overlap, and what is deleted.

    `encoded` is the update as bytes, where these are at hand.
    """

    runs: Mapping[int, Sequence[Run]]
    deletions: DeleteSet
    encoded: bytes | None = field(default=None, repr=False, eq=False)

    def __bool__(self) -> bool:
        """Whether it holds anything at all."""
        return bool(self.runs) or bool(self.deletions)

    def compute_weight(self) -> Steps[int]:
        """About how many bytes it takes in memory, found out in steps."""
        weight = self.deletions.weight
        left = 10 * RUNS_PER_STEP
        for runs in self.runs.values():
            for run in runs:
                weight += RUN_WEIGHT + len(run.data)
            left -= len(runs) + 1
            if left <= 0:
                yield
                left = 10 * RUNS_PER_STEP
        return weight

    def encode(self) -> bytes:
        """The update as bytes."""
        return encode_update(self.runs, self.deletions) if self.encoded is None else self.encoded

    def split(self, size: int) -> Iterator[Update]:
        """Updates of about so many bytes each that hold together what this one holds, the deletions in the last."""
        if self.encoded is not None and len(self.encoded) <= size:
            yield self
            return
        part: dict[int, list[Run]] = {}
        total = 0
        for client, runs in self.runs.items():
            for run in runs:
                if total >= size:
                    yield Update(part, DeleteSet())
                    part, total = {}, 0
                part.setdefault(client, []).append(run)
                total += len(run.data) + _HEAD
        yield Update(part, self.deletions)


def clocks_of(update: Update) -> DeleteSet:
    """Which clocks an update has structs of."""
    clocks = DeleteSet()
    for client, runs in update.runs.items():
        for run in runs:
            clocks.add(client, run.clock, run.end)
    return clocks


#: About what a run needs beside its structs in an encoded update.
_HEAD = 16


def decode_update(data: bytes, *, reject_poison: bool = False) -> Update:
    """Decode an update and check all of it.  Bytes after its end are ignored, as Yjs ignores them.

    :param reject_poison: whether it comes from a client; what is well-formed, but breaks Yjs, is refused then too.
    :raises Malformed: if it is no update, or none that every client can read.
    """
    return run_to_completion(read_update(data, None, reject_poison=reject_poison))


def read_update(data: bytes, max_weight: int | None, *, reject_poison: bool = False) -> Steps[Update]:
    """The same in steps.

    :param max_weight: what the update may take in memory, in bytes.
    :param reject_poison: whether it comes from a client; what is well-formed, but breaks Yjs, is refused then too.
    :raises TooLarge: if it would take more.
    """
    runs: dict[int, list[Run]] = {}
    at_keys: list[tuple[int, int, int]] = []
    has_empty = False
    weight = 0
    clients, position = read_var_uint(data, 0)
    for index in range(clients):
        count, position = read_var_uint(data, position)
        client, position = read_var_uint(data, position)
        clock, position = read_var_uint(data, position)
        if client in runs:
            raise Malformed("a client has structs in two places")
        if clock > MAX_CLOCK:
            raise Malformed("a clock is too high")
        most = MAX_CLOCK if max_weight is None else (max_weight - weight) // RUN_WEIGHT
        found, position = yield from read_runs(data, position, count, client, clock, most, at_keys)
        if reject_poison:
            yield from refuse_poison(client, found)
        runs[client] = found
        weight += len(found) * RUN_WEIGHT
        has_empty = has_empty or not found
        if max_weight is not None and weight > max_weight:
            raise TooLarge("the update names too many authors, or has too many gaps")
        if index % RUNS_PER_STEP == RUNS_PER_STEP - 1:
            yield
    if has_empty:
        runs = {client: found for client, found in runs.items() if found}
    left = None if max_weight is None else max_weight - weight
    deletions, position, in_order = yield from read_delete_set(data, position, left)
    if reject_poison:
        yield from refuse_lists_at_keys(at_keys, deletions)
    return Update(runs, deletions, data[:position] if in_order and not has_empty else None)


def encode_update(runs: Mapping[int, Sequence[Run]], deletions: DeleteSet) -> bytes:
    """Encode an update; gaps between the runs of a client are filled with skipped stretches."""
    return run_to_completion(encode_update_in_steps(runs, deletions))


def encode_update_in_steps(runs: Mapping[int, Sequence[Run]], deletions: DeleteSet) -> Steps[bytes]:
    """The same in steps; what is added to `runs` meanwhile may be part of it, or not."""
    clients = 0
    parts: list[bytes] = []
    joined = 0
    left = RUNS_PER_STEP
    for client in (yield from descending(runs)):
        # These may change between the steps.
        found = tuple(runs[client])
        if not found:
            continue
        clients += 1
        structs: list[bytes] = []
        structs_joined = 0
        count, end = 0, found[0].clock
        for run in found:
            if run.clock > end:
                structs.append(encode_skip(run.clock - end))
                count += 1
            structs.append(run.data)
            count += run.count
            end = run.end
            left -= 1
            if not left:
                structs_joined = _join(structs, structs_joined)
                yield
                left = RUNS_PER_STEP
        parts.append(encode_var_uint(count) + encode_var_uint(client) + encode_var_uint(found[0].clock))
        parts += structs
        if len(parts) - joined > 2 * RUNS_PER_STEP:
            joined = _join(parts, joined)
    encoded_deletions = yield from deletions.encode_in_steps()
    return b"".join((encode_var_uint(clients), *parts, encoded_deletions))


def _join(parts: list[bytes], begin: int) -> int:
    """Make one part of those from a place on, so that there are never many at once; returns how many there are then."""
    parts[begin:] = [b"".join(parts[begin:])]
    return len(parts)
