"""Messages that went wrong: what real clients send, changed at random, and bytes that never were a message."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

Mutation = Callable[[random.Random, bytes, Sequence[bytes]], bytes]

#: Integers at which something might break: the ends of a byte of seven bits, of 32 bits, of what JavaScript counts.
EDGES = (0, 1, 127, 128, 2**14, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53 - 1, 2**53, 2**64 - 1, 2**70)


def _var_uint(number: int) -> bytes:
    """Any size of integer, which the package's own function does not encode."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _position(chance: random.Random, message: bytes) -> int:
    return chance.randrange(len(message))


def _slice(chance: random.Random, message: bytes, longest: int = 40) -> tuple[int, int]:
    start = _position(chance, message)
    return start, min(len(message), start + chance.randint(1, longest))


def flip_bits(chance: random.Random, message: bytes, _corpus: Sequence[bytes]) -> bytes:
    """One to three bits are other ones."""
    changed = bytearray(message)
    for _ in range(chance.randint(1, 3)):
        changed[_position(chance, message)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def substitute_bytes(chance: random.Random, message: bytes, _corpus: Sequence[bytes]) -> bytes:
    """One to four bytes are other ones."""
    changed = bytearray(message)
    for _ in range(chance.randint(1, 4)):
        changed[_position(chance, message)] = chance.randrange(256)
    return bytes(changed)


def truncate(chance: random.Random, message: bytes, _corpus: Sequence[bytes]) -> bytes:
    """The end is missing."""
    return message[: _position(chance, message)]


def insert(chance: random.Random, message: bytes, _corpus: Sequence[bytes]) -> bytes:
    """Some bytes are in the middle that do not belong there."""
    at = chance.randint(0, len(message))
    return message[:at] + chance.randbytes(chance.randint(1, 8)) + message[at:]


def remove(chance: random.Random, message: bytes, _corpus: Sequence[bytes]) -> bytes:
    """Some bytes are missing in the middle."""
    start, stop = _slice(chance, message, 8)
    return message[:start] + message[stop:]


def duplicate(chance: random.Random, message: bytes, _corpus: Sequence[bytes]) -> bytes:
    """A stretch is there several times."""
    start, stop = _slice(chance, message)
    return message[:start] + message[start:stop] * chance.randint(2, 5) + message[stop:]


def splice(chance: random.Random, message: bytes, corpus: Sequence[bytes]) -> bytes:
    """It begins as one message and ends as another."""
    other = chance.choice(corpus)
    return message[: _position(chance, message) + 1] + other[_position(chance, other) :]


def blow_up(chance: random.Random, message: bytes, _corpus: Sequence[bytes]) -> bytes:
    """A byte, most of which are integers, is an integer of another size."""
    at = _position(chance, message)
    number = chance.choice(EDGES) if chance.random() < 0.7 else chance.getrandbits(chance.randint(8, 60))
    return message[:at] + _var_uint(number) + message[at + 1 :]


def nudge(chance: random.Random, message: bytes, _corpus: Sequence[bytes]) -> bytes:
    """A byte, which may be a length, a count or a clock, is a little larger or smaller."""
    at = _position(chance, message)
    changed = (message[at] + chance.choice((-2, -1, 1, 2))) % 256
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


def mutate(chance: random.Random, message: bytes, corpus: Sequence[bytes]) -> bytes:
    """The message after one mutation, or after a few."""
    for _ in range(1 if chance.random() < 0.8 else chance.randint(2, 4)):
        if message:
            message = chance.choice(MUTATIONS)(chance, message, corpus)
    return message
