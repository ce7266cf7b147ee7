"""The settings of the bus between daemons, and how its URL is read."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from attrs import field, frozen

from canvas_collab.config import variables
from canvas_collab.config.setting import setting

#: The port of Valkey and Redis, if a URL names none.
DEFAULT_PORT = 6379


@frozen
class ValkeyAddress:
    """Where a Valkey or Redis server is, and how to sign in."""

    host: str
    port: int = DEFAULT_PORT
    is_tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> ValkeyAddress:
        """Parse ``redis://[[USER]:PASSWORD@]HOST[:PORT]``, or the same with ``rediss`` for TLS.

        Publishing and subscribing know no databases, so that the number of one at the end changes nothing.

        :raises ValueError: with what the URL must be.
        """
        expected = "must be a URL such as redis://host:6379 or, with TLS, rediss://user:password@host"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError(expected) from None
        if parts.scheme not in ("redis", "rediss", "valkey", "valkeys") or not parts.hostname:
            raise ValueError(expected)
        if parts.query or parts.fragment or not (parts.path in ("", "/") or parts.path[1:].isdigit()):
            raise ValueError(f"{expected}, without parameters; in a password, write % as %25, # as %23 and / as %2F")
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        return cls(parts.hostname, port or DEFAULT_PORT, parts.scheme in ("rediss", "valkeys"), user, password)


def bus_url(value: str) -> str:
    """The URL of a Valkey or Redis server."""
    ValkeyAddress.parse(value)
    return value


@frozen
class BusSettings:
    """How several daemons exchange edits and awareness."""

    url: str = setting(
        "BUS_URL",
        "",
        bus_url,
        "The Valkey or Redis server over which several daemons exchange edits, awareness and stateless messages: "
        "`redis://host:6379`, or with TLS `rediss://user:password@host`. Empty: they follow each other's edits through "
        "the database, and share no awareness. See [several daemons](scaling.md).",
        is_secret=True,
    )
    prefix: str = setting(
        "BUS_PREFIX",
        "canvas-collab",
        variables.text,
        "With what the names of the bus's channels begin. Installations that share a server need different ones.",
    )
