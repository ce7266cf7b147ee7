"""Two daemons on one database: whatever both do at once, and whichever is killed, what was saved is there afterwards.

``INTERLEAVING_SEED`` chooses other interleavings.
"""

from __future__ import annotations

import os
import random
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
import pytest_twisted
from pycrdt import Doc, Map, Text, merge_updates
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from canvas_collab.database.migrations import prepare_database
from canvas_collab.database.pool import Database
from canvas_collab.document.document import Document
from canvas_collab.persistence.compactor import compact_in_background
from canvas_collab.persistence.store import DocumentStore, LogEntry
from canvas_collab.protocol import hocuspocus, sync
from canvas_collab.protocol.lib0 import Decoder
from canvas_collab.protocol.update import decode_update
from tests.support.daemons import Daemon, daemon_environment
from tests.support.databases import TestDatabase, User
from tests.support.hocuspocus_client import STEP_2, RawHocuspocus
from tests.support.stores import document_store

SEED = int(os.environ.get("INTERLEAVING_SEED", "1"))

STORE_INTERLEAVINGS = 200
#: Daemons serve so many interleavings, each in a document of its own, before they end.
INTERLEAVINGS_AT_A_TIME = 4
TIMES = 13


class Author:
    """Somebody who draws in a document, at random; `updates` is what of that has not been taken yet."""

    def __init__(self, chance: random.Random, name: str) -> None:
        self._random = chance
        self._name = name
        self._number = 0
        self.doc: Doc[Any] = Doc()
        self._text = self.doc.get("text", type=Text)
        self._keys: Map[Any] = self.doc.get("keys", type=Map)
        self.updates: list[bytes] = []
        self._subscription = self.doc.observe(lambda event: self.updates.append(event.update))

    def take(self) -> list[bytes]:
        """The updates since the last time."""
        taken, self.updates = self.updates, []
        return taken

    def draw(self) -> None:
        """Add something, or take something out."""
        self._number += 1
        length = len(self._text)
        kind = self._random.randrange(4)
        if kind == 0 and length > 10:
            begin = self._random.randrange(length - 5)
            del self._text[begin : begin + self._random.randrange(1, 5)]
        elif kind == 1:
            self._keys[f"{self._name} {self._number}"] = self._number
        elif kind == 2:
            self._keys["shared"] = f"{self._name} {self._number}"
        else:
            self._text.insert(self._random.randrange(length + 1), f"{self._name}{self._number} " * 8)

    def hear(self, other: Author) -> None:
        """Learn what somebody else has drawn; that counts as drawn here, too."""
        self.doc.apply_update(other.doc.get_update(self.doc.get_state()))


def content(updates: Sequence[bytes]) -> tuple[str, object]:
    """What updates come to."""
    doc: Doc[Any] = Doc()
    # Not one after the other: they may have come in another order than they were made.
    doc.apply_update(merge_updates(*updates))
    return str(doc.get("text", type=Text)), doc.get("keys", type=Map).to_py()


def expect_all(document: Document, updates: Sequence[bytes]) -> None:
    """None of these updates is news to the document."""
    missing = [number for number, update in enumerate(updates) if document.lacks_any_of(decode_update(update))]
    assert not missing, f"of {len(updates)} updates these are missing: {missing}"


class StoreInterleaving:
    """One document in two stores, and what is done to it at once."""

    def __init__(self, stores: Sequence[DocumentStore], seed: int) -> None:
        self._random = random.Random(seed)
        self._stores = stores
        self._name = f"document-{seed}"
        self._authors = [Author(self._random, name) for name in ("a", "b")]
        self._appended: list[bytes] = []

    async def play(self, steps: int = 24) -> None:
        """Take steps, several at a time, and look at the end."""
        under_way: set[Deferred[None]] = set()
        for _ in range(steps):
            step: Deferred[None] = Deferred.fromCoroutine(self._step())
            under_way.add(step)
            step.addCallback(lambda _, step=step: under_way.discard(step))
            if len(under_way) >= self._random.randrange(1, 6):
                await gatherResults(self._random.sample(sorted(under_way, key=id), 1), consumeErrors=True)
        await gatherResults(list(under_way), consumeErrors=True)
        for store in self._stores:
            stored = await store.load(self._name)
            expect_all(stored.document, self._appended)
            assert content([stored.document.encode()]) == content(self._appended)

    def _step(self) -> Coroutine[Deferred[Any], Any, None]:
        number = self._random.randrange(2)
        store = self._stores[number]
        weights = {self._append: 5, self._load: 3, self._fold: 3, self._prune: 1}
        [step] = self._random.choices(list(weights), list(weights.values()))
        return step(store, self._authors[number])

    async def _append(self, store: DocumentStore, author: Author) -> None:
        if self._random.random() < 0.3:
            author.hear(self._random.choice(self._authors))
        for _ in range(self._random.randrange(1, 5)):
            author.draw()
        updates = author.take()
        await store.append([LogEntry(self._name, "nobody", update) for update in updates])
        self._appended += updates

    async def _load(self, store: DocumentStore, _author: Author) -> None:
        before = list(self._appended)
        stored = await store.load(self._name)
        expect_all(stored.document, before)

    async def _fold(self, store: DocumentStore, _author: Author) -> None:
        await store.fold(self._name, compact=self._random.random() < 0.5)

    async def _prune(self, store: DocumentStore, _author: Author) -> None:
        await store.prune(self._random.choice((1, 3, 500)), min_retention=0)


@pytest_twisted.ensureDeferred
async def test_a_load_sees_all_that_was_appended_before_it_whatever_two_stores_do_at_once(
    database: TestDatabase,
) -> None:
    catalogue = prepare_database(database.url, migrate=True)
    databases = [Database(reactor, database.url, 3) for _ in range(2)]
    stores = [document_store(each, catalogue, compact_in_background) for each in databases]
    for each in databases:
        each.startService()
    try:
        for number in range(STORE_INTERLEAVINGS):
            await StoreInterleaving(stores, SEED * STORE_INTERLEAVINGS + number).play()
    finally:
        for each in databases:
            each.stopService()
    # Not everything was left in the log.
    [[pruned]] = database.query("SELECT count(*) = 0 FROM yjs_update_log WHERE id = 1")
    [[compacted]] = database.query("SELECT count(*) > 0 FROM yjs_document WHERE compacted_size > 0")
    assert (pruned, compacted) == (True, True)


class Side:
    """One of the daemons, and what is drawn there."""

    def __init__(self, chance: random.Random, name: str, daemon: Daemon, user: User, rooms: Sequence[str]) -> None:
        self.daemon = daemon
        self._random = chance
        self._user = user
        self._open = ExitStack()
        self._socket = self._open.enter_context(RawHocuspocus(daemon))
        self._authors = {room: Author(chance, name) for room in rooms}
        self._sent: dict[str, list[bytes]] = {room: [] for room in rooms}
        self._saved = dict.fromkeys(rooms, 0)
        for room in rooms:
            self._socket.open(room, user.token)

    def draw(self, room: str) -> None:
        for _ in range(self._random.randrange(1, 6)):
            self._authors[room].draw()
        self._send(room)

    def hear(self, room: str, other: Side) -> None:
        """What was drawn on the other side is brought here as well."""
        self._authors[room].hear(other._authors[room])
        self._send(room)

    def wait_saved(self, room: str) -> None:
        while self._saved[room] < len(self._sent[room]):
            self._socket.wait_for(room, hocuspocus.SAVED)
            self._saved[room] += 1

    def come_back(self, room: str) -> None:
        """Leave the document, so that it may leave memory, and open it again."""
        self.wait_saved(room)
        self._socket.send(room, hocuspocus.encode_close("leaving"))
        self._socket.open(room, self._user.token)

    def kill(self) -> None:
        """End the daemon as a power cut would; what was not saved by then may be gone."""
        self.daemon.kill()
        self._socket.wait_closed()
        for room in self._saved:
            self._saved[room] += len(self._socket.heard(room, hocuspocus.SAVED))
        self._open.close()

    def stop(self) -> None:
        """End the daemon as an operator does: it saves everything."""
        self._socket.ping()
        self.daemon.stop()
        self._saved = {room: len(sent) for room, sent in self._sent.items()}
        self._open.close()

    def sent(self, room: str) -> list[bytes]:
        return self._sent[room]

    def saved(self, room: str) -> list[bytes]:
        return self._sent[room][: self._saved[room]]

    def _send(self, room: str) -> None:
        for update in self._authors[room].take():
            self._socket.edit(room, update)
            self._sent[room].append(update)


class Daemons:
    """Starts daemons that write snapshots, compact and prune as eagerly as they can."""

    def __init__(self, database: TestDatabase) -> None:
        self._database = database
        self._started: list[Daemon] = []

    def start(self, count: int) -> list[Daemon]:
        settings = {"SNAPSHOT_DEBOUNCE": 0.05, "SNAPSHOT_MAX_WAIT": 0.1, "HISTORY_RETENTION": 0}
        daemons = [Daemon(daemon_environment(self._database, **settings)) for _ in range(count)]
        self._started += daemons
        for daemon in daemons:
            daemon.wait_until_ready()
        return daemons

    def end(self) -> None:
        for daemon in self._started:
            daemon.kill()


@pytest.fixture
def daemons(database: TestDatabase) -> Iterator[Daemons]:
    daemons = Daemons(database)
    yield daemons
    daemons.end()


def interleave(chance: random.Random, sides: list[Side], rooms: Sequence[str]) -> None:
    """Do things in all rooms on both sides, kill one daemon in the midst of it, and end the other at the end."""
    steps = [room for room in rooms for _ in range(10)]
    chance.shuffle(steps)
    moment = chance.randrange(len(steps))
    alive = list(sides)
    for number, room in enumerate(steps):
        side = chance.choice(alive)
        kind = chance.randrange(6)
        if kind == 0:
            side.hear(room, chance.choice(sides))
        elif kind == 1:
            side.come_back(room)
        elif kind == 2:
            side.wait_saved(room)
        else:
            side.draw(room)
        if number == moment:
            alive.remove(victim := chance.choice(alive))
            victim.kill()
    [survivor] = alive
    chance.choice((survivor.stop, survivor.stop, survivor.kill))()


def read(daemon: Daemon, user: User, room: str) -> bytes:
    """All of a document, as a fresh client is told."""
    with RawHocuspocus(daemon) as socket:
        socket.open(room, user.token)
        socket.send(room, sync.encode_step_1(b"\x00"))
        return Decoder(socket.wait_for(room, STEP_2)[2:]).var_bytes()


def test_what_two_daemons_saved_of_one_document_is_all_there_after_one_was_killed_and_both_have_ended(
    database: TestDatabase, daemons: Daemons
) -> None:
    user = database.add_user("ada")
    chance = random.Random(SEED)
    pair = daemons.start(2)
    saved = 0
    for number in range(TIMES):
        ids = [f"{number}-{index}" for index in range(INTERLEAVINGS_AT_A_TIME)]
        for diagram in ids:
            database.add_diagram(diagram, user)
        rooms = [f"diagram-{diagram}" for diagram in ids]
        sides = [Side(chance, name, daemon, user, rooms) for name, daemon in zip("ab", pair, strict=True)]
        interleave(chance, sides, rooms)
        # A third serves what the two have left, and is one of the next two.
        pair = daemons.start(2)
        for room in rooms:
            found = read(pair[0], user, room)
            document = Document([decode_update(found)])
            for side in sides:
                expect_all(document, side.saved(room))
                saved += len(side.saved(room))
            arrived = [
                update
                for side in sides
                for update in side.sent(room)
                if not document.lacks_any_of(decode_update(update))
            ]
            assert content([found]) == content(arrived)
    print(f"{TIMES * INTERLEAVINGS_AT_A_TIME} interleavings, {saved} updates saved, 0 lost")
    assert saved > TIMES * INTERLEAVINGS_AT_A_TIME
