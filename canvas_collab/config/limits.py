"""Settings of what each address, each user and each connection may do.  With 0 there is no such limit."""

from __future__ import annotations

from attrs import frozen

from canvas_collab.config import variables
from canvas_collab.config.setting import setting


@frozen
class AddressLimits:
    """The limits of each address, which `TRUSTED_PROXIES` decides on; IPv6 addresses count by their /64."""

    max_connections: int = setting(
        "MAX_CONNECTIONS_PER_ADDRESS",
        3000,
        variables.limit(1, 10**6),
        "How many clients of one address may be connected at once. More are refused with status 429. `0`: any number. "
        "An IPv6 address counts with its /64, and unix sockets do not count. Behind a reverse proxy all clients have "
        "its address, unless `TRUSTED_PROXIES` is set.",
    )
    max_handshakes: int = setting(
        "MAX_HANDSHAKES_PER_ADDRESS",
        12000,
        variables.limit(1, 10**9),
        "How many handshakes one address may make in a minute before it is banned. `0`: any number. The default is "
        "enough for 300 people behind one address whose pages retry as fast as `y-websocket` does.",
    )
    handshake_ban: float = setting(
        "HANDSHAKE_BAN",
        30.0,
        variables.number(1, 86400),
        "How long all handshakes of a banned address are refused with status 429. Its open connections stay open.",
    )


@frozen
class UserLimits:
    """The limits of each user."""

    max_connections: int = setting(
        "MAX_CONNECTIONS_PER_USER",
        2000,
        variables.limit(1, 10**6),
        "How many connections to documents one user may have; a Hocuspocus socket has one for each of its documents. "
        "`0`: any number.",
    )
    max_rooms: int = setting(
        "MAX_ROOMS_PER_USER",
        1000,
        variables.limit(1, 10**6),
        "How many different documents one user may have open at once. `0`: any number.",
    )


@frozen
class RateLimits:
    """How fast each WebSocket may send."""

    max_messages: int = setting(
        "MAX_MESSAGES_PER_SECOND",
        1000,
        variables.limit(10, 10**9),
        "How many messages and pings a client may send in a second, after `RATE_BURST`. A client that sends more is "
        "read more slowly. Each 16 KiB of a large message count as one. `0`: any number.",
    )
    max_bytes: int = setting(
        "MAX_BYTES_PER_SECOND",
        4 * 2**20,
        variables.limit(2**16, 2**40),
        "How many bytes a client may send in a second, after `RATE_BURST`. A client that sends more is read more "
        "slowly. `0`: any number.",
    )
    burst: float = setting(
        "RATE_BURST",
        30.0,
        variables.number(1, 3600),
        "How many seconds' worth of messages and of bytes a client may send at once: what it has edited offline.",
    )
    patience: float = setting(
        "RATE_PATIENCE",
        60.0,
        variables.number(0, 86400),
        "For how many seconds in all a client may be read more slowly before it is closed with 4503. A minute within "
        "the limits ends the count. `0`: it is never closed.",
    )
