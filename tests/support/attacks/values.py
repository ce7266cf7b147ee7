"""Shapes of updates with large contents: values, JSON texts, strings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.support.attacks.encoding import item, letters, section, string, update, var
from tests.support.attacks.shape import Container, Maker, Shape

_JSON, _BINARY, _STRING, _EMBED, _FORMAT, _ANY, _DOC = 2, 3, 4, 5, 6, 8, 9
_ARRAY, _OBJECT, _TRUE, _TEXT, _BYTES, _INTEGER = b"\x75", b"\x76", b"\x78", b"\x77", b"\x74", b"\x7d"

#: A depth of nesting that is accepted.
_DEPTH = 490

#: How many bytes an update has around its content at most.
_OVERHEAD = 64


def _content(kind: int, content: bytes) -> list[bytes]:
    return [update(section(item(kind, content), 1))]


def _any(value: bytes) -> list[bytes]:
    """One value."""
    return _content(_ANY, b"\x01" + value)


def list_of(size: int, value: bytes) -> list[bytes]:
    """A list of values in one item."""
    count = (size - _OVERHEAD) // len(value)
    return _content(_ANY, var(count) + value * count)


def array_of(size: int, value: bytes) -> list[bytes]:
    """One array of values."""
    count = (size - _OVERHEAD) // len(value)
    return _any(_ARRAY + var(count) + value * count)


def object_of_keys(size: int) -> list[bytes]:
    """One object of very many keys."""
    count = (size - _OVERHEAD) // 6
    return _any(_OBJECT + var(count) + b"".join(b"\x04" + letters(number) + _TRUE for number in range(count)))


def nested(size: int) -> list[bytes]:
    """Arrays nested as deep as they may be, again and again."""
    return list_of(size, (_ARRAY + b"\x01") * _DEPTH + _TRUE)


def nested_too_deep(size: int) -> list[bytes]:
    """Arrays nested as deeply as the size allows."""
    return _any((_ARRAY + b"\x01") * ((size - _OVERHEAD) // 2) + _TRUE)


def nested_objects(size: int) -> list[bytes]:
    """Objects nested as deep as they may be, again and again."""
    return list_of(size, (_OBJECT + b"\x01\x01k") * _DEPTH + _TRUE)


def text(size: int, character: bytes, end: bytes = b"") -> list[bytes]:
    """One string."""
    return _content(_STRING, string(character * ((size - _OVERHEAD) // len(character)) + end))


def value_text(size: int) -> list[bytes]:
    """One string that is a value."""
    return _any(_TEXT + string(b"x" * (size - _OVERHEAD)))


def value_bytes(size: int) -> list[bytes]:
    """Bytes that are a value."""
    return _any(_BYTES + string(b"\xff" * (size - _OVERHEAD)))


def binary(size: int) -> list[bytes]:
    """One item of bytes."""
    return _content(_BINARY, string(b"\xff" * (size - _OVERHEAD)))


def subdocument(size: int) -> list[bytes]:
    """A subdocument with an option of very many values."""
    count = size - 2 * _OVERHEAD
    return _content(_DOC, string(b"guid") + _OBJECT + b"\x01\x04meta" + _ARRAY + var(count) + _TRUE * count)


def embedded(size: int, json: Callable[[int], bytes]) -> list[bytes]:
    """An embed of one JSON text."""
    return _content(_EMBED, string(json(size - _OVERHEAD)))


def formats(size: int) -> list[bytes]:
    """Very many formats."""
    struct = item(_FORMAT, string(b"bold") + string(b"true"))
    count = (size - _OVERHEAD) // len(struct)
    return [update(section(struct * count, count))]


def embeds(size: int) -> list[bytes]:
    """Very many embeds."""
    struct = item(_EMBED, string(b"{}"))
    count = (size - _OVERHEAD) // len(struct)
    return [update(section(struct * count, count))]


def texts(size: int) -> list[bytes]:
    """A list of very many JSON texts in one item."""
    count = (size - _OVERHEAD) // 2
    return _content(_JSON, var(count) + b"\x011" * count)


def names(size: int) -> list[bytes]:
    """Items in very many shared types, each named on the document."""
    count = (size - _OVERHEAD) // 9
    structs = b"".join(b"\x04\x01\x04" + letters(number) + b"\x01x" for number in range(count))
    return [update(section(structs, count))]


def long_key(size: int) -> list[bytes]:
    """One value of a map, under a key of megabytes."""
    return [update(section(b"\x28\x01\x01m" + string(b"k" * (size - _OVERHEAD)) + b"\x01\x78", 1))]


def integers(size: int) -> list[bytes]:
    """A list of integers of eight bytes."""
    return list_of(size, _INTEGER + b"\xbf" + b"\xff" * 6 + b"\x01")


# JSON texts


def _repeated(size: int, start: bytes, part: bytes, end: bytes) -> bytes:
    return start + part * ((size - len(start) - len(end)) // len(part)) + end


def json_numbers(size: int) -> bytes:
    return _repeated(size, b"[", b"1,", b"1]")


def json_arrays(size: int) -> bytes:
    return _repeated(size, b"[", b"[],", b"[]]")


def json_nested(size: int) -> bytes:
    return _repeated(size, b"[", b"[" * _DEPTH + b"]" * _DEPTH + b",", b"0]")


def json_too_deep(size: int) -> bytes:
    return b"[" * (size // 2) + b"]" * (size // 2)


def json_open(size: int) -> bytes:
    return b"[" * size


def json_long_number(size: int) -> bytes:
    return b"1" * size


def json_long_fraction(size: int) -> bytes:
    return _repeated(size, b"0.", b"1", b"e-5")


def json_escapes(size: int) -> bytes:
    return _repeated(size, b'"', b"\\u0041", b'"')


def json_quotes(size: int) -> bytes:
    return _repeated(size, b'"', b'\\"', b'"')


def json_whitespace(size: int) -> bytes:
    return b" " * (size - 1) + b"1"


def json_brackets_and_text(size: int) -> bytes:
    return _repeated(size, b"[" + b"[]," * 600 + b'"', b"x", b'"]')


def json_keys(size: int) -> bytes:
    count = size // 9
    return b"{" + b",".join(b'"' + letters(number) + b'":1' for number in range(count)) + b"}"


def json_key_again(size: int) -> bytes:
    return _repeated(size, b"{", b'"":1,', b'"":1}')


def json_exponents(size: int) -> bytes:
    return _repeated(size, b"[", b"1e308,", b"1]")


_JSON_TEXTS = {
    "json-numbers": ("millions of numbers", json_numbers),
    "json-arrays": ("millions of empty arrays", json_arrays),
    "json-nested": ("arrays nested 490 deep, again and again", json_nested),
    "json-too-deep": ("arrays nested millions deep", json_too_deep),
    "json-open": ("nothing but opening brackets", json_open),
    "json-long-number": ("one number of millions of digits", json_long_number),
    "json-long-fraction": ("one fraction of millions of digits", json_long_fraction),
    "json-escapes": ("millions of escapes", json_escapes),
    "json-quotes": ("millions of escaped quotes", json_quotes),
    "json-whitespace": ("whitespace", json_whitespace),
    "json-brackets-and-text": ("brackets, then one string", json_brackets_and_text),
    "json-keys": ("a million keys", json_keys),
    "json-key-again": ("one key millions of times", json_key_again),
    "json-exponents": ("millions of large numbers", json_exponents),
}


_JSON_REFUSED = ("json-too-deep", "json-open")


def _shape(name: str, title: str, make: Maker, refused: bool = False) -> Shape:
    return Shape(name, title, Container.UPDATE, make, refused=refused)


SHAPES = (
    _shape("list-of-true", "a list of millions of values", partial(list_of, value=_TRUE)),
    _shape("list-of-strings", "a list of millions of empty strings", partial(list_of, value=_TEXT + b"\0")),
    _shape("list-of-objects", "a list of millions of empty objects", partial(list_of, value=_OBJECT + b"\0")),
    _shape("list-of-integers", "a list of millions of integers", integers),
    _shape("array-of-true", "an array of millions of values", partial(array_of, value=_TRUE)),
    _shape("array-of-arrays", "an array of millions of empty arrays", partial(array_of, value=_ARRAY + b"\0")),
    _shape("object-of-keys", "an object of millions of keys", object_of_keys),
    _shape("nested", "arrays nested 490 deep, again and again", nested),
    _shape("nested-objects", "objects nested 490 deep, again and again", nested_objects),
    _shape("nested-too-deep", "arrays nested millions deep", nested_too_deep, refused=True),
    _shape("text", "one string of ASCII", partial(text, character=b"x")),
    _shape("text-emoji", "one string of emoji", partial(text, character="\N{GRINNING FACE}".encode())),
    _shape(
        "text-invalid",
        "one string whose last byte is not UTF-8",
        partial(text, character=b"x", end=b"\xff"),
        refused=True,
    ),
    _shape("value-text", "a value that is one string", value_text),
    _shape("value-bytes", "a value that is bytes", value_bytes),
    _shape("binary", "an item of bytes", binary),
    _shape("subdocument", "a subdocument with an option of millions of values", subdocument),
    _shape("formats", "a million formats", formats),
    _shape("embeds", "a million embeds", embeds),
    _shape("json-list", "a list of millions of JSON texts", texts),
    _shape("names", "items in a million shared types", names),
    _shape("long-key", "a key of megabytes", long_key),
    *(
        _shape(name, f"a JSON text: {title}", partial(embedded, json=json), name in _JSON_REFUSED)
        for name, (title, json) in _JSON_TEXTS.items()
    ),
)
