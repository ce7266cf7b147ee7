"""State vectors and awareness."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from canvas_collab.protocol import sync
from tests.support.attacks.encoding import AUTHOR, FOUR_BYTES, frame, string, var, wide
from tests.support.attacks.shape import Container, Maker, Shape
from tests.support.attacks.structs import collected, known_authors, known_gaps, piece_of_text, typed
from tests.support.attacks.values import json_nested, json_numbers, json_open

#: Within any limit on awareness that a server may have by default.
_SMALL, _LARGE = 64 * 2**10, 2**20

_BEYOND = b"\x01" + wide(AUTHOR) + b"\x01"


def vector(size: int) -> list[bytes]:
    """A state vector of very many authors; those of :func:`~tests.support.attacks.structs.authors` first."""
    count = size // 5
    return [var(count) + b"".join(wide(FOUR_BYTES + number) + b"\x01" for number in range(count))]


def vector_again(size: int) -> list[bytes]:
    """One author very many times."""
    count = size // 5
    return [var(count) + (wide(AUTHOR) + b"\x01") * count]


def vector_then_broken(size: int) -> list[bytes]:
    """One entry more is announced than there are."""
    count = size // 5
    return [var(count + 1) + b"".join(wide(FOUR_BYTES + number) + b"\x01" for number in range(count))]


def vector_trailing(size: int) -> list[bytes]:
    """A state vector with bytes behind it."""
    return [_BEYOND + b"\0" * (size - len(_BEYOND))]


def questions(size: int) -> list[bytes]:
    """A hundred small questions, each answered with all of a large document."""
    return [frame(sync.encode_step_1(_BEYOND)) * 100]


def whole_questions(size: int) -> list[bytes]:
    """A hundred times the question of somebody who has nothing."""
    return [frame(sync.encode_step_1(b"\0")) * 100]


def present(size: int, state: bytes = b"{}") -> list[bytes]:
    """Very many clients, each with a small state."""
    each = 5 + len(string(state))
    count = size // each
    entries = b"".join(wide(FOUR_BYTES + number) + b"\x01" + string(state) for number in range(count))
    return [var(count) + entries]


def left(size: int) -> list[bytes]:
    """Very many clients that nobody knows, and who have left."""
    return present(size, b"null")


def renewed(size: int) -> list[bytes]:
    """One client very many times, each time with a higher clock."""
    count = size // 11
    entries = b"".join(wide(AUTHOR) + wide(FOUR_BYTES + number) + b"\x02{}" for number in range(count))
    return [var(count) + entries]


def shown(size: int, json: Callable[[int], bytes]) -> list[bytes]:
    """One client with one large state."""
    return [b"\x01" + wide(AUTHOR) + b"\x01" + string(json(size - 64))]


def announced(size: int) -> list[bytes]:
    """A count of 2**53 - 1 clients, and none there."""
    return [var(2**53 - 1)]


def blank(size: int) -> bytes:
    """Whitespace around what says that a client has left."""
    return b" " * (size - 4) + b"null"


def _ask(name: str, title: str, make: Maker, before: Maker | None = None, refused: bool = False) -> Shape:
    return Shape(name, title, Container.STEP_1, make, before, refused=refused)


def _show(name: str, title: str, make: Maker, largest: int = 2**62, refused: bool = False) -> Shape:
    return Shape(name, title, Container.AWARENESS, make, largest=largest, refused=refused)


SHAPES = (
    _ask("vector", "a state vector of millions of authors", vector),
    _ask("vector-known", "a state vector of millions of authors, many of them in the document", vector, known_authors),
    _ask("vector-again", "a state vector of one author millions of times", vector_again),
    _ask(
        "vector-broken", "a state vector of millions of authors that ends too early", vector_then_broken, refused=True
    ),
    _ask("vector-trailing", "a state vector with megabytes behind it", vector_trailing, refused=True),
    _ask("vector-in-text", "a state vector that ends inside a long string", lambda size: [_BEYOND], piece_of_text),
    _ask("vector-gaps", "a small state vector, answered from a document of gaps", lambda size: [_BEYOND], known_gaps),
    Shape("questions", "a hundred small questions for a large document", Container.FRAMES, questions, typed),
    Shape(
        "whole-questions",
        "a hundred questions for a whole large document",
        Container.FRAMES,
        whole_questions,
        collected,
    ),
    _show("awareness-too-large", "awareness of millions of clients", present),
    _show(
        "awareness-one-too-large",
        "awareness of one client with a huge state",
        partial(shown, json=json_numbers),
    ),
    _show("awareness-clients", "awareness of very many clients, within the limit", present, _SMALL),
    _show("awareness-clients-large", "awareness of very many clients, within a limit of 1 MiB", present, _LARGE),
    _show("awareness-left", "awareness of very many unknown clients that have left", left, _LARGE),
    _show("awareness-renewed", "awareness of one client, again and again", renewed, _LARGE),
    _show("awareness-numbers", "awareness with a large state", partial(shown, json=json_numbers), _LARGE),
    _show("awareness-nested", "awareness with a deeply nested state", partial(shown, json=json_nested), _LARGE),
    _show("awareness-open", "awareness with nothing but brackets", partial(shown, json=json_open), _LARGE, True),
    _show("awareness-blank", "awareness with much whitespace", partial(shown, json=blank), _LARGE),
    _show("awareness-announced", "awareness that announces 2**53 - 1 clients", announced, refused=True),
)
