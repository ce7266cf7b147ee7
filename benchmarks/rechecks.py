"""What a recheck of many open connections costs: ``python -m benchmarks.rechecks``.

The connections have no sockets; sessions, roles and the database are real.  Rechecking one connection after the other,
with two queries each, is compared with rechecking them in batches.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import psycopg2
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, react

from benchmarks.installation import postgres
from canvas_collab.access.access_list import AccessList
from canvas_collab.access.authentication import Credential, Session, Sessions, Source
from canvas_collab.access.authorization import Authorization, Authorizer
from canvas_collab.access.batch_authorization import BatchAuthorizer
from canvas_collab.access.fair_semaphore import FairSemaphore
from canvas_collab.access.origins import OriginPolicy
from canvas_collab.access.roles import Access
from canvas_collab.config.application import RoutingSettings
from canvas_collab.config.connections import ConnectionLimits
from canvas_collab.counters import Counters
from canvas_collab.database.catalogue import Catalogue, read_catalogue
from canvas_collab.database.pool import Database, Parameters, Row
from canvas_collab.database.schemas import find_schemas
from canvas_collab.document.document import Document
from canvas_collab.rooms.awareness import Awareness
from canvas_collab.rooms.channel import Channel
from canvas_collab.rooms.commits import JournalState
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.pacing import FlushPacer
from canvas_collab.rooms.rechecking import Rechecker
from canvas_collab.rooms.rechecks import Rechecks
from canvas_collab.rooms.room import Room
from canvas_collab.rooms.rooms import Rooms
from canvas_collab.scheduling import make_cooperator
from tests.support.databases import SECRET

#: How many users there are, with one session each; every tenth owns a diagram that the next nine are members of.
USERS_PER_DIAGRAM = 10

_DATA = """
    INSERT INTO "user" (id, name, email, "emailVerified")
    SELECT 'user-' || number, '', number, true FROM generate_series(0, %(count)s - 1) AS number;
    INSERT INTO session (id, token, "userId", "expiresAt", "updatedAt")
    SELECT 'session-' || number, md5(number::text), 'user-' || number, now() + interval '7 days', now()
      FROM generate_series(0, %(count)s - 1) AS number;
    INSERT INTO diagram (id, owner_id, name)
    SELECT number / %(size)s, 'user-' || number, '' FROM generate_series(0, %(count)s - 1, %(size)s) AS number;
    INSERT INTO diagram_member (diagram_id, user_id, role)
    SELECT number / %(size)s, 'user-' || number, 'editor' FROM generate_series(0, %(count)s - 1) AS number
     WHERE number %% %(size)s > 0;
    ANALYZE;
"""


class CountingDatabase(Database):
    """Counts its queries."""

    count = 0

    async def query(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        self.count += 1
        return await super().query(sql, parameters)


class SilentChannel:
    """A channel to nobody; it counts as the socket that lookups are made for."""

    client, protocol, acknowledges, is_closing = "nowhere", "none", False, False

    def __init__(self) -> None:
        self.requester = self

    def offer(self, message: object) -> bool:
        return True

    def send(self, message: object) -> None:
        pass

    def access_changed(self) -> None:
        raise AssertionError("no access has changed")

    def close(self, denied: object) -> None:
        raise AssertionError(f"nobody may be denied: {denied}")


class LoadedRooms:
    """The rooms of the connections."""

    def __init__(self, reactor: Any, tokens: Sequence[str]) -> None:
        self._rooms: dict[str, Room[Connection]] = {}
        for number, token in enumerate(tokens):
            name = f"diagram-{number // USERS_PER_DIAGRAM}"
            if name not in self._rooms:
                pacers = FlushPacer(0.5, 0.04), FlushPacer(0.5, 0.04)
                document, awareness = Document(), Awareness(10)
                self._rooms[name] = Room(reactor, name, document, awareness, *pacers, lambda *_: None, Counters())
            credential = Credential(token, Source.QUERY)
            authorization = Authorization(name, Session(f"user-{number}", token, 60.0), Access.WRITE, credential)
            channel = cast(Channel, SilentChannel())
            room = self._rooms[name]
            room.members.add(Connection(channel, room, authorization, cast(JournalState, None), ConnectionLimits()))

    def loaded_rooms(self) -> list[Room[Connection]]:
        return list(self._rooms.values())

    def connections(self) -> list[Connection]:
        return [connection for room in self._rooms.values() for connection in room.members]


class CountingRechecker(Rechecker):
    """Counts the connections that it has rechecked; `finished` fires when they are so many as are `expected`."""

    expected = 0
    finished: Deferred[None]

    async def recheck(self, batch: Mapping[Connection, bool]) -> list[Connection]:
        outdated = await super().recheck(batch)
        self.expected -= len(batch)
        if self.expected == 0:
            self.finished.callback(None)
        return outdated


class Recheck:
    """Both ways to recheck the connections."""

    def __init__(self, reactor: Any, database: CountingDatabase, catalogue: Catalogue, rooms: LoadedRooms) -> None:
        self._rooms = rooms
        sessions, access_list = Sessions(database, catalogue, SECRET), AccessList(database, catalogue, "diagram-")
        cooperator = make_cooperator(reactor)
        origins = OriginPolicy((), "", True)
        self._authorizer = Authorizer(
            reactor, RoutingSettings(), "", origins, sessions, access_list, FairSemaphore(1, 1), 10
        )
        batches = BatchAuthorizer(database, catalogue, sessions, access_list, "diagram-", cooperator)
        self._rechecker = CountingRechecker(reactor, batches, self._authorizer, cooperator, 0)
        self._rechecks = Rechecks(reactor, cast(Rooms, rooms), self._rechecker, cooperator, 86400, "diagram-")

    async def one_by_one(self) -> None:
        """Recheck one connection after the other."""
        for connection in self._rooms.connections():
            await self._authorizer.authorize(connection.room.name, connection.credential, SilentChannel())

    async def batched(self) -> None:
        """Recheck everybody as the daemon does, with the rests between the batches."""
        self._rechecker.expected, self._rechecker.finished = len(self._rooms.connections()), Deferred()
        self._rechecks.startService()
        self._rechecks.access_changed("")
        await self._rechecker.finished
        self._rechecks.stopService()


async def measure(reactor: Any, name: str, database: CountingDatabase, work: Callable[[], Awaitable[None]]) -> None:
    """Print how many queries work takes, how long, and the longest turn of the reactor."""
    longest, last = 0.0, time.perf_counter()

    def tick() -> None:
        nonlocal longest, last
        now = time.perf_counter()
        longest, last = max(longest, now - last), now

    ticking = LoopingCall(tick)
    ticking.clock = reactor
    ticking.start(0)
    count, began = database.count, time.perf_counter()
    await work()
    seconds, queries = time.perf_counter() - began, database.count - count
    ticking.stop()
    print(
        f"{name:<10} {queries:>6} queries {seconds * 1000:>7.0f} ms; the reactor turns within {longest * 1000:.1f} ms"
    )


async def run(reactor: Any, url: str, count: int) -> None:
    """Measure both ways, twice each."""
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(_DATA, {"count": count, "size": USERS_PER_DIAGRAM})
        cursor.execute("SELECT token FROM session ORDER BY split_part(id, '-', 2)::int")
        tokens = [token for (token,) in cursor.fetchall()]
    database = CountingDatabase(reactor, url, 2)
    database.startService()
    recheck = Recheck(
        reactor,
        database,
        read_catalogue(connection, find_schemas(connection, url, "collab")),
        LoadedRooms(reactor, tokens),
    )
    print(f"{count} connections to {count // USERS_PER_DIAGRAM} rooms")
    for _ in range(2):
        await measure(reactor, "one by one", database, recheck.one_by_one)
        await measure(reactor, "batched", database, recheck.batched)
    database.stopService()
    connection.close()


def main() -> None:
    """Run PostgreSQL, and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rechecks", description=__doc__)
    parser.add_argument("--connections", type=int, default=5000)
    count = parser.parse_args().connections
    with postgres() as (database, _):
        react(lambda reactor: Deferred.fromCoroutine(run(reactor, database.url, count)))


if __name__ == "__main__":
    main()
