"""JSON as a browser reads it."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import NoReturn

from canvas_collab.protocol.lib0 import Malformed

#: How deeply values may be nested in one another; a browser's stack ends somewhere above.
MAX_NESTING = 500

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKET = re.compile(r"[\[\]{}]")


def check_json(text: str) -> None:
    """Make sure that a browser's ``JSON.parse`` accepts `text`: a client that gets anything else breaks.

    :raises Malformed: if it would not, or if it could not write the value again.
    """
    try:
        # Numbers are floats, as in a browser: those have no number of digits that is too many, or slow to read.
        json.loads(text, parse_int=float, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Malformed("a value is not JSON") from None
    if text.count("[") + text.count("{") > MAX_NESTING and _depth(text) > MAX_NESTING:
        raise Malformed("values are nested too deeply")


def _depth(text: str) -> int:
    brackets = _BRACKET.findall(_STRING.sub("", text))
    return max(accumulate(1 if bracket in "[{" else -1 for bracket in brackets), default=0)


def _refuse_constant(name: str) -> NoReturn:
    """``json.loads`` takes NaN and the infinities, which JSON does not know."""
    raise ValueError(name)
