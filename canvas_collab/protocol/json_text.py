"""JSON as a browser reads it."""

from __future__ import annotations

import json
from typing import NoReturn

from canvas_collab.protocol.lib0 import Malformed


def check_json(text: str) -> None:
    """Make sure that a browser's ``JSON.parse`` accepts `text`: a client that gets anything else breaks.

    :raises Malformed: if it would not.
    """
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Malformed("a value is not JSON") from None


def _refuse_constant(name: str) -> NoReturn:
    """``json.loads`` takes NaN and the infinities, which JSON does not know."""
    raise ValueError(name)
