"""Admitting sockets: the limits on connections, in all and for each address, and on handshakes of each address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from canvas_collab.access.authorization import Denied
from canvas_collab.config.connections import WebSocketSettings
from canvas_collab.config.limits import AddressLimits
from canvas_collab.limits.addresses import network_of
from canvas_collab.limits.handshakes import HandshakeLimit, Verdict
from canvas_collab.protocol.close_codes import CloseCode

#: Sockets over the limit of an address are refused when their request arrives.  With so many times the limit, further
#: ones are cut off at once, or those without a request could take up all connections.
CUT_OFF = 2


class Admitted(Protocol):
    """What :class:`Admission` needs of a socket."""

    @property
    def client_address(self) -> str:
        """The client's IP address and port; after the handshake's request was read, as a trusted proxy gives it."""

    @property
    def has_address(self) -> bool:
        """Whether the socket's peer has an IP address; that of a unix socket has none."""


class Admission:
    """Counts sockets and handshakes, in all and by network, and decides which ones are admitted."""

    log = Logger()

    def __init__(
        self, clock: IReactorTime, settings: WebSocketSettings, limits: AddressLimits, exceeded: Counter[str]
    ) -> None:
        """:param exceeded: counts how often limits are exceeded, by the names of their settings."""
        self._clock = clock
        self._max_connections = settings.max_connections
        self._trusted_proxies = settings.trusted_proxies
        self._max_each = limits.max_connections
        self._handshakes = HandshakeLimit(limits)
        self._exceeded = exceeded
        # The network that each socket counts for; empty if it does not.
        self._networks: dict[Admitted, str] = {}
        self._counts: dict[str, int] = {}

    def connected(self, socket: Admitted) -> bool:
        """Count a socket; return whether it may stay until its handshake."""
        # Behind a proxy the address is not known before the request is read.
        network = "" if self._trusted_proxies else self._count(socket)
        self._networks[socket] = network
        if 0 < CUT_OFF * self._max_each < self._counts.get(network, 0):
            self._exceeded["MAX_CONNECTIONS_PER_ADDRESS"] += 1
            return False
        return True

    def disconnected(self, socket: Admitted) -> None:
        """Count a socket as closed."""
        network = self._networks.pop(socket, "")
        if network:
            self._counts[network] -= 1
            if not self._counts[network]:
                del self._counts[network]

    def admit(self, socket: Admitted, headers: Mapping[str, str]) -> None:
        """Count a handshake, and decide on it.

        :param headers: of its request, names in lower case.
        :raises Denied: if it is over a limit.
        """
        if self._trusted_proxies and socket in self._networks:
            self._networks[socket] = self._count(socket, "x-forwarded-for" in headers)
        network = self._networks.get(socket, "")
        if network:
            self._check_handshakes(socket, network, headers)
        if len(self._networks) > self._max_connections:
            self._exceeded["MAX_CONNECTIONS"] += 1
            raise Denied(503, CloseCode.TRY_AGAIN_LATER, "try again later", "too many connections")
        if 0 < self._max_each < self._counts.get(network, 0):
            raise self._denied("MAX_CONNECTIONS_PER_ADDRESS", "too many connections", network, headers)

    def _count(self, socket: Admitted, is_forwarded: bool = False) -> str:
        if not (socket.has_address or is_forwarded):
            return ""
        network = network_of(socket.client_address)
        self._counts[network] = self._counts.get(network, 0) + 1
        return network

    def _check_handshakes(self, socket: Admitted, network: str, headers: Mapping[str, str]) -> None:
        verdict = self._handshakes.add(network, self._clock.seconds())
        if verdict is Verdict.ADMIT:
            return
        denied = self._denied("MAX_HANDSHAKES_PER_ADDRESS", "too many handshakes", network, headers)
        if verdict is Verdict.BAN:
            self.log.warn("address banned", reason=denied.reason, client=socket.client_address)
        raise denied

    def _denied(self, setting: str, problem: str, network: str, headers: Mapping[str, str]) -> Denied:
        self._exceeded[setting] += 1
        hint = ""
        if not self._trusted_proxies and "x-forwarded-for" in headers:
            hint = "; it is a proxy's, unless TRUSTED_PROXIES is set"
        reason = f"{problem} from {network} ({setting}){hint}"
        return Denied(429, CloseCode.TRY_AGAIN_LATER, f"{problem}, try again later", reason)
