"""What a message costs grows with its bytes and no faster, however it is made: twice as large, twice the work.

Steps are counted, not timed, as far as they are Python's own.  What is done in C, such as moving what lies behind in a
list, is not seen that way; for shapes where that could be much, processor time is compared, generously.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from canvas_collab.document.compaction import compact
from canvas_collab.document.document import Document, merge_updates
from canvas_collab.protocol import awareness as awareness_format
from canvas_collab.protocol.json_text import check_long_json
from canvas_collab.protocol.layout import decode_laid_out
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.steps import complete
from canvas_collab.protocol.update import Update, decode_update
from canvas_collab.rooms.awareness import LONG, Awareness
from tests.support.attacks.catalogue import SHAPES
from tests.support.attacks.shape import Container, Shape
from tests.support.cpu_cost import LimitExceeded, cpu_seconds, lines_executed

#: The sizes in bytes for which steps are counted, and for which time is measured: these and twice these.
COUNTED, TIMED = 8_000, 150_000

#: Bisection adds a step each time that what is searched doubles.
STEPS_RATIO, TIME_RATIO = 2.3, 3.0

#: So much less than this, in seconds and in steps, is no growth to speak of.
NEGLIGIBLE_SECONDS, NEGLIGIBLE_STEPS = 0.02, 1000

#: So many for :data:`COUNTED` bytes are too many, however they grow.
MANY_STEPS = 2_000_000

#: Where what is done in C is little beside Python's own steps until there is much of it, time is measured for more.
TIMED_FOR = {"gaps-interleaved": 400_000}

#: Nothing takes so long, in seconds of processor time, for so many bytes.
LIMIT = 8.0

_UPDATES = (Container.UPDATE, Container.STEP_2)


class _Sender:
    """Whose awareness it is."""


def taken_in(shape: Shape, size: int) -> Callable[[], None]:
    """What a server does with an attack on a document that holds what is before it; made outside of the measurement."""
    stored = [decode_update(update) for update in shape.stored(size)]
    parts = shape.parts(size)

    def merge_new() -> None:
        # Each measurement begins with a document as it was before.
        document, refused = Document(stored), False
        for part in parts:
            try:
                if shape.container is Container.AWARENESS:
                    show(part)
                elif shape.container is Container.STEP_1:
                    document.encode_diff(part)
                else:
                    update = decode_update(part, is_new=True)
                    document.lacks_any_of(update)
                    document.apply(update)
            except Malformed:
                refused = True
        # What is refused early costs little, and would say nothing of what is accepted.
        assert refused == shape.refused

    return merge_new


def show(payload: bytes) -> None:
    """What a server does with an awareness message in an empty room."""
    entries = awareness_format.decode(payload)
    for entry in entries:
        if len(entry.state) > LONG:
            complete(check_long_json(entry.state))
    Awareness(10**9).apply(entries, _Sender(), "user", 0.0)


def accepted(shape: Shape, size: int) -> Iterator[Update]:
    """The updates that are in a document afterwards."""
    yield from map(decode_update, shape.stored(size))
    for part in shape.parts(size):
        try:
            yield decode_update(part, is_new=True)
        except Malformed:
            assert shape.refused


def gathered(shape: Shape, size: int) -> Callable[[], None]:
    """What is done with updates when they are sent on together, stored and loaded."""
    updates = list(accepted(shape, size))

    def gather() -> None:
        document = Document([decode_update(merge_updates(updates))])
        clocks = {client: clock // 2 for client, clock in document.clocks.items()}
        document.diff(clocks)
        decode_laid_out(document.encode(), document.layout)

    return gather


def compacted(shape: Shape, size: int) -> Callable[[], None]:
    """What is done when what was deleted may go."""
    document = Document()
    for update in accepted(shape, size):
        document.apply(update)
    return lambda: compact(document.as_update(), document.deletions) and None


WORK = {"taken in": taken_in, "gathered": gathered, "compacted": compacted}

COUNTABLE = [
    pytest.param(shape, work, id=f"{shape.name}-{work.replace(' ', '-')}")
    for shape in SHAPES.values()
    if shape.container in (*_UPDATES, Container.STEP_1, Container.AWARENESS) and not shape.name.startswith("hocuspocus")
    for work in (WORK if shape.container in _UPDATES else ("taken in",))
]


@pytest.mark.parametrize(("shape", "work"), COUNTABLE)
def test_twice_the_bytes_are_twice_the_steps(shape: Shape, work: str) -> None:
    steps = lines_executed(WORK[work](shape, COUNTED), limit=MANY_STEPS)
    limit = max(STEPS_RATIO * steps, NEGLIGIBLE_STEPS)
    twice = lines_executed(WORK[work](shape, 2 * COUNTED), limit=2 * MANY_STEPS)
    if twice > limit:
        # What is small may be done in another way, so there may be a leap; but there are no two in a row.
        lines_executed(WORK[work](shape, 4 * COUNTED), limit=STEPS_RATIO * twice)


#: What could be slow in C: lists into which much is put, bytes that are cut or copied again and again, texts.
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
    once = cpu_seconds(taken_in(shape, size), LIMIT)
    twice = cpu_seconds(taken_in(shape, 2 * size), TIME_RATIO * LIMIT)
    assert twice <= max(TIME_RATIO * once, NEGLIGIBLE_SECONDS), f"{once:.3f} s, then {twice:.3f} s"


def test_work_that_grows_faster_is_noticed() -> None:
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
