"""Ports that others use, and reverse proxies that are configured wrongly in front of a real daemon."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.cli.doctor.conftest import Doctor, required
from tests.conftest import StartDaemon
from tests.support.commands import run
from tests.support.daemons import Daemon, free_port
from tests.support.databases import TestDatabase, User
from tests.support.nginx import Nginx
from tests.support.nginx_process import find_nginx
from tests.support.staged_nginx import UPGRADE, StagedNginx


@pytest.fixture
def nginx() -> str:
    """The path of nginx."""
    return required(find_nginx(), "nginx")


# Ports


def test_a_daemon_that_does_not_run_is_a_warning(doctor: Doctor) -> None:
    found = doctor()
    found.one("ports", "warning", "Nothing listens", "Start the daemon")
    found.one("daemon", "warning", "does not answer", "Start the daemon")
    assert found.status == 0, found.output


def test_a_running_daemon_is_recognised(doctor: Doctor, served: Daemon) -> None:
    found = doctor(daemon=served, WS_PATH_PREFIX="/collab")
    assert found.status == 0, found.output
    assert not found.of("ports")
    assert not found.of("daemon")
    assert "The daemon is ready, with" in found.output


def test_the_health_port_is_not_asked_through_a_proxy_of_the_environment(doctor: Doctor, served: Daemon) -> None:
    found = doctor(daemon=served, WS_PATH_PREFIX="/collab", http_proxy="http://127.0.0.1:1")
    assert not found.of("daemon")


def test_a_daemon_with_other_settings_is_named(doctor: Doctor, served: Daemon) -> None:
    doctor(daemon=served).one("ports", "problem", "other paths than /", "Restart the daemon")


@contextmanager
def serving(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """Listen on a port, and close every connection after it was passed to a function."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port on which something listens that closes every connection."""
    with serving(lambda connection: None) as port:
        yield port


def test_ports_that_another_program_uses_are_named(doctor: Doctor, silent_port: int, served: Daemon) -> None:
    doctor(WS_PORT=silent_port).one("ports", "problem", "Another program listens", "ss -ltnp")
    doctor(HEALTH_PORT=silent_port).one("daemon", "problem", "/ready does not answer", "Restart")
    doctor(HEALTH_PORT=served.ws_port).one("daemon", "problem", "/ready", "")


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH_9.6\r\n", b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"status":"UP"}']
)
def test_a_health_port_that_is_another_programs_is_named(doctor: Doctor, answer: bytes) -> None:
    with serving(lambda connection: connection.sendall(answer) if connection.recv(4096) else None) as port:
        doctor(HEALTH_PORT=port).one("daemon", "problem", "Another program listens", "ss -ltnp")


def test_an_address_of_another_machine_is_named(doctor: Doctor) -> None:
    doctor(WS_HOST="192.0.2.1").one("ports", "problem", "does not have that address", "Correct WS_HOST")
    doctor(WS_HOST="0.0.0.0").one("ports", "warning", "past the reverse proxy", "WS_HOST=127.0.0.1")
    same = free_port()
    doctor(WS_PORT=same, HEALTH_PORT=same).one("ports", "problem", "are both", "different ports")


# The reverse proxy


def test_the_shipped_configuration_of_nginx_is_right_except_for_the_certificate(
    doctor: Doctor, served: Daemon, nginx: str, tmp_path: Path
) -> None:
    with Nginx(nginx, tmp_path, served.ws_port, free_port()) as proxy:
        url = proxy.url
        found = doctor("--url", url, daemon=served, WS_PATH_PREFIX="/collab", SSL_CERT_FILE=proxy.certificate)
        assert not found.of("public URL"), found.output
        found = doctor("--url", url, daemon=served, WS_PATH_PREFIX="/collab")
        [finding] = found.of("public URL")
        assert "do not accept the certificate" in finding["text"]
        plain = f"ws://127.0.0.1:{proxy.plain_port}/collab"
        doctor("--url", plain).one("public URL", "problem", "redirected to https://", "wss://")
        doctor("--url", url.replace("wss", "ws")).one("public URL", "problem", "speaks TLS", "Use wss://")
        doctor("--url", plain.replace("ws:", "wss:")).one("public URL", "problem", "no TLS", "listens on port")


LOCATIONS = {
    "the path is stripped": (
        "location /collab {{ proxy_pass http://127.0.0.1:{port}/; {upgrade} }}"
        "location /collab/ {{ proxy_pass http://127.0.0.1:{port}/; {upgrade} }}",
        "takes /collab away",
        "without a path or slash",
    ),
    "only below the path": (
        "location /collab/ {{ proxy_pass http://127.0.0.1:{port}; {upgrade} }} location = /collab {{ return 404; }}",
        "HocuspocusProvider cannot connect",
        "location ~ ^/collab(/|$)",
    ),
    "no upgrade headers": (
        "location /collab {{ proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.1; }}",
        "does not pass the upgrade",
        "proxy_set_header Upgrade",
    ),
    "HTTP/1.0": (
        "location /collab {{ proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.0; }}",
        "does not pass the upgrade",
        "proxy_http_version 1.1",
    ),
    "the application instead": ("", "another program than the daemon (404", "before the application's"),
    "another port": (
        "location /collab {{ proxy_pass http://127.0.0.1:1; {upgrade} }}",
        "does not reach the daemon (502",
        "WS_HOST and WS_PORT",
    ),
    "a redirect": (
        "location /collab {{ return 308 /collab/; }}",
        "is redirected",
        "location ~ ^/collab(/|$)",
    ),
    "forbidden": ("location /collab {{ deny all; }}", "forbids it (403", "CDN"),
}


@pytest.mark.parametrize("case", LOCATIONS)
def test_what_a_reverse_proxy_gets_wrong_is_named(
    doctor: Doctor, served: Daemon, nginx: str, tmp_path: Path, case: str
) -> None:
    locations, text, remedy = LOCATIONS[case]
    locations = locations.format(port=served.ws_port, upgrade=UPGRADE)
    with StagedNginx(nginx, tmp_path, locations) as proxy:
        found = doctor("--url", proxy.url, daemon=served, WS_PATH_PREFIX="/collab")
        found.one("public URL", "problem", text, remedy)


def test_a_room_is_opened_through_the_proxy_with_the_session(
    doctor: Doctor, database: TestDatabase, start_daemon: StartDaemon, nginx: str, tmp_path: Path, owner: User
) -> None:
    daemon = start_daemon(database)
    # The room's name becomes "/diagram-one": without a session, the daemon's answer is the same.
    location = f"location /collab {{ proxy_pass http://127.0.0.1:{daemon.ws_port}/; {UPGRADE} }}"
    with StagedNginx(nginx, tmp_path, location) as proxy:
        assert not doctor("--url", proxy.url, daemon=daemon).of("public URL")
        arguments = ("--cookie", "--room", "one", "--url")
        found = doctor(*arguments, proxy.url, daemon=daemon, given=owner.cookie.encode())
        found.one("public URL", "problem", "does not open /collab/diagram-one (403)", "changes the path")
    found = doctor(*arguments, daemon.ws_url, daemon=daemon, given=owner.cookie.encode())
    assert not found.of("public URL")
    assert "The session opens diagram-one." in found.output


def test_a_daemon_that_rejects_by_closing_is_checked_as_well(
    doctor: Doctor, database: TestDatabase, start_daemon: StartDaemon, nginx: str, tmp_path: Path, owner: User
) -> None:
    settings = {"WS_PATH_PREFIX": "/collab", "REJECT_WITH": "close"}
    daemon = start_daemon(database, **settings)
    url = f"{daemon.ws_url}/collab"
    assert not doctor("--url", url, daemon=daemon, **settings).of("public URL")
    arguments = ("--cookie", "--room", "one", "--url", url)
    assert not doctor(*arguments, daemon=daemon, given=owner.cookie.encode(), **settings).of("public URL")
    eve = database.add_user("eve")
    found = doctor(*arguments, daemon=daemon, given=eve.cookie.encode(), **settings)
    found.one("public URL", "problem", "(403)", "role in the room")
    location = f"location /collab {{ proxy_pass http://127.0.0.1:{daemon.ws_port}/; {UPGRADE} }}"
    with StagedNginx(nginx, tmp_path, location) as proxy:
        found = doctor("--url", proxy.url, daemon=daemon, **settings)
        found.one("public URL", "problem", "takes /collab away", "without a path or slash")


def test_a_daemon_without_the_prefix_of_the_url_is_named(
    doctor: Doctor, database: TestDatabase, start_daemon: StartDaemon, nginx: str, tmp_path: Path
) -> None:
    daemon = start_daemon(database)
    location = f"location /collab {{ proxy_pass http://127.0.0.1:{daemon.ws_port}; {UPGRADE} }}"
    with StagedNginx(nginx, tmp_path, location) as proxy:
        found = doctor("--url", proxy.url, daemon=daemon)
        found.one("public URL", "problem", "WS_PATH_PREFIX=(empty)", "Set WS_PATH_PREFIX=/collab")


def test_a_proxy_that_holds_messages_back_is_named(doctor: Doctor, served: Daemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def serve() -> None:
            for _ in range(2):
                client, _ = listener.accept()
                request = client.recv(4096)
                with socket.create_connection(("127.0.0.1", served.ws_port)) as upstream:
                    upstream.sendall(request)
                    client.sendall(upstream.recv(4096))
                kept.append(client)
                if b"diagram-" in request:
                    client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/collab"
        found = doctor("--url", url, daemon=served, WS_PATH_PREFIX="/collab")
        found.one("public URL", "problem", "no message is answered", "proxy_buffering off")
        thread.join(10)
        for client in kept:
            client.close()


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://app.example.com", "is no WebSocket URL"),
        ("ws://127.0.0.1:1/collab", "cannot be reached"),
        ("ws://app.invalid/collab", "is unknown"),
    ],
)
def test_a_url_that_leads_nowhere_is_named(doctor: Doctor, url: str, text: str) -> None:
    doctor("--url", url).one("public URL", "problem", text, "")


def test_without_json_each_problem_is_followed_by_its_remedy(doctor: Doctor, database: TestDatabase) -> None:
    done = run("doctor", DATABASE_URL=database.url, WS_PORT="http")
    lines = done.stdout.decode().splitlines()
    position = next(number for number, line in enumerate(lines) if "WS_PORT must be" in line)
    assert lines[position].startswith("PROBLEM   environment: ")
    assert lines[position + 1].startswith("          Correct it")
    assert done.returncode == 1
