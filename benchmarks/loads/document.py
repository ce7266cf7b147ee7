"""Opening a large document as a client that does not look into it, so that only the server takes time."""

from __future__ import annotations

import select
from time import perf_counter

from attrs import frozen

from benchmarks.client import Client, Place
from benchmarks.servers import LargeDocument
from canvas_collab.protocol import sync

PATIENCE = 60.0

#: When nothing has come for so many seconds, everything has.
QUIET = 0.25


@frozen
class Opened:
    """A document that was opened, by a client that is still there.

    :ivar seconds: from the beginning of the connection to the end of the document.
    :ivar answer: the message with the document.
    """

    client: Client
    seconds: float
    answer: bytes


def open_document(place: Place, number: int, at_least: int, vector: bytes = b"\x00") -> Opened:
    """Open a document; what is waited for is a step 2 or an update of so many bytes.

    :param vector: the state vector of what the client has already.
    :raises ConnectionError: if that does not come.
    """
    client = Client(place, number, 0, number)
    client.connect()
    deadline = perf_counter() + PATIENCE
    asked = not place.hocuspocus
    while perf_counter() < deadline:
        quiet = not select.select((client.socket,), (), (), QUIET)[0]
        if not quiet:
            client.receive()
            if client.opened_at and asked:
                # Looking into it now would take longer, again and again, than receiving it.
                continue
        if not client.take_head(vector):
            continue
        for when, payload in client.messages():
            message = payload[len(client.prefix) :]
            if message[:2] == b"\x02\x02":
                client.ask(vector)
                asked = True
            elif message[:2] in (b"\x00\x01", b"\x00\x02") and len(message) >= at_least:
                return Opened(client, when - client.connected_at, message)
    client.close()
    raise ConnectionError("the document did not come")


def upload(place: Place, document: LargeDocument) -> Client:
    """Bring a document to a server that has no store; returns the client that did, and that keeps it there."""
    client = open_document(place, 0, 2).client
    client.send(sync.encode_update(document.data))
    deadline = perf_counter() + PATIENCE
    while client.backpressure_started and perf_counter() < deadline:
        select.select((), (client.socket,), (), 1)
        client.resume()
    # Some servers send it back, and wait until that has been read.
    while select.select((client.socket,), (), (), 2)[0] and perf_counter() < deadline:
        client.receive()
    return client
