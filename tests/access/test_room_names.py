"""Which room a URL names: what a client asks for, to the letter, and what is said of names that no room can have."""

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

#: Ids that are one beginning of another as far as some rules for URLs go, or that have to be encoded somehow.
IDS = ["X", "X;b", "X;b;c", "X/b", "X b", "X+b", "X%20b", "X?b", "X#b", "X&b=c", "é", "東京", "X:b@c", "X,b!(c)*'$=~"]


def knock(daemon: Daemon, path: str) -> int:
    """Ask for a path as it is, which the libraries for it do not do; returns the status."""
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
def test_nothing_of_an_address_is_lost(uri: str, path: str, query: dict[str, list[str]]) -> None:
    request = read_request(uri, {})
    assert (request.path, request.query) == (path, query)


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
    assert knock(daemon, f"/diagram-X;b?token={bob.token}") == OPEN
    assert knock(daemon, f"/diagram-X;b?token={ada.token}") == 403
    assert {event["room"] for event in daemon.events("connection opened")} == {f"diagram-{name}" for name in IDS}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_y_websocket_client_gets_to_the_room_that_it_names(
    diagram: Diagram, providers: Providers, version: Version
) -> None:
    # As they are where the client encodes what it must; encoded by the application where it would mean something else.
    names = [(name, name if set(name).isdisjoint("?#%") else quote(name, safe="")) for name in IDS]
    rooms = [(diagram.add_room(name), f"diagram-{written}") for name, written in names]
    for room, written in rooms:
        headers = headers_of(diagram.editor)
        client = providers.connect(written, diagram.daemon.ws_url, written, version=version, headers=headers)
        client.insert_text("text", 0, written)
        diagram.daemon.wait_for_event("connection opened", room=room)
        client.destroy()
        diagram.daemon.wait_until(lambda room=room: len(diagram.log(room)) == 1)  # type: ignore[misc]


def test_a_provider_gets_to_the_document_that_it_names(diagram: Diagram, providers: Providers) -> None:
    socket = diagram.socket(providers, "socket", "4.8.0")
    for name in IDS:
        room = diagram.add_room(name)
        diagram.provide(providers, name, at=socket, room=room).insert_text("text", 0, name)
        diagram.daemon.wait_until(lambda room=room: len(diagram.log(room)) == 1)  # type: ignore[misc]


def test_bytes_that_were_not_encoded_are_the_same_name(diagram: Diagram) -> None:
    room = diagram.add_room("é")
    # UTF-8, as a careless client writes it: frames.handshake() encodes it so.
    assert knock(diagram.daemon, f"/{room}?token={diagram.editor.token}") == OPEN
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
def test_a_name_that_no_room_can_have_is_refused_for_what_it_is(diagram: Diagram, name: str, wrong: str | None) -> None:
    answer = try_handshake(diagram.daemon, f"/{name}", cookie=diagram.editor.cookie)
    assert answer.status == 403
    assert answer.reason == ("forbidden" if wrong is None else f"forbidden: {wrong}")
    denied = diagram.daemon.wait_for_event("connection denied")
    assert denied["reason"] == (wrong or "no role in this room")
    json.dumps(denied)
    # Who has not said who they are hears nothing of it.
    assert try_handshake(diagram.daemon, f"/{name}").status == 401


def test_a_page_is_told_too(database: TestDatabase, start_daemon: StartDaemon, providers: Providers) -> None:
    diagram = Diagram(database, start_daemon, REJECT_WITH="close")
    headers = headers_of(diagram.editor)
    client = providers.connect("a", diagram.daemon.ws_url, "board-1", headers=headers, wait=False)
    assert client.wait_given_up() == (4403, "forbidden: the name of a room begins with diagram-")


def test_a_name_of_the_greatest_length_is_one(diagram: Diagram) -> None:
    room = diagram.add_room("x" * LONGEST)
    assert try_handshake(diagram.daemon, f"/{room}", cookie=diagram.editor.cookie).status == OPEN
