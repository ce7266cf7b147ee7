"""Who is asking: Better Auth's session tokens, where a request may carry them, and the row behind one.

Better Auth signs its cookie: the value is ``TOKEN.SIGNATURE``, URL-encoded, where the signature is the standard base64
of HMAC-SHA256 over the token, keyed with the application's secret.  The token is a column of the table ``session``;
signing out deletes the row.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from attrs import field, frozen

from canvas_collab.database.catalogue import Catalogue
from canvas_collab.database.pool import Database

#: No token of Better Auth is longer; what is longer is not looked up.
MAX_TOKEN_LENGTH = 512

#: A WebSocket subprotocol that begins with one of these is no protocol but a token: browsers let a page send no other
#: header.  The second is that of y-redis.
SUBPROTOCOL_PREFIXES = ("token.", "yauth-")


class Source(enum.Enum):
    """Where in a request a token was."""

    COOKIE = "cookie"
    AUTHORIZATION = "authorization"
    QUERY = "query"
    SUBPROTOCOL = "subprotocol"
    MESSAGE = "message"


@frozen
class Credential:
    """A token as it came, signed or not."""

    text: str = field(repr=False)
    source: Source


@frozen
class Session:
    """A session that is good now."""

    user_id: str
    token: str = field(repr=False)
    #: For how many more seconds, if nobody signs out and nothing prolongs it.
    lasts: float


class Unauthenticated(Exception):
    """There is no good session behind a request; `reason` says why, for the log and for a developer."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def find_credential(
    headers: Mapping[str, str], query: Mapping[str, Sequence[str]], cookie_prefix: str
) -> Credential | None:
    """Find the token of a request.

    One that the page gave on purpose (``Authorization: Bearer``, then ``?token=``, then a WebSocket subprotocol) counts
    before the cookie that the browser adds to every request.

    :param headers: the request's headers, names in lower case.
    :param query: the parameters of the request's URL, decoded.
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
    # Only a secure origin can set a __Secure- cookie, so that one is the more trustworthy of two.
    for name in (f"__Secure-{cookie_prefix}.session_token", f"{cookie_prefix}.session_token"):
        if cookies.get(name):
            return Credential(cookies[name], Source.COOKIE)
    return None


def _parse_cookies(header: str) -> dict[str, str]:
    """The cookies of a Cookie header; of several with one name the first counts, as it does for Better Auth."""
    cookies: dict[str, str] = {}
    for pair in header.split(";"):
        name, separator, value = pair.strip().partition("=")
        if separator:
            cookies.setdefault(name, value.strip('"'))
    return cookies


def verified_token(credential: Credential, secret: str) -> str:
    """The session token of a credential, its signature checked if it has one.

    A cookie must be signed.  Elsewhere the bare token is taken too, as Better Auth's bearer plugin takes it.

    :raises Unauthenticated: if the signature is missing or wrong.
    """
    text = credential.text
    if "%" in text:
        text = unquote(text)
    # A form-decoded query turns the signature's "+" into a space.
    token, dot, signature = text.replace(" ", "+").rpartition(".")
    if credential.source is Source.SUBPROTOCOL:
        # That cannot have a "/" or a "=" in it, so clients use the other alphabet of base64, or encode these.
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
    """The signature of a session token: 44 characters of base64."""
    digest = hmac.new(secret.encode(), token.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


class Sessions:
    """Looks sessions up."""

    def __init__(self, database: Database, catalogue: Catalogue, secret: str) -> None:
        self._database = database
        self._secret = secret
        self._select = catalogue.session_query

    def token_of(self, credential: Credential | None) -> str:
        """The token of a credential, as far as it can be judged without the database.

        :raises Unauthenticated: if it is none.
        """
        if credential is None:
            raise Unauthenticated("no token")
        return verified_token(credential, self._secret)

    async def verify(self, token: str) -> Session:
        """The session that has this token.

        :raises Unauthenticated: if there is none that is good now.
        :raises DatabaseUnavailable: if that cannot be found out.
        """
        rows = await self._database.query(self._select, (token,))
        if not rows:
            raise Unauthenticated("unknown session")
        user_id, lasts = rows[0]
        if not lasts > 0:
            raise Unauthenticated("expired session")
        return Session(user_id, token, lasts)
