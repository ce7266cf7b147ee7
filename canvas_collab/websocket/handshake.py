"""A handshake's request, read off what the client has sent rather than off what the WebSocket library made of it.

Autobahn takes an address apart by the rules of RFC 1808, and what follows a ``;`` is lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, urlsplit

from canvas_collab.access.authorization import Request


def read_request(uri: str, headers: Mapping[str, str]) -> Request:
    """What of a handshake matters.

    :param uri: what the request line asks for, each byte as one character.
    :param headers: names in lower case.
    """
    # Two slashes at the beginning are a part of the path as well, and no host.
    target = uri if uri.startswith("/") else urlsplit(uri)._replace(scheme="", netloc="").geturl()
    path, _, query = target.partition("?")
    return Request(path, headers, parse_qs(query))


def choose_subprotocol(offered: Sequence[str]) -> str | None:
    """Which of the subprotocols that a client offers is accepted; without one, browsers would not connect.

    The first: what is spoken here has no name, so whichever the client calls it by will do.
    """
    return next(filter(_TOKEN.fullmatch, offered), None)


#: What RFC 9110 calls a token.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
