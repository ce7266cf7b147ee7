"""Two daemons serve one document: whichever of them is killed, no update is lost that was reported as saved.

``INTERLEAVING_SEED`` chooses other interleavings.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from canvas_collab.document.document import Document
from canvas_collab.protocol import hocuspocus, sync
from canvas_collab.protocol.lib0 import Decoder
from canvas_collab.protocol.update import decode_update
from tests.support.authors import Author, content, expect_all
from tests.support.daemons import Daemon, daemon_environment
from tests.support.databases import TestDatabase, User
from tests.support.hocuspocus_client import STEP_2, RawHocuspocus

SEED = int(os.environ.get("INTERLEAVING_SEED", "1"))

STORE_INTERLEAVINGS = 200
#: Daemons serve so many interleavings, each in a document of its own, before they end.
INTERLEAVINGS_AT_A_TIME = 4
TIMES = 13


class Side:
    """One of the daemons, with a client that edits documents on it."""

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

    def edit(self, room: str) -> None:
        for _ in range(self._random.randrange(1, 6)):
            self._authors[room].edit()
        self._send(room)

    def merge(self, room: str, other: Side) -> None:
        """Apply the other side's edits to the client's document, and send them to this daemon as well."""
        self._authors[room].merge(other._authors[room])
        self._send(room)

    def wait_saved(self, room: str) -> None:
        while self._saved[room] < len(self._sent[room]):
            self._socket.wait_for(room, hocuspocus.SAVED)
            self._saved[room] += 1

    def reopen(self, room: str) -> None:
        """Close the document, so that it may be unloaded, and open it again."""
        self.wait_saved(room)
        self._socket.send(room, hocuspocus.encode_close("leaving"))
        self._socket.open(room, self._user.token)

    def kill(self) -> None:
        """Kill the daemon; updates that were not reported as saved may be lost."""
        self.daemon.kill()
        self._socket.wait_closed()
        for room in self._saved:
            self._saved[room] += len(self._socket.heard(room, hocuspocus.SAVED))
        self._open.close()

    def stop(self) -> None:
        """Stop the daemon, which saves everything first."""
        self._socket.ping()
        self.daemon.stop()
        self._saved = {room: len(sent) for room, sent in self._sent.items()}
        self._open.close()

    def sent(self, room: str) -> list[bytes]:
        return self._sent[room]

    def saved(self, room: str) -> list[bytes]:
        return self._sent[room][: self._saved[room]]

    def _send(self, room: str) -> None:
        for update in self._authors[room].take_updates():
            self._socket.edit(room, update)
            self._sent[room].append(update)


class Daemons:
    """Starts daemons whose settings make them write snapshots, compact and prune as often as possible."""

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

    def kill_all(self) -> None:
        for daemon in self._started:
            daemon.kill()


@pytest.fixture
def daemons(database: TestDatabase) -> Iterator[Daemons]:
    daemons = Daemons(database)
    yield daemons
    daemons.kill_all()


def interleave(chance: random.Random, sides: list[Side], rooms: Sequence[str]) -> None:
    """Edit all rooms on both sides, kill one daemon at a random moment, and stop or kill the other at the end."""
    steps = [room for room in rooms for _ in range(10)]
    chance.shuffle(steps)
    moment = chance.randrange(len(steps))
    alive = list(sides)
    for number, room in enumerate(steps):
        side = chance.choice(alive)
        kind = chance.randrange(6)
        if kind == 0:
            side.merge(room, chance.choice(sides))
        elif kind == 1:
            side.reopen(room)
        elif kind == 2:
            side.wait_saved(room)
        else:
            side.edit(room)
        if number == moment:
            alive.remove(victim := chance.choice(alive))
            victim.kill()
    [survivor] = alive
    chance.choice((survivor.stop, survivor.stop, survivor.kill))()


def read(daemon: Daemon, user: User, room: str) -> bytes:
    """Return all of a document, as the daemon sends it to a client that has nothing."""
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
        # A new daemon serves what the two have stored, and is one of the next two.
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
