"""Shapes of delete sets: many ranges, in other orders than Yjs writes them, over and beside known ones."""

from __future__ import annotations

import random

from tests.support.attacks.encoding import AUTHOR, FOUR_BYTES, deletions, item, section, string, update, var, wide
from tests.support.attacks.shape import Container, Maker, Shape

#: How many bytes a range takes.
_RANGE = 5


def _count(size: int) -> int:
    return (size - 32) // _RANGE


def ascending(size: int, first: int = FOUR_BYTES) -> list[bytes]:
    """Ranges in ascending order, as Yjs writes them."""
    count = _count(size)
    return [update(deletions=deletions(((first + 2 * number, 1) for number in range(count)), count))]


def between(size: int) -> list[bytes]:
    """The clocks between those of :func:`ascending`."""
    return ascending(size, FOUR_BYTES + 1)


def descending(size: int) -> list[bytes]:
    """Ranges in descending order."""
    count = _count(size)
    return [update(deletions=deletions(((FOUR_BYTES + 2 * (count - number), 1) for number in range(count)), count))]


def shuffled(size: int) -> list[bytes]:
    """Ranges in random order."""
    count = _count(size)
    starts = [FOUR_BYTES + 2 * number for number in range(count)]
    random.Random(1).shuffle(starts)
    return [update(deletions=deletions(((start, 1) for start in starts), count))]


def from_both_ends(size: int) -> list[bytes]:
    """Ranges from both ends: the first, the last, the second, the last but one, and so on."""
    count = _count(size)
    order = (number // 2 if number % 2 else count - 1 - number // 2 for number in range(count))
    return [update(deletions=deletions(((FOUR_BYTES + 2 * number, 1) for number in order), count))]


def overlapping(size: int) -> list[bytes]:
    """Ranges in descending order, each of which overlaps the next hundred."""
    count = _count(size)
    return [update(deletions=deletions(((FOUR_BYTES + (count - number), 100) for number in range(count)), count))]


def swallowing(size: int) -> list[bytes]:
    """Ranges of which every thousandth covers the thousand before it."""
    count = _count(size) - _count(size) // 1000
    parts = []
    for number in range(count):
        parts.append(wide(FOUR_BYTES + 2 * number) + b"\x01")
        if number % 1000 == 999:
            parts.append(wide(FOUR_BYTES + 2 * (number - 999)) + var(2000))
    return [update(deletions=b"\x01" + var(AUTHOR) + var(len(parts)) + b"".join(parts))]


def one_author_again(size: int) -> list[bytes]:
    """Ranges in descending order, each with its author anew."""
    count = (size - 32) // 10
    head = wide(AUTHOR) + b"\x01"
    parts = b"".join(head + wide(FOUR_BYTES + 2 * (count - number)) + b"\x01" for number in range(count))
    return [update(deletions=var(count) + parts)]


def many_authors(size: int) -> list[bytes]:
    """Very many authors with one range each."""
    count = (size - 32) // 7
    parts = b"".join(wide(FOUR_BYTES + number) + b"\x01\0\x01" for number in range(count))
    return [update(deletions=var(count) + parts)]


def many_authors_of_nothing(size: int) -> list[bytes]:
    """Very many authors without a range."""
    count = (size - 32) // 5
    parts = b"".join(wide(FOUR_BYTES + number) + b"\0" for number in range(count))
    return [update(deletions=var(count) + parts)]


def text(size: int) -> list[bytes]:
    """One string from :data:`FOUR_BYTES` on, with two characters for each range of :func:`ascending`."""
    return [update(section(item(4, string(b"x" * (2 * _count(size)))), 1, clock=FOUR_BYTES))]


def values(size: int) -> list[bytes]:
    """One list of values at the same clocks."""
    count = 2 * _count(size)
    return [update(section(item(8, var(count) + b"\x78" * count), 1, clock=FOUR_BYTES))]


def cycle(size: int) -> list[bytes]:
    """Two items, each of which has the other as its origin, and their deletion."""
    one, other = wide(FOUR_BYTES + 1), wide(FOUR_BYTES + 2)
    sections = [
        var(1) + author + b"\0" + b"\x84" + origin + b"\0" + b"\x01x" for author, origin in ((one, other), (other, one))
    ]
    deleted = b"".join(author + b"\x01\0\x01" for author in (one, other))
    return [update(*sections, deletions=b"\x02" + deleted)]


def one_large(size: int) -> list[bytes]:
    """A tiny update that deletes all clocks."""
    return [update(deletions=b"\x01" + var(AUTHOR) + b"\x01\0" + var(2**32 - 2))]


def _shape(
    name: str, title: str, make: Maker, before: Maker | None = None, container: Container = Container.UPDATE
) -> Shape:
    return Shape(name, title, container, make, before)


SHAPES = (
    _shape("deletions", "millions of deleted ranges", ascending),
    _shape("deletions-descending", "deleted ranges, the last one first", descending),
    _shape("deletions-shuffled", "deleted ranges in no order", shuffled),
    _shape("deletions-both-ends", "deleted ranges from both ends", from_both_ends),
    _shape("deletions-overlapping", "deleted ranges that overlap, the last one first", overlapping),
    _shape("deletions-swallowing", "deleted ranges that swallow a thousand others each", swallowing),
    _shape("deletions-author-again", "one author named anew for each deleted range", one_author_again),
    _shape("deletions-authors", "millions of authors with one deleted range each", many_authors),
    _shape("deletions-authors-of-nothing", "millions of authors without a deleted range", many_authors_of_nothing),
    _shape("deletions-again", "deleted ranges that are known, again", ascending, ascending),
    _shape("deletions-between", "deleted ranges between known ones", between, ascending),
    _shape("deletions-over-all", "one deleted range over millions of known ones", one_large, ascending),
    _shape("deletions-in-text", "every second character of a string is deleted", ascending, text),
    _shape("deletions-in-list", "every second value of a list is deleted", ascending, values),
    Shape(
        "deletions-in-small-text",
        "every second character of a string of 40 kB is deleted",
        Container.UPDATE,
        ascending,
        text,
        largest=100_000,
    ),
    _shape("origin-cycle", "two items, each inserted behind the other, and deleted", cycle),
    _shape("deletions-step-2", "deleted ranges between known ones in a step 2", between, ascending, Container.STEP_2),
    _shape(
        "deletions-descending-step-2",
        "a step 2 of deleted ranges, last one first",
        descending,
        None,
        Container.STEP_2,
    ),
)
