"""Checking JSON texts: both checks agree, and the one in steps takes a bounded number of steps."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.protocol.json_text import MAX_NESTING, check_json, check_long_json
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.steps import run_to_completion

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)

#: Pieces that mutations insert.
PIECES = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"',
    "\\",
    "\\u12",
    "1",
    "-",
    "0",
    ".",
    "e",
    " ",
    "\t",
    "\x00",
    "\n",
    "tru",
    "é",
]


def accepted(text: str) -> tuple[bool, bool]:
    """Return whether each of the two checks accepts a text."""
    found = []
    for check in (check_json, lambda text: run_to_completion(check_long_json(text))):
        try:
            check(text)
            found.append(True)
        except Malformed:
            found.append(False)
    return found[0], found[1]


@given(VALUES, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_json_is_accepted_by_both_checks(value: object, ascii_only: bool, indent: int | str | None) -> None:
    assert accepted(json.dumps(value, ensure_ascii=ascii_only, indent=indent)) == (True, True)


@given(VALUES, st.integers(0, 2**32))
def test_both_checks_agree_on_mutated_texts(value: object, seed: int) -> None:
    chance = random.Random(seed)
    text = json.dumps(value, ensure_ascii=chance.random() < 0.5)
    for _ in range(chance.randint(1, 3)):
        place = chance.randint(0, len(text))
        text = text[:place] + chance.choice(PIECES) + text[place + chance.randint(0, 2) :]
    one, other = accepted(text)
    assert one == other


@pytest.mark.parametrize(
    "text", ["", " ", "01", "1.", "[1,]", '{"a":1,}', "[1 2]", '{"a" 1}', "{1:2}", '"\x01"', "]", "NaN"]
)
def test_other_texts_are_rejected_by_both_checks(text: str) -> None:
    assert accepted(text) == (False, False)


@pytest.mark.parametrize("depth", [MAX_NESTING, MAX_NESTING + 1])
def test_the_depth_of_nesting_is_limited(depth: int) -> None:
    assert accepted("[" * depth + "]" * depth) == (depth == MAX_NESTING,) * 2


@pytest.mark.parametrize(
    "text",
    ["[" + "0," * 200_000 + "0]", '"' + "\\n" * 300_000 + '"', '{"' + "a" * 10**6 + '":[]}', " " * 10**6 + "1"],
    ids=["numbers", "escapes", "a long key", "whitespace"],
)
def test_a_long_text_is_checked_in_many_steps(text: str) -> None:
    steps = sum(1 for _ in check_long_json(text))
    assert steps <= 1000
    assert accepted(text) == (True, True)


@pytest.mark.parametrize("state", ['{"user":{"name":"Ada"}}', "null", "[]", '"\\ud800"', "1e999"])
def test_texts_that_a_browser_parses_are_accepted(state: str) -> None:
    check_json(state)


@pytest.mark.parametrize("state", ["", "{", "NaN", "[Infinity]", "-Infinity", "undefined", "[" * 100_000, "'a'"])
def test_texts_that_a_browser_does_not_parse_are_rejected(state: str) -> None:
    with pytest.raises(Malformed):
        check_json(state)
