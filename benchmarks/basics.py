"""The duration of single operations on an idle machine: ``python -m benchmarks.basics``.

Looking up a session and a role, a group commit, a handshake, and opening a document of a megabyte.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from urllib.parse import quote

from pycrdt import Map
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread
from websockets.sync.client import connect

from benchmarks.generator.measurement import percentile
from benchmarks.installation import installation
from canvas_collab.access.access_list import AccessList
from canvas_collab.access.authentication import Credential, Sessions, Source
from canvas_collab.access.authorization import Authorizer
from canvas_collab.access.fair_semaphore import FairSemaphore
from canvas_collab.access.origins import OriginPolicy
from canvas_collab.config.settings import Settings
from canvas_collab.database.migrations import prepare_database
from canvas_collab.database.pool import Database
from canvas_collab.persistence.compactor import compact_in_background
from canvas_collab.persistence.store import DocumentStore, LogEntry
from canvas_collab.protocol import sync
from canvas_collab.scheduling import make_cooperator
from tests.support.clients import Client
from tests.support.daemons import Daemon
from tests.support.databases import SECRET, TestDatabase, User

SESSION_CHECKS = 3000
COMMITS = 300
HANDSHAKES = 500
OPENINGS = 10
DOCUMENT_SIZE = 10**6

#: An update as large as that of one typed character.
SMALL_UPDATE = b"\x01\x01\xf3\x8f\xd4\x9a\x0c\x07\x84\xf3\x8f\xd4\x9a\x0c\x06\x01x\x00"


def show(what: str, seconds: list[float]) -> None:
    """Print the median and p99 of durations in seconds."""
    seconds.sort()
    print(
        f"{what:<52} median {percentile(seconds, 0.5) * 1e3:8.2f} ms   p99 {percentile(seconds, 0.99) * 1e3:8.2f} ms"
        f"   of {len(seconds)}"
    )


def timed(action: Callable[[], object], times: int) -> list[float]:
    """Call a function repeatedly; return the durations in seconds."""
    durations = []
    for _ in range(times):
        started = perf_counter()
        action()
        durations.append(perf_counter() - started)
    return durations


class _ConnectedClient:
    """A client that never disconnects."""

    is_closing = False


async def measure_database(database: TestDatabase, user: User) -> None:
    """Measure the daemon's database queries, without a daemon."""
    catalogue = await deferToThread(prepare_database, database.url, False)
    settings = Settings()
    pool = Database(reactor, database.url, settings.database.pool_size)
    pool.startService()
    try:
        sessions = Sessions(pool, catalogue, SECRET)
        access_list = AccessList(pool, catalogue, settings.routing.room_prefix)
        routing, cookie_prefix = settings.routing, settings.auth.cookie_prefix
        lookups = FairSemaphore(1, 0)
        authorizer = Authorizer(
            reactor, routing, cookie_prefix, OriginPolicy(), sessions, access_list, lookups, timeout=5.0
        )
        credential = Credential(user.signed_token, Source.COOKIE)
        show("session", [await _measured(sessions.verify(user.token)) for _ in range(SESSION_CHECKS)])
        decisions = [
            await _measured(authorizer.authorize("diagram-basics", credential, _ConnectedClient()))
            for _ in range(SESSION_CHECKS)
        ]
        show("session and role", decisions)
        store = DocumentStore(
            pool,
            catalogue,
            compact_in_background,
            settings.snapshots.history_retention,
            journal_database=pool,
            cooperator=make_cooperator(reactor),
        )
        for size in (1, 50, 500):
            batch = [LogEntry(f"diagram-{number % 10}", user.id, SMALL_UPDATE) for number in range(size)]
            commits = [await _measured(store.append(batch)) for _ in range(COMMITS)]
            show(f"group commit of {size} updates", commits)
    finally:
        pool.stopService()


async def _measured(action: Awaitable[object]) -> float:
    started = perf_counter()
    await action
    return perf_counter() - started


def measure_daemon(database: TestDatabase, daemon: Daemon, user: User) -> None:
    """Measure handshakes and the opening of documents, as a client."""
    url = f"{daemon.ws_url}/diagram-basics?token={quote(user.token)}"

    def handshake_received() -> None:
        connect(url, proxy=None, compression=None, close_timeout=0).socket.close()

    with Client(daemon, "basics", user):
        show("handshake, the room being in memory", timed(handshake_received, HANDSHAKES))
    fill(daemon, user)
    durations = []
    for _ in range(OPENINGS):
        daemon.wait_until(lambda: daemon.get("/health")[1]["documents"] == 0)
        durations.append(open_large(daemon, user))
    show(f"opening {DOCUMENT_SIZE / 1e6:g} MB from the database, until it has arrived", durations)
    with Client(daemon, "large", user):
        durations = [open_large(daemon, user) for _ in range(OPENINGS)]
    show(f"opening {DOCUMENT_SIZE / 1e6:g} MB that are in memory", durations)


def fill(daemon: Daemon, user: User) -> None:
    """Add shapes to the document until its updates are :data:`DOCUMENT_SIZE` bytes."""
    with Client(daemon, "large", user) as client:
        shapes = client.doc.get("shapes", type=Map)
        updates: list[bytes] = []
        subscription = client.doc.observe(lambda event: updates.append(event.update))
        drawn = size = 0
        while size < DOCUMENT_SIZE:
            with client.doc.transaction():
                for number in range(drawn, drawn + 100):
                    shapes[f"shape-{number}"] = Map({"x": number * 1.5, "y": number / 3, "kind": "rectangle"})
            drawn += 100
            client.send(sync.encode_update(updates[-1]))
            size += len(updates[-1])
        client.doc.unobserve(subscription)
        client.flush()


def open_large(daemon: Daemon, user: User) -> float:
    """Open the large document without decoding it; return the seconds until it has arrived."""
    started = perf_counter()
    url = f"{daemon.ws_url}/diagram-large?token={quote(user.token)}"
    with connect(url, proxy=None, compression=None, max_size=None, close_timeout=0) as socket:
        socket.send(sync.encode_step_1(b"\x00"))
        while True:
            message = socket.recv()
            assert isinstance(message, bytes)
            if message[:2] == b"\x00\x01":
                break
        durations = perf_counter() - started
        assert len(message) > DOCUMENT_SIZE * 0.9
        socket.socket.close()
    return durations


def main() -> None:
    """Measure everything, and print it."""
    with installation() as (database, daemon):
        user = database.add_user("basics")
        for diagram in ("basics", "large"):
            database.add_diagram(diagram, user)
        measure_daemon(database, daemon, user)
        daemon.stop()
        react(lambda _reactor: Deferred.fromCoroutine(measure_database(database, user)))


if __name__ == "__main__":
    main()
