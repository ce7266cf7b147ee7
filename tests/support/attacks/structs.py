"""Shapes of updates: very many structs, authors or gaps, and known clocks in other structs than before."""

from __future__ import annotations

from functools import partial

from tests.support.attacks.encoding import (
    AUTHOR,
    FOUR_BYTES,
    GC,
    SKIP,
    item,
    letters,
    section,
    string,
    update,
    var,
    wide,
)
from tests.support.attacks.shape import Container, Maker, Shape

_STRING, _ANY, _JSON, _DELETED = 4, 8, 2, 1
_ONE_GC = GC + b"\x01"
_ONE_SKIP = SKIP + b"\x01"
_GAP = _ONE_GC + _ONE_SKIP


def authors(size: int, struct: bytes = _ONE_GC) -> list[bytes]:
    """Very many authors, each with one struct."""
    each = 6 + len(struct)
    count = size // each
    sections = b"".join(b"\x01" + wide(FOUR_BYTES + number) + b"\0" + struct for number in range(count))
    return [var(count) + sections + b"\0"]


def known_authors(size: int) -> list[bytes]:
    """Authors for the document before; no more than a document may have."""
    return authors(min(size, 700_000))


def authors_of_nothing(size: int) -> list[bytes]:
    """Very many authors without a struct."""
    count = size // 6
    return [var(count) + b"".join(b"\0" + wide(FOUR_BYTES + number) + b"\0" for number in range(count)) + b"\0"]


def author_of_nothing_again(size: int) -> list[bytes]:
    """One author, very many times without a struct."""
    count = size // 6
    return [var(count) + (b"\0" + var(AUTHOR) + b"\0") * count + b"\0"]


def collected(size: int) -> list[bytes]:
    """Very many garbage-collected stretches, each of one clock."""
    count = (size - 16) // 2
    return [update(section(_ONE_GC * count, count))]


def collected_then_broken(size: int) -> list[bytes]:
    """The same, with a last struct that is malformed."""
    count = (size - 16) // 2
    return [update(section(_ONE_GC * (count - 1) + b"\x1f\x01", count))]


def typed(size: int) -> list[bytes]:
    """Very many characters, typed one by one."""
    count = (size - 32) // 11
    head = item(_STRING, string(b"x"))
    author = wide(AUTHOR)
    rest = b"".join(b"\x84" + author + wide(FOUR_BYTES + number) + b"\x01x" for number in range(count - 1))
    return [update(section(head + rest, count, clock=FOUR_BYTES))]


def keys(size: int) -> list[bytes]:
    """Very many values of a map, under other keys each."""
    count = (size - 32) // 11
    structs = b"".join(b"\x28\x01\x01m\x04" + letters(number) + b"\x01\x78" for number in range(count))
    return [update(section(structs, count))]


def gaps(size: int, first: bytes = _ONE_GC, clock: int = 0) -> list[bytes]:
    """Structs of one clock with a gap of one clock behind each."""
    count = (size - 16) // (len(first) + 2)
    return [update(section((first + _ONE_SKIP) * count, 2 * count, clock=clock))]


def known_gaps(size: int) -> list[bytes]:
    """Gaps for the document before; no more than a document may have."""
    return gaps(min(size, 400_000))


def other_gaps(size: int) -> list[bytes]:
    """The same at the clocks of the gaps."""
    return gaps(size, clock=1)


def widening_gaps(size: int) -> list[bytes]:
    """Three updates of one author with gaps that interleave."""
    count = (size - 16) // 4
    pair = GC + b"\x01" + SKIP + b"\x03"
    return [update(section(pair * count, 2 * count, clock=clock)) for clock in (0, 2, 1)]


def piece_of_nothing(size: int) -> list[bytes]:
    """One garbage-collected stretch over all the gaps."""
    return [update(section(GC + var((size - 16) // 2), 1))]


def piece_of_text(size: int, character: bytes = b"x") -> list[bytes]:
    """One string over all the gaps."""
    count = (size - 32) // len(character)
    return [update(section(item(_STRING, string(character * count)), 1))]


def piece_of_values(size: int) -> list[bytes]:
    """One list of values over all the gaps."""
    count = size - 32
    return [update(section(item(_ANY, var(count) + b"\x78" * count), 1))]


def piece_of_texts(size: int) -> list[bytes]:
    """One list of JSON texts over all the gaps."""
    count = (size - 32) // 2
    return [update(section(item(_JSON, var(count) + b"\x011" * count), 1))]


def pieces(size: int) -> list[bytes]:
    """All clocks again, in structs of one clock."""
    count = (size - 16) // 2
    return [update(section(_ONE_GC * count, count))]


def backwards(size: int) -> list[bytes]:
    """Many updates of one struct each, in descending order of clocks."""
    count = min(size // 64, 4000)
    return [update(section(_ONE_GC, 1, clock=2 * (count - number))) for number in range(count)]


def deleted_stretches(size: int) -> list[bytes]:
    """Very many deleted items of one clock."""
    struct = item(_DELETED, b"\x01")
    count = (size - 16) // len(struct)
    return [update(section(struct * count, count))]


def trailing(size: int) -> list[bytes]:
    """A tiny update followed by further bytes."""
    head = update(section(item(_STRING, b"\x01x"), 1))
    return [head + b"\xff" * (size - len(head))]


def counts(size: int) -> list[bytes]:
    """Updates with counts of 2**53 - 1 and nothing behind them."""
    huge = var(2**53 - 1)
    return [huge, b"\x01" + huge + var(AUTHOR) + b"\0" + GC, b"\0" + huge, b"\0\x01" + var(AUTHOR) + huge]


def halves(size: int) -> list[bytes]:
    """The first half of a list of values, then all of it."""
    half = piece_of_values(size // 2)
    return [*half, *piece_of_values(size)]


def growing(size: int) -> list[bytes]:
    """A string, and the same string again with a little more each time."""
    return [piece_of_text(size - 1000 + step * 10)[0] for step in range(10)]


def _shape(
    name: str,
    title: str,
    make: Maker,
    before: Maker | None = None,
    container: Container = Container.UPDATE,
    refused: bool = False,
) -> Shape:
    return Shape(name, title, container, make, before, refused=refused)


_text_item = item(_STRING, b"\x01x")

SHAPES = (
    _shape("authors", "millions of authors, each with one struct", authors),
    _shape("authors-of-text", "very many authors, each with one character", partial(authors, struct=_text_item)),
    _shape("authors-of-nothing", "millions of authors without a struct", authors_of_nothing),
    _shape("author-again", "one author millions of times, without a struct", author_of_nothing_again, refused=True),
    _shape("collected", "millions of garbage-collected structs", collected),
    _shape(
        "collected-broken",
        "millions of garbage-collected structs, the last one broken",
        collected_then_broken,
        refused=True,
    ),
    _shape("typed", "a million characters, typed one by one", typed),
    _shape("keys", "a million keys of a map", keys),
    _shape("deleted-stretches", "millions of deleted items", deleted_stretches),
    _shape("gaps", "structs and gaps in turn", gaps),
    _shape("gaps-of-text", "characters and gaps in turn", partial(gaps, first=_text_item)),
    _shape("gaps-again", "gaps that are known, again", gaps, known_gaps),
    _shape("gaps-filled", "a message that fills the gaps of another, struct by struct", other_gaps, known_gaps),
    _shape("gaps-interleaved", "three messages whose gaps interleave", widening_gaps),
    _shape("gaps-one-stretch", "one garbage-collected stretch over many gaps", piece_of_nothing, known_gaps),
    _shape("gaps-one-text", "one string over many gaps", piece_of_text, known_gaps),
    _shape(
        "gaps-one-emoji-text",
        "one string of emoji over many gaps, which cut them in half",
        partial(piece_of_text, character="\N{GRINNING FACE}".encode()),
        known_gaps,
    ),
    _shape("gaps-one-list", "one list of values over many gaps", piece_of_values, known_gaps),
    _shape("gaps-one-json-list", "one list of JSON texts over many gaps", piece_of_texts, known_gaps),
    _shape("every-second-known", "a run again of which every second struct is known", pieces, known_gaps),
    _shape("backwards", "thousands of updates, the last clock first", backwards),
    _shape("half-known", "a list of values of which half is known", halves),
    _shape("growing-text", "one string, again and again with a little more", growing),
    _shape("trailing-bytes", "a tiny update with megabytes behind it", trailing),
    _shape("counts", "counts of 2**53 - 1 with nothing there", counts, refused=True),
    _shape("nothing-new", "a step 2 with nothing new", collected, collected, Container.STEP_2),
    _shape(
        "nothing-new-authors",
        "a step 2 of a million authors with nothing new",
        authors,
        known_authors,
        Container.STEP_2,
    ),
    _shape("nothing-new-gaps", "a step 2 with nothing new and gaps", gaps, known_gaps, Container.STEP_2),
    _shape("step-2-authors", "millions of authors in a step 2", authors, None, Container.STEP_2),
    _shape("step-2-gaps", "gaps over gaps in a step 2", other_gaps, known_gaps, Container.STEP_2),
)
