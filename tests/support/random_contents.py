"""Contents of items, generated at random: well-formed, but not necessarily what an application would insert."""

from __future__ import annotations

import random
from collections.abc import Sequence

from canvas_collab.protocol.lib0 import encode_var_bytes, encode_var_string, encode_var_uint
from canvas_collab.protocol.struct_info import ANY, BINARY, DELETED, DOC, EMBED, FORMAT, JSON, STRING, TYPE

KEYS = ("a", "b", "color", "id", "", "__proto__", "constructor")
TEXTS = ("a", "xy", "\U0001f600", "a\U0001f600b", "\n", "e\u0301", "long " * 9, "\ufffd")
JSONS = (
    "null",
    "true",
    "1",
    "-0",
    "1e400",
    '"s"',
    '"\\ud83d"',
    "[]",
    "{}",
    '{"a":{"b":[1]}}',
    '{"toString":1}',
    '{"__proto__":{"a":1}}',
)
OPTIONS = ("guid", "gc", "gcFilter", "meta", "autoLoad", "shouldLoad", "collectionid", "__proto__", "other")


def _any(rng: random.Random, depth: int = 0) -> bytes:
    """Generate a value in lib0's encoding."""
    choice = rng.randrange(12 if depth < 3 else 9)
    if choice < 4:
        return rng.choice((b"\x7f", b"\x7e", b"\x78", b"\x79", b"\x7d\x01", b"\x7d\x40", b"\x7d\xbf\xff\x7f"))
    if choice < 6:
        return b"\x77" + encode_var_string(rng.choice(TEXTS))
    if choice == 6:
        return b"\x7b" + rng.randbytes(8)
    if choice == 7:
        return b"\x7a" + rng.randbytes(8)
    if choice == 8:
        return b"\x74" + encode_var_bytes(rng.randbytes(rng.randrange(4)))
    count = rng.randrange(3)
    if choice == 9:
        return b"\x75" + encode_var_uint(count) + b"".join(_any(rng, depth + 1) for _ in range(count))
    return _object(rng, KEYS, depth)


def _object(rng: random.Random, keys: Sequence[str], depth: int = 0) -> bytes:
    count = rng.randrange(3)
    entries = (encode_var_string(rng.choice(keys)) + _any(rng, depth + 1) for _ in range(count))
    return b"\x76" + encode_var_uint(count) + b"".join(entries)


def _values(rng: random.Random, kind: int) -> tuple[bytes, int]:
    count = 1 if rng.random() < 0.5 else rng.randint(2, 4)
    if kind == ANY:
        return encode_var_uint(count) + b"".join(_any(rng) for _ in range(count)), count
    texts = (rng.choice((*JSONS, "undefined")) for _ in range(count))
    return encode_var_uint(count) + b"".join(map(encode_var_string, texts)), count


def random_content(rng: random.Random) -> tuple[int, bytes, int]:
    """Generate a content; return its kind, its bytes, and its length in clocks."""
    kind = rng.choice(
        (DELETED, JSON, BINARY, STRING, STRING, EMBED, FORMAT, FORMAT, TYPE, TYPE, TYPE, ANY, ANY, ANY, DOC)
    )
    if kind in (ANY, JSON):
        return kind, *_values(rng, kind)
    if kind == DELETED:
        length = rng.randint(1, 4)
        return kind, encode_var_uint(length), length
    if kind == STRING:
        text = rng.choice(TEXTS)
        return kind, encode_var_string(text), len(text.encode("utf-16-le")) // 2
    if kind == BINARY:
        return kind, encode_var_bytes(rng.randbytes(3)), 1
    if kind == EMBED:
        return kind, encode_var_string(rng.choice(JSONS)), 1
    if kind == FORMAT:
        return kind, encode_var_string(rng.choice(KEYS)) + encode_var_string(rng.choice(JSONS)), 1
    if kind == TYPE:
        reference = rng.randrange(7)
        name = encode_var_string(rng.choice(KEYS)) if reference in (3, 5) else b""
        return kind, encode_var_uint(reference) + name, 1
    return kind, encode_var_string(rng.choice(KEYS)) + _object(rng, OPTIONS), 1
