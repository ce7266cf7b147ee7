"""The limit on handshakes of each network."""

from __future__ import annotations

import random

from canvas_collab.config.limits import AddressLimits
from canvas_collab.limits.handshakes import INTERVAL, HandshakeLimit, Verdict

LIMITS = AddressLimits(max_handshakes=10, handshake_ban=30.0)


def test_the_handshake_over_the_limit_begins_a_ban_that_ends_though_the_client_goes_on() -> None:
    limit = HandshakeLimit(LIMITS)
    assert [limit.add("a", 0.0) for _ in range(10)] == [Verdict.ADMIT] * 10
    assert limit.add("a", 1.0) is Verdict.BAN
    assert [limit.add("a", 1.0 + second) for second in range(30)] == [Verdict.BANNED] * 30
    assert limit.add("b", 1.0) is Verdict.ADMIT
    assert limit.add("a", 31.0) is Verdict.ADMIT


def test_the_counts_start_again_every_minute() -> None:
    limit = HandshakeLimit(LIMITS)
    for minute in range(5):
        assert [limit.add("a", minute * INTERVAL) for _ in range(10)] == [Verdict.ADMIT] * 10


def test_without_a_limit_nobody_is_banned() -> None:
    limit = HandshakeLimit(AddressLimits(max_handshakes=0))
    assert {limit.add("a", 0.0) for _ in range(100_000)} == {Verdict.ADMIT}


def test_under_an_attack_from_many_networks_one_that_makes_most_handshakes_is_banned_and_no_small_one_is() -> None:
    generator = random.Random(1)
    limit = HandshakeLimit(LIMITS, max_networks=100)
    verdicts: dict[str, set[Verdict]] = {}
    for number in range(50_000):
        network = "attacker" if number % 3 == 0 else f"network {generator.randrange(10_000)}"
        verdicts.setdefault(network, set()).add(limit.add(network, 0.001 * number))
    assert Verdict.BANNED in verdicts.pop("attacker")
    assert set().union(*verdicts.values()) == {Verdict.ADMIT}
