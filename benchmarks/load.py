"""A load generator: many clients in one process, light enough not to be what is measured.

Every client types into a text of its own, one character an update, as Yjs would encode it, or moves its cursor.  While
that goes on, what comes in is only read and stamped with its time.  Afterwards it is taken apart: what several clients
were sent the same bytes of is looked into once, every arrival is counted, and none may be missing or out of order.

Of cursors only the latest position counts, so a server may leave out those in between.  A movement has arrived with
itself or with a later one of the same cursor.
"""

from __future__ import annotations

import enum
import gc
import os
import select
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter, process_time
from types import TracebackType

from attrs import define, field, frozen

from benchmarks.client import FIRST_CLIENT_ID, Client, Place, frame_of
from benchmarks.processes import waited_seconds
from canvas_collab.protocol import awareness
from canvas_collab.protocol.lib0 import Decoder, encode_var_bytes, encode_var_string, encode_var_uint
from canvas_collab.protocol.update import decode_update
from canvas_collab.rooms.awareness import CLOCK_OFFSET

__all__ = ["FIRST_CLIENT_ID", "Generator", "Kind", "Load", "Place", "Report", "percentile", "run"]

#: So many seconds may pass until all connections are open.
PATIENCE = 20.0

#: After so many seconds in which nothing came in, it is looked whether everything has arrived.
QUIET = 0.4

#: At least so often, in seconds, pings are answered and what has come in is taken apart.
LOOK_INTERVAL = 15.0

#: So many updates are sent at most before it is looked what has come in.
BURST = 16


class Kind(enum.Enum):
    """What clients do."""

    #: Edits of the document.
    TYPING = enum.auto()
    #: Awareness only.
    CURSORS = enum.auto()
    #: Awareness, and every client sends what it hears back to the server, as y-websocket's do.
    ECHOED_CURSORS = enum.auto()


@frozen
class Load:
    """What is to be done.

    :ivar clients: how many there are in each room of the `place`.
    :ivar writers: how many of these send something.
    :ivar rate: how often each of these does, a second.
    :ivar size: how many bytes an edit brings.
    :ivar at_once: how many connections are opened at a time; None for all of them.
    :ivar patience: when everything has been sent, so many seconds are waited for what is still on its way.
    """

    place: Place
    clients: int
    writers: int
    rate: float
    seconds: float
    kind: Kind = Kind.TYPING
    size: int = 1
    at_once: int | None = 32
    patience: float = 60.0

    @property
    def updates(self) -> int:
        """How many updates are sent, in all rooms."""
        return round(len(self.place.rooms) * self.writers * self.rate * self.seconds)


@frozen
class Report:
    """What came of it.

    :ivar sent: how many updates were sent.
    :ivar delivered: how many of them arrived, at all clients together.
    :ivar missing: how many did not.
    :ivar misplaced: how many came twice or before an earlier one of the same client.
    :ivar frames: in how many messages they arrived; `bytes`: in how many bytes.
    :ivar latencies: from the sending of an update to its arrival, in seconds, in order; one for each delivery.
    :ivar lateness: how late the generator was with its own sending, in seconds, in order.
    :ivar seconds: from the first sending to the last arrival.
    :ivar busy: the share of a core that the generator took while it sent.
    :ivar waited: the share of that time in which it could have run, and something else did on its core.
    """

    sent: int
    delivered: int
    missing: int
    misplaced: int
    frames: int
    bytes: int
    latencies: Sequence[float] = field(repr=False)
    lateness: Sequence[float] = field(repr=False)
    seconds: float
    busy: float
    waited: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the `ordered` values lie."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


class _Control(enum.Enum):
    """Messages that are no news of anybody."""

    NONE = enum.auto()
    STEP_2 = enum.auto()
    AUTHENTICATED = enum.auto()
    DENIED = enum.auto()


@define
class _Message:
    """What a message holds: of each client by its number, the clocks from and to; the cursors' also encoded."""

    control: _Control = _Control.NONE
    stretches: Sequence[tuple[int, int, int]] = ()
    cursors: Sequence[tuple[int, int, bytes]] = ()
    #: How far the clocks of cursors are ahead of what their clients said first.
    ahead: int = 0


class Generator:
    """One run of a load."""

    def __init__(self, load: Load, progress: Callable[[float], object] | None = None) -> None:
        """:param progress: is told now and then how much of the sending is done, between 0 and 1."""
        self._load = load
        self._progress = progress or (lambda share: None)
        self._poll = select.epoll()
        place = load.place
        self.clients = [
            Client(place, room * load.clients + member, room, member)
            for room in range(len(place.rooms))
            for member in range(load.clients)
        ]
        self._writers = [
            self.clients[room * load.clients + member]
            for member in range(load.writers)
            for room in range(len(place.rooms))
        ]
        self._by_descriptor: dict[int, Client] = {}
        self._choked: set[Client] = set()
        self._live = True
        self._known: dict[bytes, _Message] = {}
        self._latencies = array("d")
        self._lateness = array("d")
        self._misplaced = 0
        self._last_arrival = 0.0

    def __enter__(self) -> Generator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all connections."""
        for client in self.clients:
            client.close()
        self._poll.close()

    # Connecting

    def connect(self) -> None:
        """Open all connections; return when every client has the document.

        The first ones into their rooms go first, unless everybody should come at once: some servers do not cope with
        several clients in a room that they are about to open.

        :raises ConnectionError: if the server refuses one, or it takes too long.
        """
        if self._load.at_once is not None:
            self._open(self.clients[:: self._load.clients])
        self._open([client for client in self.clients if not client.synced_at])

    def _open(self, clients: Sequence[Client]) -> None:
        waiting = deque(clients)
        opening: set[Client] = set()
        at_once = len(clients) if self._load.at_once is None else self._load.at_once
        deadline = perf_counter() + PATIENCE
        while waiting or opening:
            while waiting and len(opening) < at_once:
                client = waiting.popleft()
                client.connect()
                opening.add(client)
                self._by_descriptor[client.socket.fileno()] = client
                self._poll.register(client.socket.fileno(), select.EPOLLIN)
            self._receive(0.1)
            opening = {client for client in opening if not client.synced_at}
            if perf_counter() > deadline:
                raise ConnectionError(f"{len(opening)} clients did not get the document in {PATIENCE:g} s")

    # Driving

    def drive(self, sent: Callable[[], object] = lambda: None) -> Report:
        """Do what the load says; return when everything has arrived, or nothing more can be expected.

        :param sent: is called when everything has been sent.
        """
        for client in self.clients:
            client.frames = client.bytes = 0
        self._live = self._load.kind is Kind.ECHOED_CURSORS
        enabled = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            used, waited, started = process_time(), waited_seconds(os.getpid()), perf_counter()
            self._speak(started)
            took = perf_counter() - started
            sent()
            shares = (process_time() - used) / took, (waited_seconds(os.getpid()) - waited) / took
            self._settle()
        finally:
            if enabled:
                gc.enable()
        return self._report(started, *shares)

    def rest(self, seconds: float) -> None:
        """Only listen, and answer pings."""
        self._live = True
        until = perf_counter() + seconds
        while (left := until - perf_counter()) > 0:
            self._receive(left)

    def _speak(self, started: float) -> None:
        updates, writers = self._load.updates, self._writers
        interval = self._load.seconds / updates
        index, told = 0, started
        while index < updates:
            now = perf_counter()
            wait = started + index * interval - now
            if wait > 0:
                self._receive(wait)
                continue
            for _ in range(BURST):
                self._say(writers[index % len(writers)], started + index * interval)
                index += 1
                if index == updates or started + index * interval > now:
                    break
            # Even when sending is late, what has come in is looked at, so that its time of arrival is not far off.
            self._receive(0)
            if now - told > 0.5:
                told = now
                self._progress(index / updates)

    def _say(self, client: Client, due: float) -> None:
        if self._load.kind is Kind.TYPING:
            client.type(self._load.size)
        else:
            client.point()
        self._lateness.append(client.sent_at[-1] - due)
        if client.backpressure_started:
            self._choke(client)

    def _settle(self) -> None:
        expected = self._load.updates * (self._load.clients - 1)
        sent = looked = heard = perf_counter()
        while perf_counter() - sent < self._load.patience:
            if self._receive(QUIET / 4):
                heard = perf_counter()
            elif perf_counter() - heard > QUIET:
                self._look()
                looked = heard = perf_counter()
                if len(self._latencies) >= expected:
                    break
            if perf_counter() - looked > LOOK_INTERVAL:
                self._look()
                looked = perf_counter()
        self._look()

    # Receiving

    def _receive(self, timeout: float) -> bool:
        if timeout > 0:
            # This waits more finely than epoll, which counts in milliseconds.
            select.select((self._poll,), (), (), timeout)
        ready = self._poll.poll(0)
        for descriptor, event in ready:
            client = self._by_descriptor[descriptor]
            if event & select.EPOLLOUT:
                self._resume(client)
            if event & ~select.EPOLLOUT:
                try:
                    client.receive()
                except BlockingIOError:
                    continue
                if self._live:
                    self._take(client)
        return bool(ready)

    def _choke(self, client: Client) -> None:
        if client not in self._choked:
            self._choked.add(client)
            self._poll.modify(client.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _resume(self, client: Client) -> None:
        client.resume()
        if not client.backpressure_started:
            self._choked.discard(client)
            self._poll.modify(client.socket.fileno(), select.EPOLLIN)

    def _look(self) -> None:
        for client in self.clients:
            self._take(client)

    def _take(self, client: Client) -> None:
        if not client.opened_at and not client.take_head(b"\x00"):
            return
        known, own, seen = self._known, client.number, client.seen
        echo = self._load.kind is Kind.ECHOED_CURSORS
        echoes: list[bytes] = []
        for when, payload in client.messages():
            message = known.get(payload)
            if message is None:
                message = known[payload] = self._decode(payload)
            for number, clock, end in message.stretches:
                if number != own:
                    if seen.get(number, 0) != clock:
                        self._misplaced += end - clock
                    self._arrived(client, number, clock, end, when)
            if message.cursors:
                news = []
                for number, clock, encoded in message.cursors:
                    before = seen.get(number, 0)
                    if number == own and not client.ahead:
                        client.ahead = message.ahead
                    if number != own and clock > before:
                        self._arrived(client, number, before, clock, when)
                        news.append(encoded)
                if echo and news:
                    echoes.append(frame_of(b"\x01" + encode_var_bytes(encode_var_uint(len(news)) + b"".join(news))))
            elif message.control is not _Control.NONE:
                self._heed(client, message.control, when)
        if echoes:
            client.send_frames(b"".join(echoes))
        if client.backpressure_started:
            self._choke(client)

    def _arrived(self, client: Client, number: int, clock: int, end: int, when: float) -> None:
        client.seen[number] = end
        sent_at = self.clients[number].sent_at
        for index in range(clock, end):
            self._latencies.append(when - sent_at[index])
        if when > self._last_arrival:
            self._last_arrival = when

    def _heed(self, client: Client, control: _Control, when: float) -> None:
        if control is _Control.DENIED:
            raise ConnectionError(f"client {client.number} was denied the document")
        if control is _Control.AUTHENTICATED:
            client.ask(b"\x00")
        elif not client.synced_at:
            client.synced_at = when

    def _decode(self, payload: bytes) -> _Message:
        decoder = Decoder(payload)
        if self._load.place.hocuspocus:
            decoder.var_bytes()
        kind, step = decoder.var_uint(), payload[decoder.position] if decoder.remaining else None
        if kind == 0 and step in (1, 2):
            decoder.var_uint()
            stretches = self._stretches(decoder.var_bytes())
            return _Message(_Control.STEP_2 if step == 1 else _Control.NONE, stretches)
        if kind == 1:
            cursors = self._cursors(decoder.var_bytes())
            # Other servers leave clocks as they are.
            ahead = CLOCK_OFFSET if cursors and cursors[0][1] > CLOCK_OFFSET else 0
            return _Message(cursors=[(number, clock - ahead, entry) for number, clock, entry in cursors], ahead=ahead)
        if kind == 2 and self._load.place.hocuspocus:
            return _Message({1: _Control.DENIED, 2: _Control.AUTHENTICATED}.get(step or 0, _Control.NONE))
        return _Message()

    def _stretches(self, update: bytes) -> list[tuple[int, int, int]]:
        return [
            (client_id - FIRST_CLIENT_ID, run.clock, run.end)
            for client_id, runs in decode_update(update).runs.items()
            if 0 <= client_id - FIRST_CLIENT_ID < len(self.clients)
            for run in runs
        ]

    def _cursors(self, payload: bytes) -> list[tuple[int, int, bytes]]:
        return [
            (
                entry.client_id - FIRST_CLIENT_ID,
                entry.clock,
                encode_var_uint(entry.client_id) + encode_var_uint(entry.clock) + encode_var_string(entry.state),
            )
            for entry in awareness.decode(payload)
            if 0 <= entry.client_id - FIRST_CLIENT_ID < len(self.clients) and not entry.has_left
        ]

    def _report(self, started: float, busy: float, waited: float) -> Report:
        expected = self._load.updates * (self._load.clients - 1)
        return Report(
            self._load.updates,
            len(self._latencies),
            expected - len(self._latencies),
            self._misplaced,
            sum(client.frames for client in self.clients),
            sum(client.bytes for client in self.clients),
            sorted(self._latencies),
            sorted(self._lateness),
            max(self._last_arrival, started) - started,
            busy,
            waited,
        )


def run(load: Load) -> Report:
    """Run a load to its end.

    :raises ConnectionError: if the server refuses, closes or cuts off a client.
    """
    with Generator(load) as generator:
        generator.connect()
        return generator.drive()
