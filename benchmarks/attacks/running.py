"""A flood: what the bystanders notice of it, and whether who was signed out is put out meanwhile.

It goes on for longer than that may take: attackers who leave by themselves would seem to have been put out.
"""

from __future__ import annotations

import time
from datetime import datetime

from attrs import evolve

from benchmarks.attacks.flooding import Flooding
from benchmarks.attacks.floods import Flood
from benchmarks.attacks.site import Outcome, Site
from benchmarks.attacks.tables import OUT
from canvas_collab.protocol.close_codes import CloseCode
from tests.support.attacks.framing import ROOM

#: How long after a flood the server may take to be as before, in seconds.
PATIENCE = 20.0

#: For so much longer than :data:`~benchmarks.attacks.tables.OUT` a flood goes on after the sign-out, in seconds.
LONGER = 1.0

_BY_THE_DAEMON = frozenset(map(int, CloseCode))


def flood(site: Site, kind: Flood, sockets: int, seconds: float) -> Outcome:
    """Flood, and sign two people out meanwhile: one of those who attack, and one who only sits there.

    :param seconds: they are signed out after half of that; the flood lasts for as long, and until they should be out.
    """
    site.prepare()
    if kind.role == "nobody":
        tokens = ["nobody"] * sockets
    else:
        site.database.grant(ROOM.removeprefix("diagram-"), site.people["revoked"], kind.role)
        tokens = [site.people[kind.role].token] * (sockets - 1) + [site.people["revoked"].token]
    before = seconds / 2
    seconds = max(seconds, before + OUT + LONGER)
    site.watch()
    began = time.time()
    flooding = Flooding(kind, site.daemon.ws_port, tokens, seconds, sorted(site.cores.others))
    ends = time.time() + seconds
    time.sleep(before)
    signed_out, by_clock = time.perf_counter(), time.time()
    site.sign_out("leaver")
    site.sign_out("revoked")
    sent = flooding.wait(seconds + PATIENCE)
    settled = site.settle(PATIENCE)
    outcome = site.outcome(
        ", ".join(f"{why} {count} times" for why, count in sent.closings.items()) or "taken", seconds
    )
    left = outcome.observation.left if outcome.observation else None
    revoked = [left - signed_out if left else float("inf")]
    if kind.role != "nobody":
        revoked.append(_stay(site, began, by_clock, ends))
    outcome = evolve(outcome, size=sent.bytes, revoked=revoked)
    if not settled:
        site.end()
        return evolve(outcome, answer=f"{outcome.answer}, still busy")
    return outcome


def _stay(site: Site, began: float, signed_out: float, ends: float) -> float:
    """How long the attacker who was signed out stayed, by the daemon's log; infinity if it did not put them out.

    Those count as out whose last connection the daemon closed for another reason, or who left it themselves before the
    flood ended: they tried to come back, and were not let in.
    """
    user = site.people["revoked"].id
    closed = [
        (datetime.fromisoformat(event["time"]).timestamp(), event["code"])
        for event in site.daemon.events("connection closed")
        if event["user"] == user
    ]
    last, code = closed[-1] if closed else (0.0, None)
    if last < began or (last >= ends and code not in _BY_THE_DAEMON):
        return float("inf")
    return max(last - signed_out, 0.0)
