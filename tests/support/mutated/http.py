"""Mutated HTTP requests: WebSocket handshakes, and requests to the health port."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from attrs import define

from tests.support.mutated.messages import BAD_TEXT
from tests.support.mutations import mutate

_METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS", b"CONNECT", b"get", b"", b"G\0T", b"X" * 3000)
_VERSIONS = (
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/0.9",
    b"HTTP/2.0",
    b"HTTP/1.1.1",
    b"http/1.1",
    b"HTTP/",
    b"",
    b"HTTP/9" * 99,
)
_VALUES = (
    b"",
    b" ",
    b"\t",
    b",",
    b"0",
    b"-1",
    b"1e9",
    b"999999999999999999999",
    b"\xff\xfe",
    b"x" * 9000,
    b"a, b, c",
    b"%",
)
_IN_TARGETS = (
    b"/",
    b"//",
    b"..",
    b"%",
    b"%00",
    b"%2e%2e/",
    b"%ff",
    b"?",
    b"?token=",
    b"&token=a&token=b",
    b"#",
    b";",
    b"\\",
    b" ",
    b"x" * 9000,
)
_BODIES = (
    b"Content-Length: 5\r\n\r\nhello",
    b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"Content-Length: -5\r\n\r\nhello",
    b"Content-Length: 99999999999\r\n\r\nhello",
    b"Content-Length: five\r\n\r\nhello",
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
    b"Transfer-Encoding: gzip\r\n\r\nhello",
    b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9\r\n\r\n--x\r\n--x-",
    b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\na=%zz&%=b",
    b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
    b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
)
_OPTIONAL = (b"Connection: close", b"Accept-Encoding: gzip", b"Range: bytes=0-5")


@define
class _Request:
    method: bytes
    target: bytes
    version: bytes
    headers: list[bytes]
    newline: bytes = b"\r\n"
    end: bytes = b"\r\n\r\n"

    def encode(self) -> bytes:
        start = b" ".join((self.method, self.target, self.version))
        return self.newline.join([start, *self.headers]) + self.end


def _change_method(chance: random.Random, request: _Request) -> None:
    request.method = chance.choice(_METHODS)


def _change_version(chance: random.Random, request: _Request) -> None:
    request.version = chance.choice(_VERSIONS)


def _change_target(chance: random.Random, request: _Request) -> None:
    target = request.target
    at = chance.randrange(len(target) + 1)
    added = chance.choice((*_IN_TARGETS, *BAD_TEXT))
    request.target = chance.choice((target[:at] + added + target[at:], target[:at], b"http://h" + target, b"*", added))


def _remove_header(chance: random.Random, request: _Request) -> None:
    if request.headers:
        del request.headers[chance.randrange(len(request.headers))]


def _repeat_header(chance: random.Random, request: _Request) -> None:
    if request.headers:
        request.headers.insert(chance.randint(0, len(request.headers)), chance.choice(request.headers))


def _change_name(chance: random.Random, request: _Request) -> None:
    at, header = _some_header(chance, request)
    name, _, value = header.partition(b":")
    names = (name.upper(), b" " + name, name + b" ", name + b"\t", name + b"\0", b"", name[:-1], name + b"\xc3\xa9")
    request.headers[at] = chance.choice(names) + b":" + value


def _change_value(chance: random.Random, request: _Request) -> None:
    at, header = _some_header(chance, request)
    name, _, value = header.partition(b":")
    broken = mutate(chance, value, (value,)) if chance.random() < 0.5 else b" " + chance.choice(_VALUES)
    request.headers[at] = name + b":" + broken


def _break_line(chance: random.Random, request: _Request) -> None:
    at, header = _some_header(chance, request)
    folded = header.replace(b":", b":\r\n ", 1)
    request.headers[at] = chance.choice((header.replace(b":", b"", 1), folded, b"", header + b"\r", header + b"\n\n"))


def _add_headers(chance: random.Random, request: _Request) -> None:
    many = chance.choice((1, 50, 600))
    request.headers += [b"X-%d: %s" % (number, chance.choice(_VALUES)[:200]) for number in range(many)]


def _change_newlines(chance: random.Random, request: _Request) -> None:
    request.newline = chance.choice((b"\n", b"\r", b"\n\r", b"\r\r\n"))
    request.end = chance.choice((request.newline * 2, b"\r\n\r\n"))


def _add_body(chance: random.Random, request: _Request) -> None:
    request.end = b"\r\n" + chance.choice(_BODIES)


def _leave_open(_chance: random.Random, request: _Request) -> None:
    request.end = b"\r\n"


_CHANGES: Sequence[Callable[[random.Random, _Request], None]] = (
    _change_method,
    _change_version,
    _change_target,
    _change_target,
    _remove_header,
    _repeat_header,
    _change_name,
    _change_value,
    _change_value,
    _break_line,
    _add_headers,
    _change_newlines,
    _add_body,
    _leave_open,
)


def _some_header(chance: random.Random, request: _Request) -> tuple[int, bytes]:
    if not request.headers:
        request.headers.append(b"Host: daemon")
    at = chance.randrange(len(request.headers))
    return at, request.headers[at]


def _mutated(chance: random.Random, request: _Request) -> bytes:
    if chance.random() < 0.2:
        data = request.encode()
        return mutate(chance, data, (data,))
    for _ in range(1 if chance.random() < 0.7 else chance.randint(2, 4)):
        chance.choice(_CHANGES)(chance, request)
    return request.encode()


def mutated_handshake(chance: random.Random, room: str, token: str, cookie: str) -> bytes:
    """Return a mutated handshake; now and then the mutation keeps it valid.

    :param token: of a session; `cookie`: a Cookie header's value.
    """
    headers = [
        b"Host: daemon",
        b"Upgrade: websocket",
        b"Connection: keep-alive, Upgrade",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Version: 13",
    ]
    optional = [
        b"Origin: http://app.test",
        b"Cookie: " + cookie.encode(),
        b"Authorization: Bearer " + token.encode(),
        b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        b"Sec-WebSocket-Protocol: a, b",
        b"X-Forwarded-For: 203.0.113.7, 2001:db8::1",
        b"User-Agent: Mozilla/5.0",
    ]
    headers += chance.sample(optional, chance.randint(0, 4))
    query = chance.choice(("", f"?token={token}", "?token=wrong", "?a=b&token=%F0%9F%98%80"))
    target = chance.choice((f"/{room}{query}", f"/{query}", "/", "/diagram-nowhere"))
    return _mutated(chance, _Request(b"GET", target.encode(), b"HTTP/1.1", headers))


def mutated_health_request(chance: random.Random) -> bytes:
    """Return a mutated request to the health port, or a few in a row."""
    requests = []
    for _ in range(1 if chance.random() < 0.8 else chance.randint(2, 4)):
        headers = [b"Host: daemon", b"User-Agent: curl/7.88", b"Accept: */*"]
        headers += chance.sample(
            [b"Connection: close", b"Accept-Encoding: gzip", b"Range: bytes=0-5"], chance.randint(0, 2)
        )
        target = chance.choice((b"/health", b"/ready", b"/metrics", b"/metrics?name[]=x", b"/"))
        requests.append(
            _mutated(chance, _Request(chance.choice((b"GET", b"GET", b"HEAD")), target, b"HTTP/1.1", headers))
        )
    return b"".join(requests)
