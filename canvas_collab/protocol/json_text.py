"""Checks that a text is JSON that a browser's ``JSON.parse`` accepts."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Final, NoReturn

from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.steps import VALUES_PER_STEP, Steps

#: How deeply values may be nested; a browser's stack overflows somewhere above.
MAX_NESTING: Final = 500

#: Longer texts are checked token by token, in steps: parsing one would create objects of many times its size.
LONG: Final = 2**12

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKET = re.compile(r"[\[\]{}]")

# One token, after whitespace; of a string only the opening quotation mark.
_TOKEN = re.compile(
    r"""[ \t\n\r]*(?:([\[{])|([\]}])|([,:])|(")|true|false|null"""
    r"""|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"""
)
# A part of a string, with at most 500 escapes.
_CHARACTERS = re.compile(r"""[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*){0,500}""")
_WHITESPACE = re.compile(r"[ \t\n\r]*")


# Numbers are parsed as floats, as in a browser: for these any number of digits is valid, and fast to parse.
_decoder = json.JSONDecoder(parse_int=float, parse_constant=lambda name: _refuse_constant(name))


def check_json(text: str) -> None:
    """Check that a browser's ``JSON.parse`` accepts a text; a client that receives anything else fails.

    :raises Malformed: if it would not, or if ``JSON.stringify`` could not encode the value again.
    """
    try:
        _decoder.decode(text)
    except (ValueError, RecursionError):
        raise Malformed("a value is not JSON") from None
    if text.count("[") + text.count("{") > MAX_NESTING and _depth(text) > MAX_NESTING:
        raise Malformed("values are nested too deeply")


def check_long_json(text: str) -> Steps[None]:
    """:func:`check_json` in steps, and without more memory than the text takes.

    The grammar is that of RFC 8259.
    """
    position = count = 0
    # The closing brackets of the arrays and objects that are open.
    closers: list[str] = []
    # What may come next.
    expected = "value"
    while expected != "end":
        token = _TOKEN.match(text, position)
        if token is None:
            raise Malformed("a value is not JSON")
        position = token.end()
        opening, closing, separator, quote = token.groups()
        if quote:
            position = yield from _skip_characters(text, position)
        if separator:
            if separator == "," and expected == "separator":
                expected = "key" if closers[-1] == "}" else "value"
            elif separator == ":" and expected == "colon":
                expected = "value"
            else:
                raise Malformed("a value is not JSON")
        elif closing:
            if not closers or closing != closers.pop() or expected not in ("separator", f"first{closing}"):
                raise Malformed("a value is not JSON")
            expected = "separator" if closers else "end"
        elif quote and expected in ("key", "first}"):
            expected = "colon"
        elif expected not in ("value", "first]"):
            raise Malformed("a value is not JSON")
        elif opening:
            closers.append("]" if opening == "[" else "}")
            expected = f"first{closers[-1]}"
            if len(closers) > MAX_NESTING:
                raise Malformed("values are nested too deeply")
        else:
            expected = "separator" if closers else "end"
        count += 1
        if count % VALUES_PER_STEP == 0:
            yield
    rest = _WHITESPACE.match(text, position)
    if rest is None or rest.end() != len(text):
        raise Malformed("a value is not JSON")


def _skip_characters(text: str, position: int) -> Steps[int]:
    """Return the position after a string whose first character is at `position`."""
    while True:
        characters = _CHARACTERS.match(text, position)
        stop = characters.end() if characters else position
        if text[stop : stop + 1] == '"':
            return stop + 1
        if stop == position:
            raise Malformed("a value is not JSON")
        position = stop
        yield


def _depth(text: str) -> int:
    brackets = _BRACKET.findall(_STRING.sub("", text))
    return max(accumulate([1 if bracket in "[{" else -1 for bracket in brackets]), default=0)


def _refuse_constant(name: str) -> NoReturn:
    """``json.loads`` accepts NaN and the infinities, which are not JSON."""
    raise ValueError(name)
