"""Converts the values in items to JSON without loss, and encodes JSON of any depth.

The JSON representation is described in :mod:`canvas_collab.document.content`.
"""

from __future__ import annotations

import json
import math
import struct
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

from canvas_collab.protocol.lib0 import Decoder
from canvas_collab.protocol.struct_info import Kind

UNDEFINED = {"undefined": True}

#: The largest integer up to which JavaScript represents all exactly.
_EXACT = 2**53

#: JSON is indented by at most this many levels.
_MAX_INDENT = 32

_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def values_of(kind: Kind, content: bytes) -> list[object]:
    """Convert the values of an item whose content is not a shared type."""
    decoder = Decoder(content)
    if kind is Kind.ANY:
        return [_any(decoder) for _ in range(decoder.var_uint())]
    if kind is Kind.JSON:
        texts = [decoder.var_string() for _ in range(decoder.var_uint())]
        return [UNDEFINED if text == "undefined" else read_json(text) for text in texts]
    if kind is Kind.STRING:
        return list(decoder.var_string())
    if kind is Kind.EMBED:
        return [read_json(decoder.var_string())]
    if kind is Kind.BINARY:
        return [_bytes(decoder)]
    if kind is Kind.DOC:
        return [_subdocument(decoder.var_string(), _any(decoder))]
    return []


def read_json(text: str) -> Any:
    """Parse a JSON text as a browser does: its numbers are floats.

    A text that is nested too deeply for Python's parser is returned as ``{"json": text}``.
    """
    try:
        return json.loads(text, parse_int=_integer, parse_float=lambda number: _number(float(number)))
    except RecursionError:
        return {"json": text}


def _integer(digits: str) -> object:
    number = float(digits)
    return int(digits) if abs(number) <= _EXACT else _number(number)


def _number(number: float) -> object:
    return number if math.isfinite(number) else {"number": _NOT_FINITE[str(number)]}


def _subdocument(guid: str, options: Any) -> object:
    known = {name: options.get(name) for name in ("meta", "autoLoad", "gc")} if isinstance(options, dict) else {}
    shown = {name: value for name, value in known.items() if value is not None and value != UNDEFINED}
    return {"subdocument": guid, **shown}


def _bytes(decoder: Decoder) -> object:
    return {"bytes": b64encode(decoder.var_bytes()).decode()}


def _any(decoder: Decoder) -> object:
    """Decode a valid value of lib0's ``writeAny``."""
    result: list[object] = []
    # The lists and objects that the next value is nested in, and how many values of each are left.
    around: list[tuple[list[object] | dict[str, object], int]] = [(result, 1)]
    while around:
        container, count = around.pop()
        if not count:
            continue
        around.append((container, count - 1))
        key = decoder.var_string() if isinstance(container, dict) else ""
        tag = decoder.byte()
        value: object
        if tag == 118:
            entries: dict[str, object] = {}
            around.append((entries, decoder.var_uint()))
            value = entries
        elif tag == 117:
            elements: list[object] = []
            around.append((elements, decoder.var_uint()))
            value = elements
        else:
            value = _plain(tag, decoder)
        if isinstance(container, dict):
            container[key] = value
        else:
            container.append(value)
    return result[0]


def _plain(tag: int, decoder: Decoder) -> object:
    """Decode a value that contains no others."""
    if tag == 119:
        return decoder.var_string()
    if tag == 125:
        return decoder.var_int()
    if tag == 116:
        return _bytes(decoder)
    if tag == 122:
        return {"bigint": str(int.from_bytes(decoder.take(8), "big", signed=True))}
    if tag in (123, 124):
        return _number(struct.unpack(">d" if tag == 123 else ">f", decoder.take(8 if tag == 123 else 4))[0])
    return {120: True, 121: False, 126: None, 127: UNDEFINED}[tag]


def write_json(value: object) -> str:
    """Encode a value as indented JSON text, which can be encoded as UTF-8; without recursion."""
    parts: list[str] = []
    # What is left of each list and object that the next value is nested in, and its closing bracket.
    around: list[tuple[Iterator[tuple[str | None, object]], str]] = []
    _write_value(value, parts, around)
    while around:
        items, end = around[-1]
        depth = len(around)
        following = next(items, None)
        if following is None:
            around.pop()
            if parts[-1] not in ("[", "{"):
                parts.append(_line(depth - 1))
            parts.append(end)
            continue
        is_first = parts[-1] in ("[", "{")
        parts.append(_line(depth) if is_first else "," + _line(depth))
        key, inner = following
        if key is not None:
            parts.append(_text(key) + ": ")
        _write_value(inner, parts, around)
    return "".join(parts)


def _write_value(
    value: object, parts: list[str], around: list[tuple[Iterator[tuple[str | None, object]], str]]
) -> None:
    if isinstance(value, dict):
        parts.append("{")
        around.append((iter(value.items()), "}"))
    elif isinstance(value, list):
        parts.append("[")
        around.append((((None, element) for element in value), "]"))
    elif isinstance(value, str):
        parts.append(_text(value))
    else:
        parts.append(json.dumps(value, allow_nan=False))


def _line(depth: int) -> str:
    return "\n" + "  " * min(depth, _MAX_INDENT)


def _text(text: str) -> str:
    """Encode a string; lone surrogates, which UTF-8 cannot encode, are escaped."""
    written = json.dumps(text, ensure_ascii=False)
    try:
        written.encode()
    except UnicodeEncodeError:
        return json.dumps(text)
    return written
