"""Mutated WebSocket frames (RFC 6455, section 5.2)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from tests.support.attacks.encoding import BINARY, CLOSE, PING, PONG, TEXT, fragments, frame
from tests.support.mutated.messages import BAD_TEXT
from tests.support.mutations import mutate

_FINAL, _MASKED = 0x80, 0x80
_CLOSE_CODES = (0, 999, 1000, 1001, 1004, 1005, 1006, 1015, 1016, 2999, 3000, 4400, 4999, 5000, 65535)
_LENGTHS = (0, 1, 125, 126, 127, 128, 65535, 65536, 2**24, 2**24 + 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1)


def _mask(chance: random.Random) -> bytes:
    return chance.choice((bytes(4), chance.randbytes(4)))


def _whole(chance: random.Random, message: bytes) -> bytes:
    return frame(message, chance.choice((BINARY, BINARY, BINARY, TEXT)), _mask(chance))


def _fragmented(chance: random.Random, message: bytes) -> bytes:
    cuts = sorted(chance.randint(0, len(message)) for _ in range(chance.randint(1, 5)))
    parts = [message[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(message)], strict=True)]
    return fragments(parts, chance.choice((BINARY, BINARY, TEXT)))


def _ping_within(chance: random.Random, message: bytes) -> bytes:
    middle = len(message) // 2
    between = frame(chance.randbytes(chance.randint(0, 125)), chance.choice((PING, PONG)), _mask(chance))
    return frame(message[:middle], BINARY & ~_FINAL) + between + frame(message[middle:], 0x80)


def _control(chance: random.Random, message: bytes) -> bytes:
    return frame(message[: chance.choice((0, 1, 125, 126, 300))], chance.choice((PING, PONG)), _mask(chance))


def _close(chance: random.Random, message: bytes) -> bytes:
    reason = chance.choice((b"", b"going away", message[:123], *BAD_TEXT))
    payload = chance.choice(_CLOSE_CODES).to_bytes(2, "big") + reason
    return frame(payload[: chance.choice((0, 1, 2, 125, 125, 125, 200))], CLOSE, _mask(chance))


_SEEDS: Sequence[Callable[[random.Random, bytes], bytes]] = (
    _whole,
    _whole,
    _whole,
    _fragmented,
    _ping_within,
    _control,
    _close,
)


def _change_opcode(chance: random.Random, data: bytes) -> bytes:
    return bytes((data[0] & 0xF0 | chance.randrange(16),)) + data[1:]


def _change_flags(chance: random.Random, data: bytes) -> bytes:
    return bytes((data[0] ^ chance.choice((0x80, 0x40, 0x20, 0x10, 0x70)),)) + data[1:]


def _remove_mask(_chance: random.Random, data: bytes) -> bytes:
    return data[:1] + bytes((data[1] & ~_MASKED,)) + data[2:]


def _change_length(chance: random.Random, data: bytes) -> bytes:
    """Claim another length, in any of the three forms."""
    size = chance.choice(_LENGTHS) if chance.random() < 0.5 else max(0, len(data) - 6 + chance.randint(-3, 3))
    form = chance.randrange(3)
    if form == 0:
        return data[:1] + bytes((_MASKED | size & 0x7F,)) + data[2:]
    if form == 1:
        return data[:1] + b"\xfe" + (size & 0xFFFF).to_bytes(2, "big") + data[2:]
    return data[:1] + b"\xff" + size.to_bytes(8, "big") + data[2:]


def _change_head(chance: random.Random, data: bytes) -> bytes:
    at = chance.randrange(min(len(data), 14))
    return data[:at] + chance.randbytes(1) + data[at + 1 :]


def _truncate(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data))]


def _follow(chance: random.Random, data: bytes) -> bytes:
    """Put an unfinished message in front."""
    return frame(chance.randbytes(chance.randint(0, 5)), chance.choice((BINARY, TEXT, 0x80)) & ~_FINAL) + data


_MUTATIONS: Sequence[Callable[[random.Random, bytes], bytes]] = (
    _change_opcode,
    _change_flags,
    _remove_mask,
    _change_length,
    _change_head,
    _change_head,
    _truncate,
    _follow,
)


def mutated_frames(chance: random.Random, messages: Sequence[bytes]) -> bytes:
    """Return a frame, or the frames of one message, with a mutation."""
    data = chance.choice(_SEEDS)(chance, chance.choice(messages))
    if chance.random() < 0.2:
        return mutate(chance, data, messages)
    return chance.choice(_MUTATIONS)(chance, data)
