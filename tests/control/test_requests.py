"""The commands that talk to a running daemon, with real clients of both protocols."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from canvas_collab.control.interface import control_path
from canvas_collab.control.listener import MAX_CONNECTIONS, MAX_REQUEST
from tests.conftest import StartDaemon
from tests.support.clients import Client, Refused, typed
from tests.support.commands import run
from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase, User
from tests.support.hocuspocus_client import DENIED, RawHocuspocus

Control = Callable[..., str]


@pytest.fixture
def path() -> Iterator[str]:
    """The path of a control socket, which is shorter than those of pytest's directories."""
    directory = tempfile.mkdtemp(prefix="control")
    yield f"{directory}/control.sock"
    shutil.rmtree(directory)


@pytest.fixture
def ada(database: TestDatabase) -> User:
    return database.add_user("ada")


@pytest.fixture
def bob(database: TestDatabase, ada: User) -> User:
    """A user who may edit Ada's diagrams "one" and "two"."""
    bob = database.add_user("bob")
    for diagram in ("one", "two"):
        database.add_diagram(diagram, ada, editor=bob)
    return bob


@pytest.fixture
def daemon(database: TestDatabase, start_daemon: StartDaemon, path: str, bob: User) -> Daemon:
    return start_daemon(database, CONTROL_SOCKET=path)


@pytest.fixture
def control(path: str) -> Control:
    """A function that runs a command; it returns the standard output, or if it fails as expected, standard error."""

    def run_it(*arguments: str, status: int = 0) -> str:
        done = run(*arguments, CONTROL_SOCKET=path)
        assert done.returncode == status, done.stderr.decode()
        return (done.stderr if status else done.stdout).decode()

    return run_it


def test_connections_and_rooms_are_listed(daemon: Daemon, control: Control, ada: User, bob: User) -> None:
    with Client(daemon, "one", ada), RawHocuspocus(daemon) as provider:
        for room in ("diagram-one", "diagram-two"):
            provider.open(room, bob.token)
        found = json.loads(control("connections", "--json"))
        assert sorted((each["room"], each["user"], each["protocol"], each["access"]) for each in found) == [
            ("diagram-one", ada.id, "y-websocket", "write"),
            ("diagram-one", bob.id, "hocuspocus 4.8.0", "write"),
            ("diagram-two", bob.id, "hocuspocus 4.8.0", "write"),
        ]
        assert len(json.loads(control("connections", "--json", "--user", bob.id, "--room", "two"))) == 1
        assert f"diagram-two  {bob.id}  write  hocuspocus" in control("connections")
        assert control("rooms").splitlines()[0].startswith("diagram-one  2 connections  2 users  ")
        assert control("rooms").splitlines()[1].startswith("diagram-two  1 connection  1 user  ")
        assert {each["room"] for each in json.loads(control("rooms", "--json"))} == {"diagram-one", "diagram-two"}


def test_a_socket_without_an_open_document_is_listed(daemon: Daemon, control: Control) -> None:
    with RawHocuspocus(daemon):
        assert control("connections").endswith("  nothing open\n")


def test_kick_closes_the_connections_of_a_user_and_no_other(
    daemon: Daemon, control: Control, ada: User, bob: User
) -> None:
    with (
        Client(daemon, "one", ada) as bystander,
        Client(daemon, "one", bob) as here,
        Client(daemon, "two", bob) as there,
    ):
        assert control("kick", bob.id) == "2 connections closed.\n"
        for client in (here, there):
            assert client.wait_for_close() == (4403, "closed by an operator")
        bystander.edit(typed("still here"))
        bystander.flush()
        assert daemon.wait_for_event("connections kicked")["connections"] == 2
        assert control("kick", bob.id) == "0 connections closed.\n"


def test_kick_from_a_room_closes_one_document_of_a_socket(
    daemon: Daemon, control: Control, ada: User, bob: User
) -> None:
    with Client(daemon, "one", ada) as client, RawHocuspocus(daemon) as provider:
        for room in ("diagram-one", "diagram-two"):
            provider.open(room, bob.token)
        assert control("kick", bob.id, "--room", "one") == "1 connection closed.\n"
        provider.wait_for("diagram-one", DENIED)
        provider.edit("diagram-two", typed("still open"))
        assert provider.content("diagram-two") == "still open"
        client.flush()
        assert control("kick", "--room", "one") == "1 connection closed.\n"
        assert client.wait_for_close()[0] == 4403
        assert "Name a user, or a room" in control("kick", status=2)


def test_drain_closes_clients_one_after_the_other_refuses_new_ones_and_stops_the_daemon(
    database: TestDatabase, daemon: Daemon, control: Control, ada: User
) -> None:
    clients = [Client(daemon, "one", ada) for _ in range(12)]
    clients[0].edit(typed("saved"))
    clients[0].flush()
    codes: list[tuple[int, str]] = []
    waiting = [threading.Thread(target=lambda each=each: codes.append(each.wait_for_close())) for each in clients]
    for thread in waiting:
        thread.start()
    assert control("drain", "--within", "3").startswith("12 clients are closed within 3 s")
    assert daemon.get("/ready") == (503, {"ready": False, "reason": "shutting down"})
    with pytest.raises((OSError, Refused)):
        Client(daemon, "one", ada)
    assert "draining already" in control("drain", status=1)
    for thread in waiting:
        thread.join(20)
    assert codes == [(1012, "the server restarts")] * 12
    assert daemon.process.wait(20) == 0
    closed = [event["time"] for event in daemon.events("connection closed")]
    assert len(set(closed)) == 12
    assert [event["level"] for event in daemon.events() if event["level"] in ("error", "critical")] == []
    assert database.query("SELECT count(*) FROM yjs_document WHERE length(data) > 10") == [(1,)]
    for client in clients:
        client.close()


def test_a_drained_daemon_without_clients_stops_at_once(daemon: Daemon, control: Control) -> None:
    assert "0 clients are closed" in control("drain")
    assert daemon.process.wait(10) == 0


# The socket


def test_only_the_daemons_user_can_connect(daemon: Daemon, path: str) -> None:
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    daemon.stop()
    assert not os.path.exists(path)


def test_the_socket_of_a_killed_daemon_is_replaced_and_that_of_a_running_one_is_not(
    database: TestDatabase, start_daemon: StartDaemon, daemon: Daemon, control: Control, path: str, ada: User
) -> None:
    second = start_daemon(database, CONTROL_SOCKET=path)
    assert second.wait_for_event("control socket not opened")["reason"] == "another daemon listens on it"
    second.stop()
    with Client(daemon, "one", ada):
        assert "diagram-one" in control("rooms")
    daemon.kill()
    assert os.path.exists(path)
    assert "No daemon listens" in control("rooms", status=1)
    start_daemon(database, CONTROL_SOCKET=path)
    assert control("rooms") == ""


def test_the_socket_of_a_daemon_that_hangs_does_not_stop_another_one_from_starting(
    database: TestDatabase, start_daemon: StartDaemon, bob: User, path: str
) -> None:
    with socket.socket(socket.AF_UNIX) as hanging, socket.socket(socket.AF_UNIX) as waiting:
        hanging.bind(path)
        # One connection that is not accepted fills the queue.
        hanging.listen(0)
        waiting.connect(path)
        daemon = start_daemon(database, CONTROL_SOCKET=path)
        assert daemon.wait_for_event("control socket not opened")["reason"] == "another daemon listens on it"


def test_a_file_that_is_no_socket_is_left_alone(
    database: TestDatabase, start_daemon: StartDaemon, bob: User, path: str
) -> None:
    Path(path).write_text("precious")
    daemon = start_daemon(database, CONTROL_SOCKET=path)
    assert "not a socket" in daemon.wait_for_event("control socket not opened")["reason"]
    daemon.stop()
    assert Path(path).read_text() == "precious"


def test_without_a_setting_the_socket_is_in_systemds_runtime_directory(
    database: TestDatabase, start_daemon: StartDaemon, bob: User, path: str
) -> None:
    assert control_path("", {}) == ""
    assert control_path("", {"RUNTIME_DIRECTORY": "/run/a:/run/b"}) == "/run/a/control.sock"
    assert control_path("/x", {"RUNTIME_DIRECTORY": "/run/a"}) == "/x"
    start_daemon(database, RUNTIME_DIRECTORY=os.path.dirname(path))
    assert run("rooms", "--socket", path).returncode == 0


def ask(path: str, data: bytes) -> list[dict[str, Any]]:
    """Send bytes to the socket, and return the lines of the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(15)
        connection.connect(path)
        # One of too many connections is closed without its request having been read.
        with suppress(BrokenPipeError):
            connection.sendall(data)
        with connection.makefile("rb") as lines:
            return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"x" * (MAX_REQUEST + 10), "at most"),
        (b"nonsense\n", "one line of JSON"),
        (b"[" * 4000 + b"\n", "one line of JSON"),
        (b"\xff\n", "one line of JSON"),
        (b"[]\n", "a JSON object"),
        (b'{"request": 1}\n', "a JSON object"),
        (b'{"request": "explode"}\n', "the requests are connections, rooms, kick, drain"),
        (b'{"request": "kick"}\n', "a user or a room"),
        (b'{"request": "kick", "user": 7}\n', "user is a string"),
        (b'{"request": "drain", "within": -1}\n', "number of seconds"),
        (b'{"request": "drain", "within": true}\n', "number of seconds"),
    ],
)
def test_what_is_no_request_is_refused_in_a_sentence(daemon: Daemon, path: str, data: bytes, sentence: str) -> None:
    [line] = ask(path, data)
    assert sentence in line["error"]
    assert daemon.get("/ready")[0] == 200
    assert [event for event in daemon.events() if event["level"] in ("error", "critical")] == []


def test_too_many_commands_at_once_are_refused(daemon: Daemon, control: Control, path: str) -> None:
    held = []
    for _ in range(MAX_CONNECTIONS):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        held.append(connection)
    assert "too many" in ask(path, b"")[0]["error"]
    assert "The daemon refuses: too many commands" in control("rooms", status=1)
    for connection in held:
        connection.close()
    daemon.wait_until(lambda: "end" in ask(path, b'{"request": "rooms"}\n')[-1])


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b'{"status": "UP"}\n', b"\xff\n"])
def test_another_program_on_the_socket_is_named(control: Control, path: str, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert "is not the daemon's control socket" in control("rooms", status=1)
        thread.join(10)


def test_without_a_daemon_the_command_says_how_to_have_one(control: Control, path: str) -> None:
    assert "start it with CONTROL_SOCKET" in control("connections", status=1)
