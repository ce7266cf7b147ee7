"""Opening a large document with a client that does not decode it, so that only the server's time is measured."""

from __future__ import annotations

import select
from time import perf_counter

from attrs import frozen

from benchmarks.endpoint import Endpoint
from benchmarks.generator.client import Client
from benchmarks.servers.large_document import LargeDocument
from canvas_collab.protocol import sync

#: How long opening or uploading a document may take, in seconds.
PATIENCE = 60.0

#: A document has arrived completely when no data has come for so many seconds.
QUIET = 0.25


@frozen
class OpenedDocument:
    """An open document.

    :ivar client: the client that opened it, still connected.
    :ivar seconds: from the start of the connection to the arrival of the document's last byte.
    :ivar answer: the message with the document.
    """

    client: Client
    seconds: float
    answer: bytes


def open_document(endpoint: Endpoint, number: int, at_least: int, vector: bytes = b"\x00") -> OpenedDocument:
    """Open the document of the first room, and wait for a sync step 2 or an update of at least so many bytes.

    :param number: the client's number, and its index in the room.
    :param vector: the client's state vector; by default that of an empty document.
    :raises ConnectionError: if the document does not arrive within :data:`PATIENCE`.
    """
    client = Client(endpoint, number, 0, number)
    client.connect()
    deadline = perf_counter() + PATIENCE
    asked = not endpoint.hocuspocus
    while perf_counter() < deadline:
        quiet = not select.select((client.socket,), (), (), QUIET)[0]
        if not quiet:
            client.receive()
            if client.opened_at and asked:
                # Parsing is quadratic while a large message is incomplete, so it waits until no more data comes.
                continue
        if not client.read_handshake(vector):
            continue
        for when, payload in client.messages():
            message = payload[len(client.prefix) :]
            if message[:2] == b"\x02\x02":
                client.send_step_1(vector)
                asked = True
            elif message[:2] in (b"\x00\x01", b"\x00\x02") and len(message) >= at_least:
                return OpenedDocument(client, when - client.connected_at, message)
    client.close()
    raise ConnectionError("the document did not come")


def upload(endpoint: Endpoint, document: LargeDocument) -> Client:
    """Send a document to the first room of a server without a store.

    :return: the client, still connected, so that the server keeps the document in memory.
    """
    client = open_document(endpoint, 0, 2).client
    client.send(sync.encode_update(document.data))
    deadline = perf_counter() + PATIENCE
    while client.has_unsent_data and perf_counter() < deadline:
        select.select((), (client.socket,), (), 1)
        client.send_unsent()
    # Some servers send the document back, and block until it has been read.
    while select.select((client.socket,), (), (), 2)[0] and perf_counter() < deadline:
        client.receive()
    return client
