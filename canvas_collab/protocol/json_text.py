"""JSON as a browser reads it."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import NoReturn

from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.steps import VALUES_PER_STEP, Steps

#: How deeply values may be nested in one another; a browser's stack ends somewhere above.
MAX_NESTING = 500

#: Longer texts are checked token by token, in steps: reading one makes objects of it, of many times its size.
LONG = 2**12

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKET = re.compile(r"[\[\]{}]")

# One token, after whitespace; of a string only the quotation mark that it begins with.
_TOKEN = re.compile(
    r"""[ \t\n\r]*(?:([\[{])|([\]}])|([,:])|(")|true|false|null"""
    r"""|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"""
)
# A stretch of a string, with so many escapes at most.
_CHARACTERS = re.compile(r"""[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*){0,500}""")
_WHITESPACE = re.compile(r"[ \t\n\r]*")


# Numbers are floats, as in a browser: those have no number of digits that is too many, or slow to read.
_decoder = json.JSONDecoder(parse_int=float, parse_constant=lambda name: _refuse_constant(name))


def check_json(text: str) -> None:
    """Make sure that a browser's ``JSON.parse`` accepts a text: a client that gets anything else breaks.

    :raises Malformed: if it would not, or if it could not write the value again.
    """
    try:
        _decoder.decode(text)
    except (ValueError, RecursionError):
        raise Malformed("a value is not JSON") from None
    if text.count("[") + text.count("{") > MAX_NESTING and _depth(text) > MAX_NESTING:
        raise Malformed("values are nested too deeply")


def check_long_json(text: str) -> Steps[None]:
    """The same in steps, and in no more memory than the text takes.

    The grammar is that of RFC 8259.  `closers` has the bracket that ends each value that has begun; `wanted` is what
    may come next.
    """
    position = count = 0
    closers: list[str] = []
    wanted = "value"
    while wanted != "end":
        token = _TOKEN.match(text, position)
        if token is None:
            raise Malformed("a value is not JSON")
        position = token.end()
        opening, closing, separator, quote = token.groups()
        if quote:
            position = yield from _skip_characters(text, position)
        if separator:
            if separator == "," and wanted == "separator":
                wanted = "key" if closers[-1] == "}" else "value"
            elif separator == ":" and wanted == "colon":
                wanted = "value"
            else:
                raise Malformed("a value is not JSON")
        elif closing:
            if not closers or closing != closers.pop() or wanted not in ("separator", f"first{closing}"):
                raise Malformed("a value is not JSON")
            wanted = "separator" if closers else "end"
        elif quote and wanted in ("key", "first}"):
            wanted = "colon"
        elif wanted not in ("value", "first]"):
            raise Malformed("a value is not JSON")
        elif opening:
            closers.append("]" if opening == "[" else "}")
            wanted = f"first{closers[-1]}"
            if len(closers) > MAX_NESTING:
                raise Malformed("values are nested too deeply")
        else:
            wanted = "separator" if closers else "end"
        count += 1
        if count % VALUES_PER_STEP == 0:
            yield
    rest = _WHITESPACE.match(text, position)
    if rest is None or rest.end() != len(text):
        raise Malformed("a value is not JSON")


def _skip_characters(text: str, position: int) -> Steps[int]:
    """The position after a string, the first character of which is at `position`."""
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
    return max(accumulate(1 if bracket in "[{" else -1 for bracket in brackets), default=0)


def _refuse_constant(name: str) -> NoReturn:
    """``json.loads`` takes NaN and the infinities, which JSON does not know."""
    raise ValueError(name)
