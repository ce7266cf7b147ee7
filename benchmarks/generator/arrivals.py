"""Matching of received updates with sent ones: latencies, duplicates and order.

Every edit has to arrive exactly once at every other client of its room, in the order of its author's clock.  Of cursors
only the latest position counts, so servers may leave out those in between: a movement counts as arrived when it, or a
later one of the same client, arrives.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from benchmarks.generator.client import Client, frame_of
from benchmarks.generator.messages import Control, MessageDecoder
from canvas_collab.protocol.lib0 import encode_var_bytes, encode_var_uint


class Arrivals:
    """The deliveries of one run.

    :ivar latencies: of each delivery, in seconds, in the order in which they were processed.
    :ivar out_of_order: the number of edits that a client received twice, or before an earlier one of their author.
    :ivar last: when the latest delivery happened, by `perf_counter`.
    """

    def __init__(self, clients: Sequence[Client], hocuspocus: bool, echo: bool) -> None:
        """:param clients: all clients of the generator; each one's number is its index.
        :param echo: whether clients send the cursors that they receive back to the server.
        """
        self.latencies = array("d")
        self.out_of_order = 0
        self.last = 0.0
        self._clients = clients
        self._decoder = MessageDecoder(len(clients), hocuspocus)
        self._echo = echo

    def process(self, client: Client) -> None:
        """Process everything that a client has received and not processed so far.

        :raises ConnectionError: if the server has refused or closed the connection.
        """
        if not client.opened_at and not client.read_handshake(b"\x00"):
            return
        decode, own, clocks = self._decoder.decode, client.number, client.clocks
        echoes: list[bytes] = []
        for when, payload in client.messages():
            message = decode(payload)
            for number, clock, end in message.edits:
                if number != own:
                    if clocks.get(number, 0) != clock:
                        self.out_of_order += end - clock
                    self._add(client, number, clock, end, when)
            if message.cursors:
                news = []
                for number, clock, encoded in message.cursors:
                    before = clocks.get(number, 0)
                    if number == own and not client.clock_offset:
                        client.clock_offset = message.clock_offset
                    if number != own and clock > before:
                        self._add(client, number, before, clock, when)
                        news.append(encoded)
                if self._echo and news:
                    echoes.append(frame_of(b"\x01" + encode_var_bytes(encode_var_uint(len(news)) + b"".join(news))))
            elif message.control is not Control.NONE:
                _follow(client, message.control, when)
        if echoes:
            client.send_bytes(b"".join(echoes))

    def _add(self, client: Client, number: int, start: int, end: int, when: float) -> None:
        """Count the updates of client `number` from clock `start` up to `end`."""
        client.clocks[number] = end
        self.latencies.extend([when - sent_at for sent_at in self._clients[number].sent_between(start, end)])
        if when > self.last:
            self.last = when


def _follow(client: Client, control: Control, when: float) -> None:
    """Take the step of the connection that a control message calls for."""
    if control is Control.DENIED:
        raise ConnectionError(f"client {client.number} was denied the document")
    if control is Control.AUTHENTICATED:
        client.send_step_1(b"\x00")
    elif not client.synced_at:
        client.synced_at = when
