"""Limiting how many handshakes there may be from each network in a minute; those with more are banned for a while."""

from __future__ import annotations

import enum

from canvas_collab.config.limits import AddressLimits
from canvas_collab.limits.bans import BanList
from canvas_collab.limits.frequency import FrequentKeys

#: How long handshakes are counted before the counts start again, in seconds.
INTERVAL = 60.0

#: How many networks are counted, and how many banned, at the same time: a few megabytes.
MAX_NETWORKS = 10_000


class Verdict(enum.Enum):
    """What is to be done with a handshake."""

    #: It is within the limit.
    ADMIT = enum.auto()
    #: It is the one that exceeds the limit: the network is banned from now on.
    BAN = enum.auto()
    #: The network is banned.
    BANNED = enum.auto()


class HandshakeLimit:
    """Counts handshakes by network.  Those of a banned network do not count, so a client that retries gets in again."""

    def __init__(self, limits: AddressLimits, max_networks: int = MAX_NETWORKS) -> None:
        self._limit = limits.max_handshakes
        self._counts = FrequentKeys(max_networks)
        self._bans = BanList(limits.handshake_ban, max_networks)
        self._interval_start = float("-inf")

    def add(self, network: str, now: float) -> Verdict:
        """Count a handshake, and return what is to be done with it."""
        if not self._limit:
            return Verdict.ADMIT
        if self._bans.has(network, now):
            return Verdict.BANNED
        if now - self._interval_start >= INTERVAL:
            self._counts.clear()
            self._interval_start = now
        if self._counts.add(network) <= self._limit:
            return Verdict.ADMIT
        self._counts.forget(network)
        self._bans.add(network, now)
        return Verdict.BAN
