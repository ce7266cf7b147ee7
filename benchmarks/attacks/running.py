"""A flood: what the bystanders notice of it, and whether who was signed out is put out meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

from benchmarks.attacks.flooding import Flooding
from benchmarks.attacks.floods import Flood
from benchmarks.attacks.messages import Outcome
from benchmarks.attacks.site import Site
from benchmarks.processes import forget_peak_memory, peak_memory
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
    before, cpu = site.memory, site.cpu
    forget_peak_memory(site.daemon.pid)
    site.watch()
    flooding = Flooding(kind, site.daemon.ws_port, tokens, seconds, sorted(site.cores.others))
    time.sleep(seconds / 2)
    signed_out, by_clock = time.perf_counter(), time.time()
    site.sign_out("leaver")
    site.sign_out("revoked")
    sent = flooding.wait(seconds + PATIENCE)
    settled = site.settle(PATIENCE)
    peak = peak_memory(site.daemon.pid)
    observation, waited = site.observe()
    revoked = [observation.left - signed_out if observation.left else float("inf"), *_stay(site, by_clock)]
    answer = ", ".join(f"{why} {count} times" for why, count in sent.closings.items()) or "taken"
    used = site.cpu - cpu
    after = site.memory
    if not settled:
        site.end()
        answer += ", still busy"
    return Outcome(
        answer, seconds, sent.bytes, used, before, peak, after, observation, revoked, sent.connections, waited
    )


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
