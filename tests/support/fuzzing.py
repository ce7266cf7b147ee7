"""A fuzzer of histories: sequences of updates, real ones that are modified, and ones that are generated at random.

Most of the updates are well-formed, so that the server accepts them; :class:`~tests.support.yjs_oracle.YjsOracle` tells
what they do to Yjs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from attrs import define, evolve, field

from canvas_collab.document.document import Document
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.struct_info import GC, SKIP, TYPE
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
from tests.support.random_contents import KEYS, random_content
from tests.support.yjs_oracle import History

#: How many accepted updates a history has at most, and how often that many updates are generated to find them.
UPDATES = 20
ATTEMPTS = 5

#: The share of histories that are kept free of poison that only the whole document shows: no client may break on them.
POISON_FREE = 0.9

#: Client ids that are not in the real history: small ones, and the largest of Yjs 13 and of the format.
OTHER_CLIENTS = (1, 2, 7, 2**32 - 1, 2**53 - 1)

ROOTS = ("text", "map", "array", "xml", "", "other", "__proto__")


@define
class DocumentState:
    """A document, with what generated updates refer to.

    :ivar ids: the first id of each struct, and its length.
    :ivar types: the ids of shared types.
    :ivar clocks: the next clock of each client.
    """

    is_poison_free: bool
    document: Document = field(factory=Document)
    structs: Structs = field(factory=Structs)
    ids: list[tuple[Id, int]] = field(factory=list)
    types: list[Id] = field(factory=list)
    clocks: dict[int, int] = field(factory=dict)

    def apply(self, data: bytes) -> bool:
        """Apply an update; return False if it is refused, has nothing new, or must not be in this history."""
        try:
            update = decode_update(data, reject_poison=True)
        except Malformed:
            return False
        if not self.document.lacks_any_of(update):
            return False
        after = Document([self.document.as_update()])
        new_part = after.apply(update)
        parsed = parse_update(encode_update(new_part.runs, new_part.deletions))
        if self.is_poison_free and self.structs.with_update(parsed).document_poison(parsed):
            return False
        self.document = after
        self.structs.add(parsed)
        for part in parsed.parts:
            for identifier, struct in part.ids():
                self.ids.append((identifier, struct.length))
                if struct.kind == TYPE:
                    self.types.append(identifier)
                end = identifier[1] + struct.length
                self.clocks[part.client] = max(self.clocks.get(part.client, 0), end)
        return True


class Fuzzer:
    """Generates histories from real ones; the same ones for the same seed."""

    def __init__(self, seed: int, corpus: Sequence[Sequence[bytes]]) -> None:
        self._rng = random.Random(seed)
        self._corpus = [list(history) for history in corpus if len(history) > 4]
        self._updates = [update for history in self._corpus for update in history]
        self._strategies: Sequence[tuple[Callable[[DocumentState, Sequence[bytes]], bytes], int]] = (
            (self._modified_update, 6),
            (self._generated_update, 8),
            (self._deletions, 3),
            (self._mutated_bytes, 2),
            (self._real_update, 2),
        )

    def history(self) -> History:
        """Generate a history of :data:`UPDATES` accepted updates, or a few less."""
        rng = self._rng
        real = rng.choice(self._corpus)
        before = list(real[: rng.randint(0, min(12, len(real) - 1))])
        state = DocumentState(is_poison_free=rng.random() < POISON_FREE)
        for update in before:
            state.apply(update)
        accepted: list[bytes] = []
        strategies, weights = zip(*self._strategies, strict=True)
        for _ in range(UPDATES * ATTEMPTS):
            [strategy] = rng.choices(strategies, weights)
            try:
                data = strategy(state, real)
            except ValueError:
                # A clock or client id is beyond what the format can encode.
                continue
            if state.apply(data):
                accepted.append(data)
                if len(accepted) == UPDATES:
                    break
        return History(before, accepted)

    def _real_update(self, _state: DocumentState, real: Sequence[bytes]) -> bytes:
        return self._rng.choice(real)

    def _mutated_bytes(self, _state: DocumentState, real: Sequence[bytes]) -> bytes:
        return mutate(self._rng, self._rng.choice(real), self._updates)

    def _modified_update(self, state: DocumentState, real: Sequence[bytes]) -> bytes:
        """A real update, some of whose structs are modified."""
        rng = self._rng
        update = parse_update(rng.choice(real))
        for part in update.parts:
            if rng.random() < 0.1:
                part.client = self._random_client(state)
            if rng.random() < 0.2:
                part.clock = self._random_clock(state, part.client)
            for index in range(len(part.structs)):
                if rng.random() < 0.5:
                    part.structs[index] = self._modified_struct(state, part.structs[index])
        if rng.random() < 0.2:
            update.deletions += self._deleted_ranges(state)
        return with_joined_parts(update).encode()

    def _modified_struct(self, state: DocumentState, struct: CraftedStruct) -> CraftedStruct:
        rng = self._rng
        choice = rng.randrange(7)
        if choice == 0:
            return evolve(struct, origin=self._random_id(state))
        if choice == 1:
            return evolve(struct, right=self._random_id(state))
        if choice == 2:
            return evolve(struct, origin=None, right=None, parent=self._random_parent(state))
        if choice == 3:
            return evolve(struct, key=rng.choice((None, *KEYS)))
        if choice == 4:
            kind, data, length = random_content(rng)
            return evolve(struct, kind=kind, content=data, length=length)
        if choice == 5:
            return evolve(struct, origin=None, right=None)
        return CraftedStruct(rng.choice((GC, SKIP)), b"", length=struct.length)

    def _generated_update(self, state: DocumentState, _real: Sequence[bytes]) -> bytes:
        """Structs that are generated at random, of one client or two."""
        rng = self._rng
        parts = []
        for client in {self._random_client(state) for _ in range(rng.choice((1, 1, 1, 2)))}:
            clock = start = self._random_clock(state, client)
            structs = []
            for _ in range(rng.randint(1, 4)):
                struct = self._generated_struct(state, client, start, clock)
                structs.append(struct)
                clock += struct.length
            parts.append(ClientStructs(client, start, structs))
        return CraftedUpdate(parts, self._deleted_ranges(state) if rng.random() < 0.3 else []).encode()

    def _generated_struct(self, state: DocumentState, client: int, start: int, clock: int) -> CraftedStruct:
        rng = self._rng
        if rng.random() < 0.05:
            return CraftedStruct(rng.choice((GC, SKIP)), b"", length=rng.randint(1, 5))
        kind, data, length = random_content(rng)
        struct = CraftedStruct(kind, data, length=length)
        choice = rng.random()
        if choice < 0.45:
            # With a parent, often a type of the same update.
            own = (client, rng.randint(start, clock - 1)) if clock > start and rng.random() < 0.4 else None
            struct.parent = own or self._random_parent(state)
            if rng.random() < 0.5:
                struct.key = rng.choice(KEYS)
            return struct
        if choice < 0.85:
            own = (client, clock - 1) if clock > start and rng.random() < 0.5 else None
            struct.origin = own or self._random_id(state)
        if choice > 0.7:
            struct.right = self._random_id(state)
        return struct

    def _deletions(self, state: DocumentState, _real: Sequence[bytes]) -> bytes:
        """Deletions of shared types with all their content, or of anything."""
        rng = self._rng
        if state.types and rng.random() < 0.6:
            found = rng.sample(state.types, min(len(state.types), rng.randint(1, 3)))
            return CraftedUpdate([], [(client, clock, 1) for client, clock in found]).encode()
        return CraftedUpdate([], self._deleted_ranges(state)).encode()

    def _deleted_ranges(self, state: DocumentState) -> list[tuple[int, int, int]]:
        rng = self._rng
        ranges = []
        for _ in range(rng.randint(1, 4)):
            client, clock = self._random_id(state)
            ranges.append((client, max(0, clock + rng.randint(-2, 2)), rng.choice((1, 1, 1, 2, 3, 20))))
        return ranges

    def _random_client(self, state: DocumentState) -> int:
        rng = self._rng
        if state.clocks and rng.random() < 0.5:
            return rng.choice(list(state.clocks))
        return rng.choice(OTHER_CLIENTS)

    def _random_clock(self, state: DocumentState, client: int) -> int:
        rng = self._rng
        known = state.clocks.get(client, 0)
        if rng.random() < 0.85:
            return known
        return max(0, known + rng.randint(-4, 4))

    def _random_id(self, state: DocumentState) -> Id:
        """The id of a struct, which may not exist yet."""
        rng = self._rng
        if not state.ids or rng.random() < 0.04:
            return rng.choice(OTHER_CLIENTS), rng.choice((0, 1, 5, 2**31, 2**53 - 1))
        (client, clock), length = rng.choice(state.ids[-30:] if rng.random() < 0.6 else state.ids)
        return client, clock + rng.randrange(length)

    def _random_parent(self, state: DocumentState) -> str | Id:
        rng = self._rng
        if state.types and rng.random() < 0.6:
            return rng.choice(state.types[-10:])
        return self._random_id(state) if rng.random() < 0.1 else rng.choice(ROOTS)
