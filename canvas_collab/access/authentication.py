"""Authentication by Better Auth's session tokens: finding the token of a request, checking it, looking its session up.

Better Auth signs its cookie: the value is ``TOKEN.SIGNATURE``, URL-encoded, where the signature is the standard base64
of HMAC-SHA256 over the token, keyed with the application's secret.  The token is a column of the table ``session``;
when a user signs out, Better Auth deletes the row.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from attrs import field, frozen

if TYPE_CHECKING:
    # Only for annotations: the commands use this module, and the pool imports all of Twisted.
    from canvas_collab.database.catalogue import Catalogue
    from canvas_collab.database.pool import Database

#: Longer tokens (in characters, with the signature) are rejected without a lookup; Better Auth's are shorter.
MAX_TOKEN_LENGTH = 512

#: A value of ``Sec-WebSocket-Protocol`` with one of these prefixes is a token.  That is the only header that a web page
#: can set on a WebSocket handshake.  The second prefix is the one that y-redis uses.
SUBPROTOCOL_PREFIXES = ("token.", "yauth-")


class Source(enum.Enum):
    """Which part of a request a token came from."""

    COOKIE = "cookie"
    AUTHORIZATION = "authorization"
    QUERY = "query"
    SUBPROTOCOL = "subprotocol"
    MESSAGE = "message"


@frozen
class Credential:
    """A token as received, with or without a signature."""

    text: str = field(repr=False)
    source: Source


@frozen
class Session:
    """A session that has not expired."""

    user_id: str
    token: str = field(repr=False)
    #: In how many seconds the session expires, unless the user signs out before or Better Auth extends it.
    expires_in: float


class Unauthenticated(Exception):
    """Raised for a credential without a valid session; `reason` says why, for the event log and for developers."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def find_credential(
    headers: Mapping[str, str], query: Mapping[str, Sequence[str]], cookie_prefix: str
) -> Credential | None:
    """Return the token that a request carries, or None.

    A token that the page sends explicitly (``Authorization: Bearer``, then ``?token=``, then a WebSocket subprotocol)
    takes precedence over the cookie that the browser adds to every request.

    :param headers: the request's headers, names in lower case.
    :param query: the decoded parameters of the request's URL.
    :param cookie_prefix: what the name of the session cookie begins with.
    """
    scheme, _, bearer = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and bearer.strip():
        return Credential(bearer.strip(), Source.AUTHORIZATION)
    if query.get("token") and query["token"][0]:
        return Credential(query["token"][0], Source.QUERY)
    for subprotocol in headers.get("sec-websocket-protocol", "").split(","):
        for prefix in SUBPROTOCOL_PREFIXES:
            if (token := subprotocol.strip().removeprefix(prefix)) not in ("", subprotocol.strip()):
                return Credential(token, Source.SUBPROTOCOL)
    cookies = _parse_cookies(headers.get("cookie", ""))
    # Only a secure origin can set a __Secure- cookie, so it is the more trustworthy one.
    for name in (f"__Secure-{cookie_prefix}.session_token", f"{cookie_prefix}.session_token"):
        if cookies.get(name):
            return Credential(cookies[name], Source.COOKIE)
    return None


def _parse_cookies(header: str) -> dict[str, str]:
    """Parse a ``Cookie`` header; of several cookies with the same name the first counts, as in Better Auth."""
    cookies: dict[str, str] = {}
    for pair in header.split(";"):
        name, separator, value = pair.strip().partition("=")
        if separator:
            cookies.setdefault(name, value.strip('"'))
    return cookies


def verified_token(credential: Credential, secret: str) -> str:
    """Return the session token of a credential, after checking its signature.

    A cookie must be signed.  Other sources may also carry the bare token, as with Better Auth's bearer plugin.

    :raises Unauthenticated: if the token is malformed, or its signature is missing or wrong.
    """
    text = credential.text
    if "%" in text:
        text = unquote(text)
    # Decoding a query string turns the signature's "+" into a space.
    token, dot, signature = text.replace(" ", "+").rpartition(".")
    if credential.source is Source.SUBPROTOCOL:
        # A subprotocol cannot contain "/" or "=", so clients use URL-safe base64, or percent-encode these characters.
        signature = signature.replace("-", "+").replace("_", "/").rstrip("=") + "="
    if len(text) > MAX_TOKEN_LENGTH or not text.isascii() or "\x00" in text:
        raise Unauthenticated("malformed token")
    if not dot:
        if credential.source is Source.COOKIE:
            raise Unauthenticated("unsigned cookie")
        return text
    if not secret or not hmac.compare_digest(signature.encode(), sign(token, secret).encode()):
        raise Unauthenticated("bad signature")
    return token


def sign(token: str, secret: str) -> str:
    """Return the signature of a session token: 44 characters of base64."""
    digest = hmac.new(secret.encode(), token.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


class Sessions:
    """Looks up sessions in the database."""

    def __init__(self, database: Database, catalogue: Catalogue, secret: str) -> None:
        self._database = database
        self._secret = secret
        self._select = catalogue.session_query

    def token_of(self, credential: Credential | None) -> str:
        """Return the token of a credential, after the checks that need no database.

        :raises Unauthenticated: if there is no credential, or it fails these checks.
        """
        if credential is None:
            raise Unauthenticated("no token")
        return verified_token(credential, self._secret)

    async def verify(self, token: str) -> Session:
        """Return the session with this token.

        :raises Unauthenticated: if there is none, or it has expired.
        :raises DatabaseUnavailable: if the database does not answer.
        """
        return session_of(token, await self._database.query(self._select, (token,)))


def session_of(token: str, rows: Sequence[Sequence[Any]]) -> Session:
    """Return the session that was looked up by its token.

    :param rows: of the table: a user's id, and in how many seconds the session expires.
    :raises Unauthenticated: if there is none, or it has expired.
    """
    if not rows:
        raise Unauthenticated("unknown session")
    user_id, expires_in = rows[0]
    if not expires_in > 0:
        raise Unauthenticated("expired session")
    return Session(user_id, token, expires_in)
