"""Reading the request of a WebSocket handshake, and choosing the subprotocol.

The request is read from what the client sent rather than from what Autobahn makes of it: Autobahn parses URLs by
RFC 1808, and loses what follows a ``;``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, urlsplit

from canvas_collab.access.authorization import Request


def read_request(uri: str, headers: Mapping[str, str]) -> Request:
    """Return the parts of a handshake's request that are needed to authorize and route it.

    :param uri: the request target, each byte as one character.
    :param headers: names in lower case.
    """
    # A target that begins with two slashes is a path, too: they are not followed by a host.
    target = uri if uri.startswith("/") else urlsplit(uri)._replace(scheme="", netloc="").geturl()
    path, _, query = target.partition("?")
    return Request(path, headers, parse_qs(query))


def choose_subprotocol(offered: Sequence[str]) -> str | None:
    """Return which of the offered subprotocols is accepted; browsers do not connect if none of them is.

    It is the first valid one: the protocols that are spoken here have no registered name, so any will do.
    """
    return next(filter(_TOKEN.fullmatch, offered), None)


#: A token as defined by RFC 9110, section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
