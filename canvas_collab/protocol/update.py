"""Yjs updates, format 1: decoding to runs of structs and a delete set, and encoding.

An update is a count of clients, then for each a count of structs, the client's id, the clock of the first struct, and
the structs; then the delete set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, final

from canvas_collab.protocol.delete_set import DeleteSet, DeleteSetReader
from canvas_collab.protocol.lib0 import Malformed, TooLarge, encode_var_uint, read_var_uint
from canvas_collab.protocol.poison import check_lists_at_keys, check_runs, is_harmless
from canvas_collab.protocol.run_reader import RunReader
from canvas_collab.protocol.steps import RUNS_PER_STEP, Steps, run_to_completion, sort_descending
from canvas_collab.protocol.structs import MAX_CLOCK, Run, encode_skip

if TYPE_CHECKING:
    from mypy_extensions import i64

#: The update without structs and deletions.
EMPTY_UPDATE = b"\x00\x00"

#: The estimated memory that a run takes beside its data, in bytes, including its share of a list and a dictionary.
RUN_WEIGHT: Final = 512

#: Updates of up to this many bytes are decoded at once: they take no longer than a step, whatever they contain.
SMALL_UPDATE: Final = 2**11

_UNLIMITED: Final = 2**60


@final
class Update:
    """A decoded update: for each client its runs, in order and without overlap, and a delete set.

    `encoded` is the encoded update if it is known, which does not count in comparisons.  An update never changes.
    """

    __slots__ = ("deletions", "encoded", "runs")

    def __init__(self, runs: dict[int, list[Run]], deletions: DeleteSet, encoded: bytes | None = None) -> None:
        self.runs: Final[dict[int, list[Run]]] = runs
        self.deletions: Final[DeleteSet] = deletions
        self.encoded: Final[bytes | None] = encoded

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Update):
            return NotImplemented
        return self.runs == other.runs and self.deletions == other.deletions

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Update(runs={self.runs!r}, deletions={self.deletions!r})"

    def __bool__(self) -> bool:
        """Whether the update has any structs or deletions."""
        return bool(self.runs) or bool(self.deletions)

    def compute_weight(self) -> Steps[int]:
        """Return the estimated memory that the update takes, in bytes, in steps."""
        weight = self.deletions.weight
        remaining = 10 * RUNS_PER_STEP
        for runs in self.runs.values():
            for run in runs:
                weight += RUN_WEIGHT + len(run.data)
            remaining -= len(runs) + 1
            if remaining <= 0:
                yield
                remaining = 10 * RUNS_PER_STEP
        return weight

    def encode(self) -> bytes:
        """Encode the update."""
        return encode_update(self.runs, self.deletions) if self.encoded is None else self.encoded

    def split(self, size: int) -> Iterator[Update]:
        """Split the update into updates of about `size` bytes each; the last has all deletions."""
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
                total += len(run.data) + _RUN_HEAD
        yield Update(part, self.deletions)


def clocks_of(update: Update) -> DeleteSet:
    """Return the clocks that an update has structs for."""
    clocks = DeleteSet()
    for client, runs in update.runs.items():
        for run in runs:
            clocks.add(client, run.clock, run.end)
    return clocks


#: About how many bytes a run takes beside its structs in an encoded update.
_RUN_HEAD = 16


def decode_update(data: bytes, *, reject_poison: bool = False) -> Update:
    """Decode and validate an update.  Bytes after its end are ignored, as Yjs ignores them.

    :param reject_poison: whether to reject well-formed content that Yjs clients fail on, see
        :mod:`canvas_collab.protocol.poison`; for updates received from clients.
    :raises Malformed: if the bytes are not an update that every client can read.
    """
    update = read_small_update(data, None, reject_poison)
    return run_to_completion(read_update(data, None, reject_poison=reject_poison)) if update is None else update


def read_update(data: bytes, max_weight: int | None, *, reject_poison: bool = False) -> Steps[Update]:
    """:func:`decode_update` in steps.

    :param max_weight: the memory that the update may take, in bytes; None for no limit.
    :raises TooLarge: if it would take more memory.
    """
    update = read_small_update(data, max_weight, reject_poison)
    if update is not None:
        return update
    reader = _UpdateReader(data, max_weight)
    for index in range(reader.clients):
        client = reader.begin_client()
        if not client.read_step():
            yield from client.read_rest()
        if reject_poison:
            yield from check_runs(reader.client, client.runs)
        reader.end_client(client)
        if index % RUNS_PER_STEP == RUNS_PER_STEP - 1:
            yield
    deletions = reader.begin_deletions()
    while not deletions.read_step():
        yield
    if reject_poison:
        yield from check_lists_at_keys(reader.lists_at_keys, deletions.result)
    return reader.finish(deletions)


def read_small_update(data: bytes, max_weight: int | None, reject_poison: bool) -> Update | None:
    """:func:`read_update` at once; returns None if the update is too large for that, or suspect."""
    if len(data) > SMALL_UPDATE or (reject_poison and not is_harmless(data)):
        return None
    reader = _UpdateReader(data, max_weight)
    for _ in range(reader.clients):
        client = reader.begin_client()
        if not client.read_step():
            return None
        reader.end_client(client)
    deletions = reader.begin_deletions()
    if not deletions.read_step() or (reject_poison and reader.lists_at_keys):
        return None
    return reader.finish(deletions)


@final
class _UpdateReader:
    """The parts of an update that were read, and the position in it."""

    __slots__ = (
        "_data",
        "_has_empty",
        "_max_weight",
        "_position",
        "_runs",
        "_weight",
        "client",
        "clients",
        "lists_at_keys",
    )

    def __init__(self, data: bytes, max_weight: int | None) -> None:
        self._data: bytes = data
        self._max_weight: i64 = _UNLIMITED if max_weight is None else max_weight
        self._weight: i64 = 0
        self._runs: dict[int, list[Run]] = {}
        self._has_empty = False
        #: The clients, first clocks and ends of all items with a key and several values.
        self.lists_at_keys: list[tuple[int, int, int]] = []
        #: The client that is being read.
        self.client: i64 = 0
        clients, position = read_var_uint(data, 0)
        #: The number of clients.
        self.clients: i64 = clients
        self._position: i64 = position

    def begin_client(self) -> RunReader:
        """Read what stands before the next client's structs, and return the reader of these."""
        data = self._data
        count, position = read_var_uint(data, self._position)
        client, position = read_var_uint(data, position)
        clock, position = read_var_uint(data, position)
        if client in self._runs:
            raise Malformed("a client occurs twice in an update")
        if clock > MAX_CLOCK:
            raise Malformed("a clock is too high")
        self.client = client
        max_runs: i64 = (self._max_weight - self._weight) // RUN_WEIGHT
        return RunReader(data, position, count, client, clock, max_runs, self.lists_at_keys)

    def end_client(self, reader: RunReader) -> None:
        """Add the client's runs."""
        found = reader.runs
        self._position = reader.position
        self._runs[self.client] = found
        if not found:
            self._has_empty = True
        self._weight += len(found) * RUN_WEIGHT
        if self._weight > self._max_weight:
            raise TooLarge("the update has too many clients or gaps")

    def begin_deletions(self) -> DeleteSetReader:
        """Return the reader of the delete set."""
        return DeleteSetReader(self._data, self._position, self._max_weight - self._weight)

    def finish(self, deletions: DeleteSetReader) -> Update:
        """Return the update."""
        runs = self._runs
        if self._has_empty:
            runs = {client: found for client, found in runs.items() if found}
        is_canonical = deletions.in_order and not self._has_empty
        return Update(runs, deletions.result, self._data[: deletions.position] if is_canonical else None)


def encode_update(runs: Mapping[int, Sequence[Run]], deletions: DeleteSet) -> bytes:
    """Encode an update; gaps between the runs of a client become skips."""
    return run_to_completion(encode_update_in_steps(runs, deletions))


def encode_update_in_steps(runs: Mapping[int, Sequence[Run]], deletions: DeleteSet) -> Steps[bytes]:
    """:func:`encode_update` in steps; runs that are added between the steps may or may not be in the result."""
    clients = 0
    parts: list[bytes] = []
    parts_joined = 0
    remaining = RUNS_PER_STEP
    for client in (yield from sort_descending(runs)):
        # The list may change between the steps.
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
            remaining -= 1
            if not remaining:
                structs_joined = _join(structs, structs_joined)
                yield
                remaining = RUNS_PER_STEP
        parts.append(encode_var_uint(count) + encode_var_uint(client) + encode_var_uint(found[0].clock))
        parts += structs
        if len(parts) - parts_joined > 2 * RUNS_PER_STEP:
            parts_joined = _join(parts, parts_joined)
    encoded_deletions = yield from deletions.encode_in_steps()
    return b"".join((encode_var_uint(clients), *parts, encoded_deletions))


def _join(parts: list[bytes], begin: int) -> int:
    """Join the parts from index `begin` on to one, so that there are never many; returns the number of parts."""
    parts[begin:] = [b"".join(parts[begin:])]
    return len(parts)
