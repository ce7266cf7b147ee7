"""Shapes of state vectors and awareness updates."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from canvas_collab.protocol import sync
from tests.support.attacks.encoding import AUTHOR, FOUR_BYTES, frame, string, var, wide
from tests.support.attacks.shape import Container, Maker, Shape
from tests.support.attacks.structs import collected, known_authors, known_gaps, piece_of_text, typed
from tests.support.attacks.values import json_nested, json_numbers, json_open

#: Sizes within the default limit of awareness, and within a larger one.
_SMALL, _LARGE = 64 * 2**10, 2**20

#: A state vector of one author, who is not in the document, so that it is answered with all of it.
_BEYOND = b"\x01" + wide(AUTHOR) + b"\x01"


def state_vector(size: int) -> list[bytes]:
    """A state vector of very many authors; those of :func:`~tests.support.attacks.structs.authors` first."""
    count = size // 5
    return [var(count) + b"".join(wide(FOUR_BYTES + number) + b"\x01" for number in range(count))]


def state_vector_repeated(size: int) -> list[bytes]:
    """One author very many times."""
    count = size // 5
    return [var(count) + (wide(AUTHOR) + b"\x01") * count]


def state_vector_too_short(size: int) -> list[bytes]:
    """A state vector that has one entry less than its count says."""
    count = size // 5
    return [var(count + 1) + b"".join(wide(FOUR_BYTES + number) + b"\x01" for number in range(count))]


def state_vector_trailing(size: int) -> list[bytes]:
    """A state vector followed by further bytes."""
    return [_BEYOND + b"\0" * (size - len(_BEYOND))]


def small_queries(size: int) -> list[bytes]:
    """A hundred sync steps 1, each answered with all of a large document."""
    return [frame(sync.encode_step_1(_BEYOND)) * 100]


def full_queries(size: int) -> list[bytes]:
    """A hundred sync steps 1 with an empty state vector."""
    return [frame(sync.encode_step_1(b"\0")) * 100]


def awareness_clients(size: int, state: bytes = b"{}") -> list[bytes]:
    """Very many clients, each with a small state."""
    each = 5 + len(string(state))
    count = size // each
    entries = b"".join(wide(FOUR_BYTES + number) + b"\x01" + string(state) for number in range(count))
    return [var(count) + entries]


def awareness_left(size: int) -> list[bytes]:
    """Very many unknown clients that have left."""
    return awareness_clients(size, b"null")


def awareness_renewed(size: int) -> list[bytes]:
    """One client very many times, each time with a higher clock."""
    count = size // 11
    entries = b"".join(wide(AUTHOR) + wide(FOUR_BYTES + number) + b"\x02{}" for number in range(count))
    return [var(count) + entries]


def awareness_state(size: int, json: Callable[[int], bytes]) -> list[bytes]:
    """One client with one large state."""
    return [b"\x01" + wide(AUTHOR) + b"\x01" + string(json(size - 64))]


def awareness_count_only(size: int) -> list[bytes]:
    """A count of 2**53 - 1 clients without an entry."""
    return [var(2**53 - 1)]


def json_blank(size: int) -> bytes:
    """Whitespace before the state of a client that has left."""
    return b" " * (size - 4) + b"null"


def _query_shape(name: str, title: str, make: Maker, before: Maker | None = None, refused: bool = False) -> Shape:
    return Shape(name, title, Container.STEP_1, make, before, refused=refused)


def _awareness_shape(name: str, title: str, make: Maker, largest: int = 2**62, refused: bool = False) -> Shape:
    return Shape(name, title, Container.AWARENESS, make, largest=largest, refused=refused)


SHAPES = (
    _query_shape("vector", "a state vector of millions of authors", state_vector),
    _query_shape(
        "vector-known",
        "a state vector of millions of authors, many of them in the document",
        state_vector,
        known_authors,
    ),
    _query_shape("vector-again", "a state vector of one author millions of times", state_vector_repeated),
    _query_shape(
        "vector-broken",
        "a state vector of millions of authors that ends too early",
        state_vector_too_short,
        refused=True,
    ),
    _query_shape("vector-trailing", "a state vector with megabytes behind it", state_vector_trailing, refused=True),
    _query_shape(
        "vector-in-text", "a state vector that ends inside a long string", lambda size: [_BEYOND], piece_of_text
    ),
    _query_shape(
        "vector-gaps", "a small state vector, answered from a document of gaps", lambda size: [_BEYOND], known_gaps
    ),
    Shape("questions", "a hundred small questions for a large document", Container.FRAMES, small_queries, typed),
    Shape(
        "whole-questions",
        "a hundred questions for a whole large document",
        Container.FRAMES,
        full_queries,
        collected,
    ),
    _awareness_shape("awareness-too-large", "awareness of millions of clients", awareness_clients),
    _awareness_shape(
        "awareness-one-too-large",
        "awareness of one client with a huge state",
        partial(awareness_state, json=json_numbers),
    ),
    _awareness_shape(
        "awareness-clients", "awareness of very many clients, within the limit", awareness_clients, _SMALL
    ),
    _awareness_shape(
        "awareness-clients-large", "awareness of very many clients, within a limit of 1 MiB", awareness_clients, _LARGE
    ),
    _awareness_shape("awareness-left", "awareness of very many unknown clients that have left", awareness_left, _LARGE),
    _awareness_shape("awareness-renewed", "awareness of one client, again and again", awareness_renewed, _LARGE),
    _awareness_shape(
        "awareness-numbers", "awareness with a large state", partial(awareness_state, json=json_numbers), _LARGE
    ),
    _awareness_shape(
        "awareness-nested", "awareness with a deeply nested state", partial(awareness_state, json=json_nested), _LARGE
    ),
    _awareness_shape(
        "awareness-open", "awareness with nothing but brackets", partial(awareness_state, json=json_open), _LARGE, True
    ),
    _awareness_shape(
        "awareness-blank", "awareness with much whitespace", partial(awareness_state, json=json_blank), _LARGE
    ),
    _awareness_shape(
        "awareness-announced", "awareness that announces 2**53 - 1 clients", awareness_count_only, refused=True
    ),
)
