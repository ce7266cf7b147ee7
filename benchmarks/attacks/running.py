"""A flood: what the bystanders notice of it, and whether who was signed out is put out meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

from attrs import evolve

from benchmarks.attacks.flooding import Flooding
from benchmarks.attacks.floods import Flood
from benchmarks.attacks.site import Outcome, Site
from tests.attacks.framing import ROOM

#: How long after a flood the server may take to be as before, in seconds.
PATIENCE = 20.0


def flood(site: Site, kind: Flood, sockets: int, seconds: float) -> Outcome:
    """Flood, and sign two people out in the middle of it: one of those who attack, and one who only sits there."""
    site.prepare()
    if kind.role == "nobody":
        tokens = ["nobody"] * sockets
    else:
        site.database.grant(ROOM.removeprefix("diagram-"), site.people["revoked"], kind.role)
        tokens = [site.people[kind.role].token] * (sockets - 1) + [site.people["revoked"].token]
    site.watch()
    flooding = Flooding(kind, site.daemon.ws_port, tokens, seconds, sorted(site.cores.others))
    time.sleep(seconds / 2)
    signed_out, by_clock = time.perf_counter(), time.time()
    site.sign_out("leaver")
    site.sign_out("revoked")
    sent = flooding.wait(seconds + PATIENCE)
    settled = site.settle(PATIENCE)
    outcome = site.outcome(
        ", ".join(f"{why} {count} times" for why, count in sent.closings.items()) or "taken", seconds
    )
    left = outcome.observation.left if outcome.observation else None
    revoked = [left - signed_out if left else float("inf"), *_stay(site, by_clock)]
    outcome = evolve(outcome, size=sent.bytes, revoked=revoked)
    if not settled:
        site.end()
        return evolve(outcome, answer=f"{outcome.answer}, still busy")
    return outcome


def _stay(site: Site, since: float) -> Iterator[float]:
    """How long the attacker who was signed out stayed, by the daemon's log."""
    user = site.people["revoked"].id
    ends = [
        datetime.fromisoformat(event["time"]).timestamp()
        for event in site.daemon.events("connection closed")
        if event["user"] == user
    ]
    if ends and ends[-1] >= since:
        yield ends[-1] - since
