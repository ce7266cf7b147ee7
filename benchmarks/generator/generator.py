"""Runs workloads: opens the connections, sends updates on schedule, and waits until all have arrived.

The generator has to be faster than the servers that it measures.  Clients type into a text of their own, one character
per update, encoded as Yjs would encode it, move their cursors, or replay a recording.  During a run, received data is
only stored with its time of arrival, and decoded afterwards; only clients that echo decode it at once.
"""

from __future__ import annotations

import gc
import os
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter, process_time
from types import TracebackType

from benchmarks.generator.arrivals import Arrivals
from benchmarks.generator.client import Client
from benchmarks.generator.connections import Connections
from benchmarks.generator.measurement import Measurement
from benchmarks.generator.workload import Kind, Workload
from benchmarks.processes import cpu_wait_seconds
from canvas_collab.protocol import sync

#: How long opening all connections may take, in seconds.
CONNECT_TIMEOUT = 20.0

#: After so many seconds without received data, the generator checks whether everything has arrived.
QUIET = 0.4

#: While data keeps coming in, it is decoded, and pings are answered, at this interval in seconds.
DECODE_INTERVAL = 15.0

#: How long the clients have for receiving what the first one has put on the board, in seconds.
BASE_WAIT = 0.5

#: The number of updates sent in a row before received data is read again.
BURST = 16


class Generator:
    """One run of a workload; a context manager that closes the connections."""

    def __init__(self, workload: Workload, progress: Callable[[float], object] | None = None) -> None:
        """:param progress: called about twice a second with the share (0 to 1) of the updates that have been sent."""
        # First, as `select` only takes low descriptors.
        self._connections = Connections(self._process)
        self._workload = workload
        self._progress = progress or (lambda share: None)
        endpoint = workload.endpoint
        self.clients = [
            Client(endpoint, room * workload.clients + member, room, member)
            for room in range(len(endpoint.rooms))
            for member in range(workload.clients)
        ]
        self._writers = [
            self.clients[room * workload.clients + member]
            for member in range(workload.writers)
            for room in range(len(endpoint.rooms))
        ]
        if workload.recording is not None:
            for client, author in zip(self._writers, workload.recording.authors, strict=True):
                client.author = author
        self._arrivals = Arrivals(self.clients, endpoint.hocuspocus, workload.kind is Kind.ECHOED_CURSORS)
        self._lateness = array("d")

    def __enter__(self) -> Generator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        for client in self.clients:
            client.close()
        self._connections.close()

    def connect(self) -> None:
        """Open all connections; return when every client has the document.

        Unless the workload opens all connections at once, the first client of each room connects before the others:
        some servers do not handle several clients in a room that is still being opened.

        :raises ConnectionError: if the server refuses a connection, or not all are open within
            :data:`CONNECT_TIMEOUT`.
        """
        if self._workload.at_once is not None:
            self._open(self.clients[:: self._workload.clients])
        self._open([client for client in self.clients if not client.synced_at])

    def run(self, sent: Callable[[], object] = lambda: None) -> Measurement:
        """Send the workload's updates; return when all have arrived, or the workload's patience is at its end.

        :param sent: called when the last update has been sent.
        :raises ConnectionError: if the server closes a connection.
        """
        if self._workload.recording is not None:
            self.clients[0].send(sync.encode_update(self._workload.recording.base))
            self.listen(BASE_WAIT)
        for client in self.clients:
            client.frames = client.bytes = 0
        self._connections.live = self._workload.kind is Kind.ECHOED_CURSORS
        enabled = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            cpu_before, wait_before, started = process_time(), cpu_wait_seconds(os.getpid()), perf_counter()
            self._send_updates(started)
            took = perf_counter() - started
            sent()
            busy = (process_time() - cpu_before) / took
            waited = (cpu_wait_seconds(os.getpid()) - wait_before) / took
            self._wait_for_arrivals()
        finally:
            if enabled:
                gc.enable()
        return self._measurement(started, busy, waited)

    def listen(self, seconds: float) -> None:
        """Send nothing for so many seconds; what is received is processed, and pings are answered."""
        self._connections.live = True
        until = perf_counter() + seconds
        while (left := until - perf_counter()) > 0:
            self._connections.receive(left)

    def _open(self, clients: Sequence[Client]) -> None:
        waiting = deque(clients)
        opening: set[Client] = set()
        at_once = len(clients) if self._workload.at_once is None else self._workload.at_once
        deadline = perf_counter() + CONNECT_TIMEOUT
        while waiting or opening:
            while waiting and len(opening) < at_once:
                client = waiting.popleft()
                self._connections.open(client)
                opening.add(client)
            self._connections.receive(0.1)
            opening = {client for client in opening if not client.synced_at}
            if perf_counter() > deadline:
                raise ConnectionError(f"{len(opening)} clients did not get the document in {CONNECT_TIMEOUT:g} s")

    def _send_updates(self, started: float) -> None:
        updates, writers = self._workload.updates, self._writers
        interval = self._workload.seconds / updates
        index, reported = 0, started
        while index < updates:
            now = perf_counter()
            wait = started + index * interval - now
            if wait > 0:
                self._connections.receive(wait)
                continue
            for _ in range(BURST):
                self._send_update(writers[index % len(writers)], started + index * interval)
                index += 1
                if index == updates or started + index * interval > now:
                    break
            # Data is received also while sending is late; otherwise its times of arrival would be wrong.
            self._connections.receive(0)
            if now - reported > 0.5:
                reported = now
                self._progress(index / updates)

    def _send_update(self, client: Client, due: float) -> None:
        if self._workload.kind is Kind.TYPING:
            client.send_edit(self._workload.size)
        elif self._workload.kind is Kind.RECORDED:
            client.send_recorded_edit()
        else:
            client.send_cursor()
        self._lateness.append(client.sent_at[-1] - due)
        self._connections.write_when_possible(client)

    def _wait_for_arrivals(self) -> None:
        sent = processed = received = perf_counter()
        while perf_counter() - sent < self._workload.patience:
            if self._connections.receive(QUIET / 4):
                received = perf_counter()
            elif perf_counter() - received > QUIET:
                self._process_all()
                processed = received = perf_counter()
                if len(self._arrivals.latencies) >= self._workload.deliveries:
                    break
            if perf_counter() - processed > DECODE_INTERVAL:
                self._process_all()
                processed = perf_counter()
        self._process_all()

    def _process(self, client: Client) -> None:
        self._arrivals.process(client)
        self._connections.write_when_possible(client)

    def _process_all(self) -> None:
        for client in self.clients:
            self._process(client)

    def _measurement(self, started: float, busy: float, waited: float) -> Measurement:
        arrivals = self._arrivals
        return Measurement(
            sent=self._workload.updates,
            delivered=len(arrivals.latencies),
            missing=self._workload.deliveries - len(arrivals.latencies),
            out_of_order=arrivals.out_of_order,
            frames=sum(client.frames for client in self.clients),
            bytes=sum(client.bytes for client in self.clients),
            latencies=sorted(arrivals.latencies),
            lateness=sorted(self._lateness),
            seconds=max(arrivals.last, started) - started,
            busy=busy,
            waited=waited,
        )


def run(workload: Workload) -> Measurement:
    """Connect the clients of a workload, run it, and disconnect.

    :raises ConnectionError: if the server refuses or closes a connection.
    """
    with Generator(workload) as generator:
        generator.connect()
        return generator.run()
