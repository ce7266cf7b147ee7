"""Mutations for fuzzing: random changes to messages of real clients."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

Mutation = Callable[[random.Random, bytes, Sequence[bytes]], bytes]

#: Boundary values of integers: of seven bits, of 32 bits, of JavaScript's safe integers, of 64 bits.
EDGES = (0, 1, 127, 128, 2**14, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53 - 1, 2**53, 2**64 - 1, 2**70)


def _var_uint(number: int) -> bytes:
    """Encode an integer of any size; the package's own function refuses large ones."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _position(rng: random.Random, message: bytes) -> int:
    return rng.randrange(len(message))


def _slice(rng: random.Random, message: bytes, longest: int = 40) -> tuple[int, int]:
    start = _position(rng, message)
    return start, min(len(message), start + rng.randint(1, longest))


def flip_bits(rng: random.Random, message: bytes, _corpus: Sequence[bytes]) -> bytes:
    """Flip one to three bits."""
    changed = bytearray(message)
    for _ in range(rng.randint(1, 3)):
        changed[_position(rng, message)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def substitute_bytes(rng: random.Random, message: bytes, _corpus: Sequence[bytes]) -> bytes:
    """Replace one to four bytes."""
    changed = bytearray(message)
    for _ in range(rng.randint(1, 4)):
        changed[_position(rng, message)] = rng.randrange(256)
    return bytes(changed)


def truncate(rng: random.Random, message: bytes, _corpus: Sequence[bytes]) -> bytes:
    """Cut off the end."""
    return message[: _position(rng, message)]


def insert(rng: random.Random, message: bytes, _corpus: Sequence[bytes]) -> bytes:
    """Insert random bytes."""
    at = rng.randint(0, len(message))
    return message[:at] + rng.randbytes(rng.randint(1, 8)) + message[at:]


def remove(rng: random.Random, message: bytes, _corpus: Sequence[bytes]) -> bytes:
    """Remove some bytes."""
    start, stop = _slice(rng, message, 8)
    return message[:start] + message[stop:]


def duplicate(rng: random.Random, message: bytes, _corpus: Sequence[bytes]) -> bytes:
    """Repeat a part."""
    start, stop = _slice(rng, message)
    return message[:start] + message[start:stop] * rng.randint(2, 5) + message[stop:]


def splice(rng: random.Random, message: bytes, corpus: Sequence[bytes]) -> bytes:
    """Join the beginning of one message and the end of another."""
    other = rng.choice(corpus)
    return message[: _position(rng, message) + 1] + other[_position(rng, other) :]


def blow_up(rng: random.Random, message: bytes, _corpus: Sequence[bytes]) -> bytes:
    """Replace a byte, which is often an integer, with an integer of another size."""
    at = _position(rng, message)
    number = rng.choice(EDGES) if rng.random() < 0.7 else rng.getrandbits(rng.randint(8, 60))
    return message[:at] + _var_uint(number) + message[at + 1 :]


def nudge(rng: random.Random, message: bytes, _corpus: Sequence[bytes]) -> bytes:
    """Make a byte, which may be a length, a count or a clock, a little larger or smaller."""
    at = _position(rng, message)
    changed = (message[at] + rng.choice((-2, -1, 1, 2))) % 256
    return message[:at] + bytes((changed,)) + message[at + 1 :]


MUTATIONS: Sequence[Mutation] = (
    flip_bits,
    substitute_bytes,
    truncate,
    insert,
    remove,
    duplicate,
    splice,
    blow_up,
    nudge,
)


def mutate(rng: random.Random, message: bytes, corpus: Sequence[bytes]) -> bytes:
    """Apply one mutation, sometimes up to four."""
    for _ in range(1 if rng.random() < 0.8 else rng.randint(2, 4)):
        if message:
            message = rng.choice(MUTATIONS)(rng, message, corpus)
    return message
