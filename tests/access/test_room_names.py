"""Which room a URL names, whatever characters its name has, and how invalid names are refused."""

from __future__ import annotations

import json
import socket
from urllib.parse import quote

import pytest

from canvas_collab.websocket.handshake import read_request
from tests.conftest import StartDaemon
from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase
from tests.support.diagrams import Diagram, headers_of
from tests.support.frames import handshake
from tests.support.handshakes import OPEN, try_handshake
from tests.support.hocuspocus_providers import Providers
from tests.support.yjs_clients import VERSIONS, Version

#: Ids that some rules for URLs would cut to prefixes of one another, or that have to be percent-encoded.
IDS = ["X", "X;b", "X;b;c", "X/b", "X b", "X+b", "X%20b", "X?b", "X#b", "X&b=c", "é", "東京", "X:b@c", "X,b!(c)*'$=~"]


def request(daemon: Daemon, path: str) -> int:
    """Send a handshake for exactly this path, which client libraries would normalize; returns the status."""
    with socket.create_connection(("127.0.0.1", daemon.ws_port), timeout=10) as connection:
        connection.sendall(handshake(path))
        return int(connection.makefile("rb").readline().split()[1])


@pytest.mark.parametrize(
    ("uri", "path", "query"),
    [
        ("/diagram-X;b", "/diagram-X;b", {}),
        ("/a;b/diagram-X;b?token=c;d&e=f", "/a;b/diagram-X;b", {"token": ["c;d"], "e": ["f"]}),
        ("/diagram-X?token=a%2Bb%2F+c?d", "/diagram-X", {"token": ["a+b/ c?d"]}),
        ("//diagram-X", "//diagram-X", {}),
        ("ws://host:1/diagram-X;b?token=c", "/diagram-X;b", {"token": ["c"]}),
        ("/", "/", {}),
    ],
)
def test_path_and_query_of_a_url_are_read_completely(uri: str, path: str, query: dict[str, list[str]]) -> None:
    received = read_request(uri, {})
    assert (received.path, received.query) == (path, query)


def test_each_id_opens_its_own_diagram(database: TestDatabase, start_daemon: StartDaemon) -> None:
    ada, bob = database.add_user("ada"), database.add_user("bob")
    for number, diagram_id in enumerate(IDS):
        database.add_diagram(diagram_id, [ada, bob][number % 2])
    daemon = start_daemon(database)
    for number, diagram_id in enumerate(IDS):
        path = "/diagram-" + quote(diagram_id, safe="")
        owner, other = [ada, bob][number % 2], [bob, ada][number % 2]
        assert try_handshake(daemon, path, cookie=owner.cookie).status == OPEN, diagram_id
        assert try_handshake(daemon, path, cookie=other.cookie).status == 403, diagram_id
    assert request(daemon, f"/diagram-X;b?token={bob.token}") == OPEN
    assert request(daemon, f"/diagram-X;b?token={ada.token}") == 403
    assert {event["room"] for event in daemon.events("connection opened")} == {f"diagram-{name}" for name in IDS}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_y_websocket_client_opens_the_room_that_it_names(
    diagram: Diagram, providers: Providers, version: Version
) -> None:
    # The client percent-encodes what it must; the application has to encode characters with a meaning in URLs.
    names = [(name, name if set(name).isdisjoint("?#%") else quote(name, safe="")) for name in IDS]
    rooms = [(diagram.add_room(name), f"diagram-{written}") for name, written in names]
    for room, written in rooms:
        headers = headers_of(diagram.editor)
        client = providers.connect(written, diagram.daemon.ws_url, written, version=version, headers=headers)
        client.insert_text("text", 0, written)
        diagram.daemon.wait_for_event("connection opened", room=room)
        client.destroy()
        diagram.daemon.wait_until(lambda room=room: len(diagram.log(room)) == 1)  # type: ignore[misc]


def test_a_provider_opens_the_document_that_it_names(diagram: Diagram, providers: Providers) -> None:
    socket = diagram.socket(providers, "socket", "4.8.0")
    for name in IDS:
        room = diagram.add_room(name)
        diagram.provide(providers, name, at=socket, room=room).insert_text("text", 0, name)
        diagram.daemon.wait_until(lambda room=room: len(diagram.log(room)) == 1)  # type: ignore[misc]


def test_a_path_with_unencoded_bytes_names_the_same_room(diagram: Diagram) -> None:
    room = diagram.add_room("é")
    # In UTF-8: frames.handshake() does not percent-encode.
    assert request(diagram.daemon, f"/{room}?token={diagram.editor.token}") == OPEN
    diagram.daemon.wait_for_event("connection opened", room=room)


LONGEST = 255 - len("diagram-")

WRONG = [
    ("drawing-X", "the name of a room begins with diagram-"),
    ("diagram-", "there is no diagram's id after diagram-"),
    ("diagram-" + "x" * (LONGEST + 1), "the name of a room has at most 255 characters"),
    ("diagram-%07", "the name of a room has only printable characters"),
    ("diagram-%EF%BF%BD", "the name of a room has only printable characters"),
    ("diagram-%FF", "the name of a room has only printable characters"),
    ("diagram-%E2%80%8B", "the name of a room has only printable characters"),
    ("diagram-nowhere", None),
]


@pytest.mark.parametrize(("name", "wrong"), WRONG)
def test_an_invalid_name_is_refused_with_a_reason(diagram: Diagram, name: str, wrong: str | None) -> None:
    answer = try_handshake(diagram.daemon, f"/{name}", cookie=diagram.editor.cookie)
    assert answer.status == 403
    assert answer.reason == ("forbidden" if wrong is None else f"forbidden: {wrong}")
    denied = diagram.daemon.wait_for_event("connection denied")
    assert denied["reason"] == (wrong or "no role in this room")
    json.dumps(denied)
    # A client without a credential is not told the reason.
    assert try_handshake(diagram.daemon, f"/{name}").status == 401


def test_a_page_is_sent_the_reason(database: TestDatabase, start_daemon: StartDaemon, providers: Providers) -> None:
    diagram = Diagram(database, start_daemon, REJECT_WITH="close")
    headers = headers_of(diagram.editor)
    client = providers.connect("a", diagram.daemon.ws_url, "board-1", headers=headers, wait=False)
    assert client.wait_given_up() == (4403, "forbidden: the name of a room begins with diagram-")


def test_a_name_of_the_maximum_length_is_valid(diagram: Diagram) -> None:
    room = diagram.add_room("x" * LONGEST)
    assert try_handshake(diagram.daemon, f"/{room}", cookie=diagram.editor.cookie).status == OPEN


def test_without_a_prefix_the_name_of_a_room_is_the_diagrams_id(
    database: TestDatabase, start_daemon: StartDaemon, providers: Providers
) -> None:
    ada = database.add_user("ada")
    for diagram_id in ("one", "diagram-two"):
        database.add_diagram(diagram_id, ada)
    daemon = start_daemon(database, ROOM_PREFIX="")
    for name in ("one", "diagram-two"):
        assert try_handshake(daemon, f"/{name}", cookie=ada.cookie).status == OPEN
    for name in ("diagram-one", "two"):
        assert try_handshake(daemon, f"/{name}", cookie=ada.cookie).status == 403
    # The provider connects to /, which is the path of no room.
    providers.provider("ada", "one", daemon.ws_url, token=ada.token)
    daemon.wait_for_event("connection opened", room="one", protocol="hocuspocus 4.8.0")
