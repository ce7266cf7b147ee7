"""Histories that no client would make: real ones, changed where it matters, and updates put together at random.

Most of what comes out is well-formed, so that the server takes it; what it does to real Yjs is for the judge to say.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from attrs import define, evolve, field

from canvas_collab.document.document import Document
from canvas_collab.protocol.info import ANY, BINARY, DELETED, DOC, EMBED, FORMAT, GC, JSON, SKIP, STRING, TYPE
from canvas_collab.protocol.lib0 import Malformed, encode_var_bytes, encode_var_string, encode_var_uint
from canvas_collab.protocol.update import decode_update, encode_update
from tests.support.crafted_updates import (
    ClientStructs,
    CraftedStruct,
    CraftedUpdate,
    Id,
    parse_update,
    with_joined_parts,
)
from tests.support.document_poison import Structs
from tests.support.mutations import mutate
from tests.support.yjs_oracle import History

#: How many accepted updates a history has, and how many more tries there are to find them.
UPDATES = 20
TRIES = 5

#: How many of the histories have no poison that only the whole document shows, so that nothing in them may break.
CAREFUL = 0.9

#: Clients that made nothing in the real history: small ones, and the largest that there are.
STRANGERS = (1, 2, 7, 2**32 - 1, 2**53 - 1)

ROOTS = ("text", "map", "array", "xml", "", "other", "__proto__")
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


def _any(chance: random.Random, depth: int = 0) -> bytes:
    """A value as lib0 writes it."""
    choice = chance.randrange(12 if depth < 3 else 9)
    if choice < 4:
        return chance.choice((b"\x7f", b"\x7e", b"\x78", b"\x79", b"\x7d\x01", b"\x7d\x40", b"\x7d\xbf\xff\x7f"))
    if choice < 6:
        return b"\x77" + encode_var_string(chance.choice(TEXTS))
    if choice == 6:
        return b"\x7b" + chance.randbytes(8)
    if choice == 7:
        return b"\x7a" + chance.randbytes(8)
    if choice == 8:
        return b"\x74" + encode_var_bytes(chance.randbytes(chance.randrange(4)))
    count = chance.randrange(3)
    if choice == 9:
        return b"\x75" + encode_var_uint(count) + b"".join(_any(chance, depth + 1) for _ in range(count))
    return _object(chance, KEYS, depth)


def _object(chance: random.Random, keys: Sequence[str], depth: int = 0) -> bytes:
    count = chance.randrange(3)
    entries = (encode_var_string(chance.choice(keys)) + _any(chance, depth + 1) for _ in range(count))
    return b"\x76" + encode_var_uint(count) + b"".join(entries)


def _values(chance: random.Random, kind: int) -> tuple[bytes, int]:
    count = 1 if chance.random() < 0.5 else chance.randint(2, 4)
    if kind == ANY:
        return encode_var_uint(count) + b"".join(_any(chance) for _ in range(count)), count
    texts = (chance.choice((*JSONS, "undefined")) for _ in range(count))
    return encode_var_uint(count) + b"".join(map(encode_var_string, texts)), count


def content(chance: random.Random) -> tuple[int, bytes, int]:
    """A kind of content, some of that kind, and its length."""
    kind = chance.choice(
        (DELETED, JSON, BINARY, STRING, STRING, EMBED, FORMAT, FORMAT, TYPE, TYPE, TYPE, ANY, ANY, ANY, DOC)
    )
    if kind in (ANY, JSON):
        return kind, *_values(chance, kind)
    if kind == DELETED:
        length = chance.randint(1, 4)
        return kind, encode_var_uint(length), length
    if kind == STRING:
        text = chance.choice(TEXTS)
        return kind, encode_var_string(text), len(text.encode("utf-16-le")) // 2
    if kind == BINARY:
        return kind, encode_var_bytes(chance.randbytes(3)), 1
    if kind == EMBED:
        return kind, encode_var_string(chance.choice(JSONS)), 1
    if kind == FORMAT:
        return kind, encode_var_string(chance.choice(KEYS)) + encode_var_string(chance.choice(JSONS)), 1
    if kind == TYPE:
        reference = chance.randrange(7)
        name = encode_var_string(chance.choice(KEYS)) if reference in (3, 5) else b""
        return kind, encode_var_uint(reference) + name, 1
    return kind, encode_var_string(chance.choice(KEYS)) + _object(chance, OPTIONS), 1


@define
class World:
    """What a document holds: the ids of its structs, which of them are types, and where its clients stand."""

    is_careful: bool
    document: Document = field(factory=Document)
    structs: Structs = field(factory=Structs)
    ids: list[tuple[Id, int]] = field(factory=list)
    types: list[Id] = field(factory=list)
    clocks: dict[int, int] = field(factory=dict)

    def take(self, data: bytes) -> bool:
        """Take an update in; whether it is one, and brought something."""
        try:
            update = decode_update(data, is_new=True)
        except Malformed:
            return False
        if not self.document.lacks_any_of(update):
            return False
        after = Document([self.document.as_update()])
        taken = after.apply(update)
        apart = parse_update(encode_update(taken.runs, taken.deletions))
        if self.is_careful and self.structs.with_update(apart).document_poison(apart):
            return False
        self.document = after
        self.structs.add(apart)
        for part in apart.parts:
            for identifier, struct in part.ids():
                self.ids.append((identifier, struct.length))
                if struct.kind == TYPE:
                    self.types.append(identifier)
                end = identifier[1] + struct.length
                self.clocks[part.client] = max(self.clocks.get(part.client, 0), end)
        return True


class Fuzzer:
    """Makes histories from real ones; the same from the same seed."""

    def __init__(self, seed: int, corpus: Sequence[Sequence[bytes]]) -> None:
        self._chance = random.Random(seed)
        self._corpus = [list(history) for history in corpus if len(history) > 4]
        self._updates = [update for history in self._corpus for update in history]
        self._ways: Sequence[tuple[Callable[[World, Sequence[bytes]], bytes], int]] = (
            (self._changed, 6),
            (self._made_up, 8),
            (self._deleting, 3),
            (self._mutated, 2),
            (self._real, 2),
        )

    def history(self) -> History:
        """A history of :data:`UPDATES` accepted updates, or a few less."""
        chance = self._chance
        real = chance.choice(self._corpus)
        before = list(real[: chance.randint(0, min(12, len(real) - 1))])
        world = World(is_careful=chance.random() < CAREFUL)
        for update in before:
            world.take(update)
        accepted: list[bytes] = []
        ways, weights = zip(*self._ways, strict=True)
        for _ in range(UPDATES * TRIES):
            [way] = chance.choices(ways, weights)
            try:
                data = way(world, real)
            except ValueError:
                # A number that the format has no room for.
                continue
            if world.take(data):
                accepted.append(data)
                if len(accepted) == UPDATES:
                    break
        return History(before, accepted)

    def _real(self, _world: World, real: Sequence[bytes]) -> bytes:
        return self._chance.choice(real)

    def _mutated(self, _world: World, real: Sequence[bytes]) -> bytes:
        return mutate(self._chance, self._chance.choice(real), self._updates)

    def _changed(self, world: World, real: Sequence[bytes]) -> bytes:
        """A real update, some structs of which are others."""
        chance = self._chance
        update = parse_update(chance.choice(real))
        for part in update.parts:
            if chance.random() < 0.1:
                part.client = self._client(world)
            if chance.random() < 0.2:
                part.clock = self._clock(world, part.client)
            for index in range(len(part.structs)):
                if chance.random() < 0.5:
                    part.structs[index] = self._altered(world, part.structs[index])
        if chance.random() < 0.2:
            update.deletions += self._ranges(world)
        return with_joined_parts(update).encode()

    def _altered(self, world: World, struct: CraftedStruct) -> CraftedStruct:
        chance = self._chance
        choice = chance.randrange(7)
        if choice == 0:
            return evolve(struct, origin=self._id(world))
        if choice == 1:
            return evolve(struct, right=self._id(world))
        if choice == 2:
            return evolve(struct, origin=None, right=None, parent=self._parent(world))
        if choice == 3:
            return evolve(struct, key=chance.choice((None, *KEYS)))
        if choice == 4:
            kind, data, length = content(chance)
            return evolve(struct, kind=kind, content=data, length=length)
        if choice == 5:
            return evolve(struct, origin=None, right=None)
        return CraftedStruct(chance.choice((GC, SKIP)), b"", length=struct.length)

    def _made_up(self, world: World, _real: Sequence[bytes]) -> bytes:
        """Structs put together at random, of one client or of two."""
        chance = self._chance
        parts = []
        for client in {self._client(world) for _ in range(chance.choice((1, 1, 1, 2)))}:
            clock = start = self._clock(world, client)
            structs = []
            for _ in range(chance.randint(1, 4)):
                struct = self._struct(world, client, start, clock)
                structs.append(struct)
                clock += struct.length
            parts.append(ClientStructs(client, start, structs))
        return CraftedUpdate(parts, self._ranges(world) if chance.random() < 0.3 else []).encode()

    def _struct(self, world: World, client: int, start: int, clock: int) -> CraftedStruct:
        chance = self._chance
        if chance.random() < 0.05:
            return CraftedStruct(chance.choice((GC, SKIP)), b"", length=chance.randint(1, 5))
        kind, data, length = content(chance)
        struct = CraftedStruct(kind, data, length=length)
        choice = chance.random()
        if choice < 0.45:
            # In something: often in a type that has just been made.
            own = (client, chance.randint(start, clock - 1)) if clock > start and chance.random() < 0.4 else None
            struct.parent = own or self._parent(world)
            if chance.random() < 0.5:
                struct.key = chance.choice(KEYS)
            return struct
        if choice < 0.85:
            own = (client, clock - 1) if clock > start and chance.random() < 0.5 else None
            struct.origin = own or self._id(world)
        if choice > 0.7:
            struct.right = self._id(world)
        return struct

    def _deleting(self, world: World, _real: Sequence[bytes]) -> bytes:
        """Deletions: of a type with all that is in it, or of anything."""
        chance = self._chance
        if world.types and chance.random() < 0.6:
            found = chance.sample(world.types, min(len(world.types), chance.randint(1, 3)))
            return CraftedUpdate([], [(client, clock, 1) for client, clock in found]).encode()
        return CraftedUpdate([], self._ranges(world)).encode()

    def _ranges(self, world: World) -> list[tuple[int, int, int]]:
        chance = self._chance
        ranges = []
        for _ in range(chance.randint(1, 4)):
            client, clock = self._id(world)
            ranges.append((client, max(0, clock + chance.randint(-2, 2)), chance.choice((1, 1, 1, 2, 3, 20))))
        return ranges

    def _client(self, world: World) -> int:
        chance = self._chance
        if world.clocks and chance.random() < 0.5:
            return chance.choice(list(world.clocks))
        return chance.choice(STRANGERS)

    def _clock(self, world: World, client: int) -> int:
        chance = self._chance
        known = world.clocks.get(client, 0)
        if chance.random() < 0.85:
            return known
        return max(0, known + chance.randint(-4, 4))

    def _id(self, world: World) -> Id:
        """An id that some struct has, or is to have."""
        chance = self._chance
        if not world.ids or chance.random() < 0.04:
            return chance.choice(STRANGERS), chance.choice((0, 1, 5, 2**31, 2**53 - 1))
        (client, clock), length = chance.choice(world.ids[-30:] if chance.random() < 0.6 else world.ids)
        return client, clock + chance.randrange(length)

    def _parent(self, world: World) -> str | Id:
        chance = self._chance
        if world.types and chance.random() < 0.6:
            return chance.choice(world.types[-10:])
        return self._id(world) if chance.random() < 0.1 else chance.choice(ROOTS)
