"""Where the structs of a run depend on structs of other clients, and where a run has a struct that is large.

A struct depends on its origins and on its parent.  Dependencies on structs of the same client are left out: Yjs
integrates those in order anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import frozen

from canvas_collab.protocol.items import Id
from canvas_collab.protocol.lib0 import read_var_uint
from canvas_collab.protocol.steps import Steps
from canvas_collab.protocol.struct_info import GC, KIND, ORIGIN, RIGHT_ORIGIN
from canvas_collab.protocol.structs import Run, Struct, read_structs_in_steps


@frozen
class Barrier:
    """A place in a run: a struct that depends on other clients' structs, where a large one begins or ends, or the end.

    :ivar clock: the first clock after it.
    :ivar position: where it is in the run's bytes.
    :ivar index: how many structs of the run are before it.
    :ivar content: where the content of a large struct begins in the run's bytes; 0 if there is none.
    :ivar dependencies: what the struct after it depends on.
    """

    clock: int
    position: int
    index: int
    content: int = 0
    dependencies: tuple[Id, ...] = ()


def find_barriers(run: Run, client: int, known: Mapping[int, int], large: int) -> Steps[list[Barrier]]:
    """Return the barriers in a client's run, in order, in steps; the last is the end of the run.

    :param known: for each client, the clock up to which structs were sent: they are no barriers.
    :param large: structs of more bytes are barriers in any case.
    """
    barriers: list[Barrier] = []
    # For each client, the clock up to which earlier structs of this run depend on it.
    required: dict[int, int] = {}
    index = 0
    for struct in read_structs_in_steps(run, client):
        if struct is None:
            yield
            continue
        dependencies: tuple[Id, ...] = ()
        for other, clock in _dependencies(run.data, struct):
            if other != client and clock >= required.get(other, 0):
                required[other] = clock + 1
                if clock >= known.get(other, 0):
                    dependencies = (*dependencies, (other, clock))
        is_large = struct.stop - struct.start > large
        if dependencies or is_large:
            content = struct.content if is_large else 0
            barriers.append(Barrier(struct.clock, struct.start, index, content, dependencies))
        index += 1
        if is_large:
            barriers.append(Barrier(struct.end, struct.stop, index))
    barriers.append(Barrier(run.end, len(run.data), run.count))
    return barriers


def _dependencies(data: bytes, struct: Struct) -> Iterator[Id]:
    """Iterate over the ids that a struct refers to."""
    position = struct.start
    info = data[position]
    position += 1
    if info & (ORIGIN | RIGHT_ORIGIN):
        count = 2 if info & ORIGIN and info & RIGHT_ORIGIN else 1
    elif info & KIND == GC or data[position] == 1:
        # A GC has no fields; 1 means that the parent is named.
        return
    else:
        position += 1
        count = 1
    for _ in range(count):
        client, position = read_var_uint(data, position)
        clock, position = read_var_uint(data, position)
        yield client, clock
