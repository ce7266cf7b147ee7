"""The floor of the benchmarks: the relay in C."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from benchmarks.servers.floor import SOURCE, build, compiler
from tests.support.daemons import free_port

pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no C compiler")

STEP_1, EMPTY_STEP_2 = b"\x00\x00\x01\x00", b"\x00\x01\x02\x00\x00"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = build(tmp_path_factory.mktemp("floor"))
    port = free_port()
    process = subprocess.Popen([program, str(port)])
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert process.poll() is None
        yield f"ws://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def opened(url: str) -> Iterator[ClientConnection]:
    """Connect, and wait for the answer to sync step 1, after which the client is in the room."""
    with connect(url, proxy=None, compression=None, max_size=None) as client:
        client.send(STEP_1)
        assert client.recv(timeout=10) == EMPTY_STEP_2
        yield client


def test_it_compiles_without_warnings(tmp_path: Path) -> None:
    found = compiler()
    assert found is not None
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run([found, "-O2", *warnings, "-o", tmp_path / "relay", SOURCE], check=True)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 3_000_000])
def test_messages_of_each_length_arrive_at_the_others_of_the_room_and_only_there(relay: str, size: int) -> None:
    message = b"\x01" + bytes(range(256)) * (size // 256) + bytes(size % 256)
    with (
        opened(f"{relay}/room?token=1") as sender,
        opened(f"{relay}/room?token=2") as other,
        opened(f"{relay}/room") as third,
        opened(f"{relay}/another") as elsewhere,
    ):
        sender.send(message)
        assert other.recv(timeout=10) == message
        assert third.recv(timeout=10) == message
        # What the others send arrives first if the relay has sent nothing else to them.
        other.send(b"\x01after")
        assert sender.recv(timeout=10) == b"\x01after"
        elsewhere.send(STEP_1)
        assert elsewhere.recv(timeout=10) == EMPTY_STEP_2


def test_clients_that_leave_are_not_sent_to_and_the_others_still_are(relay: str) -> None:
    with opened(f"{relay}/leaving") as sender, opened(f"{relay}/leaving") as stays:
        for number in range(20):
            with opened(f"{relay}/leaving"):
                pass
            sender.send(b"\x01" + bytes([number]))
            assert stays.recv(timeout=10) == b"\x01" + bytes([number])


@pytest.mark.parametrize("request_line", [b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"x" * 9000])
def test_what_is_no_handshake_ends_the_connection_and_not_the_relay(relay: str, request_line: bytes) -> None:
    host, _, port = relay.removeprefix("ws://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(request_line)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(100) == b""
    with opened(f"{relay}/still"):
        pass
