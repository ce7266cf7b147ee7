"""The work that a message causes grows linearly with its size, however it is crafted.

The executed lines of Python are counted.  This does not include work done in C, such as moving the elements of a list;
for attacks where that could be much, processor time is compared, with a generous tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from canvas_collab.document.compaction import compact
from canvas_collab.document.document import Document
from canvas_collab.document.merging import merge_updates
from canvas_collab.protocol import awareness as awareness_format
from canvas_collab.protocol.json_text import check_long_json
from canvas_collab.protocol.layout import decode_with_layout
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.steps import run_to_completion
from canvas_collab.protocol.update import Update, decode_update
from canvas_collab.rooms.awareness import LONG_STATE, Awareness
from tests.support.attacks.catalogue import SHAPES
from tests.support.attacks.shape import Container, Shape
from tests.support.cpu_cost import LimitExceeded, cpu_seconds, lines_executed

#: The sizes in bytes for which lines are counted, and for which time is measured; both are doubled, too.
COUNTED, TIMED = 8_000, 150_000

#: The limits on the growth when the size doubles.  Bisection takes one step more then.
STEPS_RATIO, TIME_RATIO = 2.3, 3.0

#: Less than this, in seconds and in lines, is not compared.
NEGLIGIBLE_SECONDS, NEGLIGIBLE_STEPS = 0.02, 1000

#: The limit on the lines for :data:`COUNTED` bytes.
MANY_STEPS = 2_000_000

#: Larger sizes for attacks whose work in C only shows then.
TIMED_FOR = {"gaps-interleaved": 400_000}

#: The limit on processor time, in seconds.
LIMIT = 8.0

_UPDATES = (Container.UPDATE, Container.STEP_2)


class _Sender:
    """The connection that sends an awareness update."""


def merged(shape: Shape, size: int) -> Callable[[], None]:
    """Return what a server does with an attack on a prepared document; the preparation is not measured."""
    stored = [decode_update(update) for update in shape.stored(size)]
    parts = shape.parts(size)

    def work() -> None:
        # Each measurement begins with the prepared document.
        document, refused = Document(stored), False
        for part in parts:
            try:
                if shape.container is Container.AWARENESS:
                    apply_awareness(part)
                elif shape.container is Container.STEP_1:
                    document.encode_diff(part)
                else:
                    update = decode_update(part, reject_poison=True)
                    document.lacks_any_of(update)
                    document.apply(update)
            except Malformed:
                refused = True
        # A message that is rejected early causes little work, and would prove nothing.
        assert refused == shape.refused

    return work


def apply_awareness(payload: bytes) -> None:
    """Do what a server does with an awareness message in an empty room."""
    entries = awareness_format.decode(payload)
    for entry in entries:
        if len(entry.state) > LONG_STATE:
            run_to_completion(check_long_json(entry.state))
    Awareness(10**9).apply(entries, _Sender(), "user", 0.0)


def accepted(shape: Shape, size: int) -> Iterator[Update]:
    """Iterate over the updates that are accepted."""
    yield from map(decode_update, shape.stored(size))
    for part in shape.parts(size):
        try:
            yield decode_update(part, reject_poison=True)
        except Malformed:
            assert shape.refused


def broadcast(shape: Shape, size: int) -> Callable[[], None]:
    """Return what is done with updates when they are broadcast together, stored and loaded."""
    updates = list(accepted(shape, size))

    def work() -> None:
        document = Document([decode_update(merge_updates(updates))])
        clocks = {client: clock // 2 for client, clock in document.clocks.items()}
        document.diff(clocks)
        decode_with_layout(document.encode(), document.layout)

    return work


def compacted(shape: Shape, size: int) -> Callable[[], None]:
    """Return what is done to compact a document with deletions."""
    document = Document()
    for update in accepted(shape, size):
        document.apply(update)

    def compact_all() -> None:
        compact(document.as_update(), document.deletions)

    return compact_all


WORK = {"merged": merged, "broadcast": broadcast, "compacted": compacted}

COUNTABLE = [
    pytest.param(shape, work, id=f"{shape.name}-{work.replace(' ', '-')}")
    for shape in SHAPES.values()
    if shape.container in (*_UPDATES, Container.STEP_1, Container.AWARENESS) and not shape.name.startswith("hocuspocus")
    for work in (WORK if shape.container in _UPDATES else ("merged",))
]


@pytest.mark.parametrize(("shape", "work"), COUNTABLE)
def test_twice_the_bytes_are_twice_the_steps(shape: Shape, work: str) -> None:
    steps = lines_executed(WORK[work](shape, COUNTED), limit=MANY_STEPS)
    limit = max(STEPS_RATIO * steps, NEGLIGIBLE_STEPS)
    twice = lines_executed(WORK[work](shape, 2 * COUNTED), limit=2 * MANY_STEPS)
    if twice > limit:
        # Small sizes may be handled in another way, so one jump is allowed, but not two in a row.
        lines_executed(WORK[work](shape, 4 * COUNTED), limit=STEPS_RATIO * twice)


#: The attacks that could cause much work in C: insertions into lists, slicing and copying bytes, texts.
TIMEABLE = [
    name
    for name, shape in SHAPES.items()
    if shape.container is not Container.STEP_2
    and name.startswith(("deletions", "gaps", "every", "half", "growing", "json", "text", "vector", "awareness-blank"))
]


@pytest.mark.parametrize("name", TIMEABLE)
def test_twice_the_bytes_take_about_twice_the_time(name: str) -> None:
    shape = SHAPES[name]
    size = TIMED_FOR.get(name, TIMED)
    once = cpu_seconds(merged(shape, size), LIMIT)
    twice = cpu_seconds(merged(shape, 2 * size), TIME_RATIO * LIMIT)
    assert twice <= max(TIME_RATIO * once, NEGLIGIBLE_SECONDS), f"{once:.3f} s, then {twice:.3f} s"


def test_work_that_grows_faster_is_detected() -> None:
    def pairs(count: int) -> Callable[[], object]:
        return lambda: [first for first in range(count) for second in range(count) if first == second]

    def inserted(count: int) -> Callable[[], object]:
        def insert() -> None:
            numbers: list[int] = []
            for number in range(count):
                numbers.insert(0, number)

        return insert

    def loop(count: int) -> Callable[[], object]:
        def run() -> None:
            for first in range(count):
                for second in range(first):
                    _ = second

        return run

    steps = lines_executed(loop(40))
    with pytest.raises(LimitExceeded):
        lines_executed(loop(80), limit=STEPS_RATIO * steps)
    assert cpu_seconds(inserted(100_000), LIMIT) > TIME_RATIO * cpu_seconds(inserted(50_000), LIMIT)
    with pytest.raises(LimitExceeded):
        cpu_seconds(pairs(10**5), 0.05)
