"""The limits of each address, user and connection: who exceeds them is refused or slowed down, and nobody else is."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc, Text

from canvas_collab.protocol import sync
from canvas_collab.rooms.opening import MAX_LOGGED_DENIALS_EACH
from tests.conftest import StartDaemon
from tests.support.clients import Client, Refused
from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase, User
from tests.support.frames import client_frame, handshake
from tests.support.hocuspocus_client import Closed, RawHocuspocus, authentication

#: Other addresses of this machine than the 127.0.0.1 that clients have: on Linux, all of 127.0.0.0/8 are.
OTHER_ADDRESS = "127.0.0.2"

#: What an edit may take to another client while somebody attacks, in seconds; generous, for busy machines.
UNAFFECTED = 1.0


@pytest.fixture
def ada(database: TestDatabase) -> User:
    """A user with three diagrams."""
    ada = database.add_user("ada")
    for diagram in ("one", "two", "three"):
        database.add_diagram(diagram, ada)
    return ada


def refusal(daemon: Daemon, user: User | None, diagram: str = "one", **options: Any) -> int:
    """The status with which a client is refused."""
    with pytest.raises(Refused) as refused:
        Client(daemon, diagram, user, **options)
    return refused.value.code


def forwarded(address: str) -> dict[str, Any]:
    return {"additional_headers": {"X-Forwarded-For": address}}


@contextlib.contextmanager
def raw_connection(daemon: Daemon, address: str = OTHER_ADDRESS) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", daemon.ws_port), 10, (address, 0)) as connection:
        yield connection


def raw_status(daemon: Daemon, path: str = "/diagram-one", address: str = OTHER_ADDRESS) -> int:
    """Make a handshake from an address, and return the status of the answer."""
    with raw_connection(daemon, address) as connection:
        connection.sendall(handshake(path))
        return int(connection.recv(1000).split()[1])


def measure_edit(writer: Client, reader: Client) -> float:
    """How long a new edit takes from one client to the other, in seconds."""
    update = _next_edit()
    began = time.monotonic()
    writer.send(sync.encode_update(update))
    while update not in reader.wait_for_update():
        pass
    return time.monotonic() - began


def _next_edit() -> bytes:
    doc: Doc[Any] = Doc()
    doc["text"] = Text("x")
    return doc.get_update()


def test_an_address_has_so_many_connections_and_no_more_and_others_have_theirs(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database, MAX_CONNECTIONS_PER_ADDRESS=2)
    with Client(daemon, "one", ada), Client(daemon, "one", ada) as second:
        assert refusal(daemon, ada) == 429
        assert refusal(daemon, ada, **forwarded("192.0.2.1")) == 429
        with Client(daemon, "one", ada, source_address=(OTHER_ADDRESS, 0)) as other:
            assert other.text == ""
        second.close()
        daemon.wait_until(lambda: daemon.get("/health")[1]["connections"] == 1)
        with Client(daemon, "one", ada):
            pass
    plain, with_proxy = [event["reason"] for event in daemon.events("connection denied")]
    assert plain == "too many connections from 127.0.0.1 (MAX_CONNECTIONS_PER_ADDRESS)"
    assert with_proxy == f"{plain}; it is a proxy's, unless TRUSTED_PROXIES is set"


def test_behind_a_trusted_proxy_the_addresses_that_it_saw_count_and_ipv6_by_64(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database, TRUSTED_PROXIES=1, MAX_CONNECTIONS_PER_ADDRESS=1)
    with (
        Client(daemon, "one", ada, **forwarded("192.0.2.1")),
        Client(daemon, "one", ada, **forwarded("2001:db8:0:1::1")),
        Client(daemon, "one", ada, **forwarded("2001:db8:0:2::1")),
        Client(daemon, "one", ada),
    ):
        # What stands before the address that the proxy appended is the client's own invention.
        assert refusal(daemon, ada, **forwarded("198.51.100.1, 192.0.2.1")) == 429
        assert refusal(daemon, ada, **forwarded("2001:db8:0:1:ffff::2")) == 429
        assert refusal(daemon, ada) == 429
    daemon.wait_until(lambda: daemon.get("/health")[1]["connections"] == 0)
    with Client(daemon, "one", ada, **forwarded("192.0.2.1")):
        pass


def test_denials_of_one_ipv6_network_are_logged_as_often_as_those_of_one_address(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database, TRUSTED_PROXIES=1)
    for number in range(MAX_LOGGED_DENIALS_EACH + 3):
        assert refusal(daemon, None, **forwarded(f"2001:db8:0:1::{number}:1")) == 401
    assert refusal(daemon, None, **forwarded("2001:db8:0:2::1")) == 401
    daemon.wait_for_event("connection denied", client="2001:db8:0:2::1")
    assert len(daemon.events("connection denied")) == MAX_LOGGED_DENIALS_EACH + 1


def test_clients_of_a_unix_socket_are_not_limited_by_address(
    database: TestDatabase, start_daemon: StartDaemon, ada: User, tmp_path: Path
) -> None:
    path = str(tmp_path / "ws")
    limits = {"MAX_CONNECTIONS_PER_ADDRESS": 1, "MAX_HANDSHAKES_PER_ADDRESS": 1, "TRUSTED_PROXIES": 1}
    daemon = start_daemon(database, arguments=("--ws-endpoint", f"unix:{path}"), **limits)
    with contextlib.ExitStack() as clients:
        for _ in range(5):
            clients.enter_context(Client(daemon, "one", ada, unix=path))
        # What the proxy on the other side has seen counts as on any other socket.
        clients.enter_context(Client(daemon, "one", ada, unix=path, **forwarded("192.0.2.1")))
        assert refusal(daemon, ada, unix=path, **forwarded("192.0.2.1")) == 429


def test_connections_without_a_request_cannot_take_up_all_that_there_are(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database, MAX_CONNECTIONS_PER_ADDRESS=5, MAX_CONNECTIONS=20)
    with contextlib.ExitStack() as silent:
        connections = [silent.enter_context(raw_connection(daemon)) for _ in range(100)]
        with contextlib.suppress(ConnectionResetError):
            assert connections[-1].recv(1) == b""
        with Client(daemon, "one", ada) as client:
            assert client.text == ""
        assert daemon.get("/health")[1]["connections"] <= 12
    assert "cut off" in daemon.wait_for_event("connection denied")["reason"]


def test_a_thousand_handshakes_of_one_address_ban_it_and_nobody_else_notices(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database, MAX_HANDSHAKES_PER_ADDRESS=100, HANDSHAKE_BAN=2)
    with Client(daemon, "one", ada) as writer, Client(daemon, "one", ada) as reader:
        raw_status(daemon)
        memory = daemon.memory
        statuses: Counter[int] = Counter()
        slowest = 0.0
        for number in range(1000):
            statuses[raw_status(daemon)] += 1
            if number % 50 == 0:
                slowest = max(slowest, measure_edit(writer, reader))
        assert slowest < UNAFFECTED
        assert statuses[401] >= 99
        assert statuses[429] >= 300
        assert set(statuses) == {401, 429}
        banned = daemon.events("address banned")
        assert 1 <= len(banned) <= 5
        assert "127.0.0.2 (MAX_HANDSHAKES_PER_ADDRESS)" in banned[0]["reason"]
        if memory is not None and daemon.memory is not None:
            assert daemon.memory - memory < 10 * 2**20
        with Client(daemon, "two", ada):
            pass
    # It is not banned for ever.
    daemon.wait_until(lambda: raw_status(daemon) == 401)


def test_a_user_has_so_many_connections_and_no_more_and_others_have_theirs(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    bob = database.add_user("bob")
    database.grant("one", bob, "editor")
    daemon = start_daemon(database, MAX_CONNECTIONS_PER_USER=2)
    with Client(daemon, "one", ada), RawHocuspocus(daemon) as provider:
        provider.open("diagram-one", ada.token)
        assert refusal(daemon, ada) == 429
        provider.send("diagram-two", authentication(ada.token))
        assert provider.denied("diagram-two") == "this user has too many connections, try again later"
        with Client(daemon, "one", bob):
            pass
    event = daemon.wait_for_event("connection denied", user=ada.id)
    assert event["reason"] == "this user has too many connections (MAX_CONNECTIONS_PER_USER)"
    daemon.wait_until(lambda: daemon.get("/health")[1]["connections"] == 0)
    with Client(daemon, "one", ada), Client(daemon, "one", ada):
        pass


def test_a_user_has_so_many_documents_open_and_each_of_them_as_often_as_wanted(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database, MAX_ROOMS_PER_USER=2)
    with Client(daemon, "one", ada), Client(daemon, "two", ada) as second, Client(daemon, "two", ada) as third:
        assert refusal(daemon, ada, "three") == 429
        # A provider without any document is closed, since it reconnects then.
        with RawHocuspocus(daemon) as provider:
            provider.send("diagram-three", authentication(ada.token))
            assert provider.wait_closed().code == 4503
        with RawHocuspocus(daemon) as provider:
            provider.open("diagram-one", ada.token)
            provider.send("diagram-three", authentication(ada.token))
            assert "too many documents" in provider.denied("diagram-three")
            second.close()
            third.close()
            daemon.wait_until(lambda: daemon.get("/health")[1]["connections"] == 2)
            assert provider.open("diagram-three", ada.token) == "read-write"
    reasons = {event["reason"] for event in daemon.events("connection denied")}
    assert reasons == {"this user has too many documents open (MAX_ROOMS_PER_USER)"}


def test_a_document_that_cannot_be_opened_does_not_count(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    database.query("INSERT INTO yjs_document (id, data, checksum) VALUES ('diagram-one', 'x', 'y')")
    daemon = start_daemon(database, MAX_ROOMS_PER_USER=1)
    assert refusal(daemon, ada, "one") == 500
    with Client(daemon, "two", ada):
        pass


def test_a_flood_of_small_messages_is_read_more_slowly_and_closed_and_nobody_else_notices(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database, MAX_MESSAGES_PER_SECOND=100, RATE_BURST=2, RATE_PATIENCE=3)
    with (
        Client(daemon, "one", ada) as writer,
        Client(daemon, "one", ada) as reader,
        raw_connection(daemon) as attacker,
    ):
        attacker.sendall(handshake(f"/diagram-two?token={ada.token}"))
        assert attacker.recv(4096).startswith(b"HTTP/1.1 101")
        memory = daemon.memory
        flood = client_frame(b"\x03") * 10_000
        attacker.setblocking(False)
        slowest = 0.0
        while not daemon.events("connection ended"):
            with contextlib.suppress(BlockingIOError, ConnectionError):
                attacker.send(flood)
            slowest = max(slowest, measure_edit(writer, reader))
            if memory is not None and daemon.memory is not None:
                assert daemon.memory - memory < 10 * 2**20
        assert slowest < UNAFFECTED
    assert "(MAX_MESSAGES_PER_SECOND)" in daemon.wait_for_event("connection slowed", room="diagram-two")["reason"]
    ended = daemon.wait_for_event("connection ended", room="diagram-two", user=ada.id)
    assert (ended["code"], ended["reason"]) == (4503, "try again later: more than 100 messages a second")


def test_a_hocuspocus_socket_that_floods_is_told_to_try_again_later(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database, MAX_MESSAGES_PER_SECOND=100, RATE_BURST=1, RATE_PATIENCE=0.5)
    with RawHocuspocus(daemon) as provider:
        provider.open("diagram-one", ada.token)
        with pytest.raises(Closed) as closed:
            provider.ping_for_ever()
        assert (closed.value.code, "messages a second" in closed.value.reason) == (4503, True)


def test_a_client_that_sends_too_many_bytes_is_read_more_slowly_and_loses_nothing(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database, MAX_BYTES_PER_SECOND=2**18, RATE_BURST=1)
    with Client(daemon, "one", ada) as client:
        doc: Doc[Any] = Doc()
        text = doc.get("text", type=Text)
        began = time.monotonic()
        for _ in range(16):
            state = doc.get_state()
            text += "x" * 2**16
            client.send(sync.encode_update(doc.get_update(state)))
        client.flush()
        # A mebibyte, of which two quarters may come at once.
        assert time.monotonic() - began > 1
    assert "(MAX_BYTES_PER_SECOND)" in daemon.wait_for_event("connection slowed", user=ada.id)["reason"]
    with Client(daemon, "one", ada) as later:
        assert later.text == "x" * 2**20


def test_with_the_default_limits_a_client_comes_back_with_hours_of_edits_without_being_slowed_down(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database, CLOSE_DELAY=1)
    doc: Doc[Any] = Doc()
    text = doc.get("text", type=Text)
    updates = []
    # An edit a second for five hours, each a message, as clients send them that queue while they are offline.
    doc.observe(lambda event: updates.append(event.update))
    for number in range(18_000):
        text += str(number % 10)
    large: Doc[Any] = Doc()
    large["large"] = Text("y" * 10 * 2**20)
    with Client(daemon, "one", ada) as client:
        for update in updates:
            client.send(sync.encode_update(update))
        client.send(sync.encode_step_2(large.get_update()))
        client.flush()
    with Client(daemon, "one", ada) as later:
        assert later.text == str(text)
        assert len(str(later.doc.get("large", type=Text))) == 10 * 2**20
    assert daemon.events("connection slowed") == []
    assert daemon.events("connection ended") == []
