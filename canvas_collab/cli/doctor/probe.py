"""WebSocket handshakes for checks: what a server answers, without a WebSocket library that would hide it."""

from __future__ import annotations

import base64
import os
import socket
import ssl
from contextlib import suppress
from urllib.parse import SplitResult

from attrs import field, frozen

from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.protocol.hocuspocus import PING, PONG

#: How long a server may take to answer, in seconds.
TIMEOUT = 10.0

#: How many bytes of an answer are read.
MAX_HEAD = 16 * 1024

# What a close frame begins with.
_CLOSE = b"\x88"

# With REJECT_WITH=close the daemon sends these codes in place of a status.
_STATUS_OF = {code.to_bytes(2, "big"): code - 4000 for code in (CloseCode.UNAUTHORIZED, CloseCode.FORBIDDEN)}

_PONG_FRAME = b"\x82" + bytes([len(PONG)]) + PONG


class Unreachable(Exception):
    """There is no server, or none that answers in HTTP; the text says why."""


class UntrustedCertificate(Unreachable):
    """The certificate of the server is not valid for it."""


@frozen
class Answer:
    """The answer to a handshake.

    :ivar status: the HTTP status.
    :ivar reason: what follows the status in the first line.
    :ivar headers: names in lower case.
    :ivar answers_ping: whether a Hocuspocus server is behind it, which has answered a ping; None if none was sent.
    """

    status: int
    reason: str
    headers: dict[str, str] = field(repr=False)
    answers_ping: bool | None = None


def handshake(url: SplitResult, path: str, ping: bool = False, verify: bool = True, token: str = "") -> Answer:
    """Request an upgrade of a path.

    :param url: says where: ``ws`` or ``wss``, host and port.
    :param ping: whether to send a Hocuspocus ping if the handshake is accepted.
    :param verify: whether the certificate has to be valid.
    :param token: of a session, which is sent in a header, as proxies log URLs; empty for none.
    :raises Unreachable: if no HTTP answer was received.
    """
    host = url.hostname or ""
    port = url.port or (443 if url.scheme == "wss" else 80)
    try:
        with socket.create_connection((host, port), TIMEOUT) as plain:
            if url.scheme != "wss":
                return _exchange(plain, url, path, ping, token)
            context = ssl.create_default_context()
            if not verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            context.set_alpn_protocols(["http/1.1"])
            with context.wrap_socket(plain, server_hostname=host) as encrypted:
                return _exchange(encrypted, url, path, ping, token)
    except ssl.SSLCertVerificationError as error:
        raise UntrustedCertificate(error.verify_message) from error
    except ssl.SSLError as error:
        raise Unreachable(f"no TLS: {error.reason or error}") from error
    except socket.gaierror as error:
        raise Unreachable(f"the name {host} is unknown: {error.strerror}") from error
    except TimeoutError as error:
        raise Unreachable(f"no answer within {TIMEOUT:g} s") from error
    except OSError as error:
        raise Unreachable(error.strerror or str(error)) from error


def _exchange(connection: socket.socket, url: SplitResult, path: str, ping: bool, token: str) -> Answer:
    key = base64.b64encode(os.urandom(16)).decode()
    credential = f"Authorization: Bearer {token}\r\n" if token else ""
    connection.sendall(
        (
            f"GET {path} HTTP/1.1\r\nHost: {url.netloc.rpartition('@')[2]}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{credential}\r\n"
        ).encode()
    )
    received = b""
    while b"\r\n\r\n" not in received and len(received) < MAX_HEAD:
        data = connection.recv(4096)
        if not data:
            break
        received += data
    head, _, rest = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest_of_line = first.partition(" ")
    status, _, reason = rest_of_line.partition(" ")
    if not version.startswith("HTTP/") or not status.isdigit():
        raise Unreachable("the connection was closed without an answer" if not received else "the answer is not HTTP")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if status != "101" or not (ping or token):
        return Answer(int(status), reason, headers)
    if ping:
        # A frame with a mask of zeros, which leave the payload as it is.
        connection.sendall(b"\x82" + bytes([0x80 | len(PING)]) + bytes(4) + PING)
    received = _receive_frames(connection, rest, _PONG_FRAME if ping else b"")
    if received[:1] == _CLOSE and (rejected := _STATUS_OF.get(received[2:4])):
        return Answer(rejected, received[4:].decode(errors="replace"), headers)
    return Answer(int(status), reason, headers, _PONG_FRAME in received if ping else None)


def _receive_frames(connection: socket.socket, received: bytes, awaited: bytes) -> bytes:
    """Return what is received until that contains `awaited`, or else anything; or until a close frame."""
    with suppress(TimeoutError):
        while not (received and awaited in received) and received[:1] != _CLOSE and len(received) < MAX_HEAD:
            data = connection.recv(4096)
            if not data:
                break
            received += data
    return received
