"""The sockets of the generator's clients, multiplexed with epoll."""

from __future__ import annotations

import select
from collections.abc import Callable

from benchmarks.generator.client import Client


class Connections:
    """Open connections.

    :ivar live: whether what is received is processed at once.  Otherwise it is only stored with its time of arrival,
        so that processing does not delay the next arrival's time.
    """

    def __init__(self, process: Callable[[Client], object]) -> None:
        """:param process: called with a client that has received something, while `live` is set."""
        self.live = True
        self._process = process
        self._poll = select.epoll()
        self._by_descriptor: dict[int, Client] = {}
        self._awaiting_write: set[Client] = set()

    def open(self, client: Client) -> None:
        """Start to connect a client."""
        client.connect()
        self._by_descriptor[client.socket.fileno()] = client
        self._poll.register(client.socket.fileno(), select.EPOLLIN)

    def receive(self, timeout: float) -> bool:
        """Receive from all clients that have data, waiting up to `timeout` seconds for the first one.

        :return: whether any socket was ready.
        :raises ConnectionError: if the server has closed a connection.
        """
        if timeout > 0:
            # select has a resolution of microseconds, epoll one of milliseconds.
            select.select((self._poll,), (), (), timeout)
        ready = self._poll.poll(0)
        for descriptor, event in ready:
            client = self._by_descriptor[descriptor]
            if event & select.EPOLLOUT:
                self._write(client)
            if event & ~select.EPOLLOUT:
                try:
                    client.receive()
                except BlockingIOError:
                    continue
                if self.live:
                    self._process(client)
        return bool(ready)

    def write_when_possible(self, client: Client) -> None:
        """Send the client's unsent data, if it has any, as soon as its socket takes more."""
        if client.has_unsent_data and client not in self._awaiting_write:
            self._awaiting_write.add(client)
            self._poll.modify(client.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def close(self) -> None:
        """Stop watching the sockets; clients close their own."""
        self._poll.close()

    def _write(self, client: Client) -> None:
        client.send_unsent()
        if not client.has_unsent_data:
            self._awaiting_write.discard(client)
            self._poll.modify(client.socket.fileno(), select.EPOLLIN)
