"""An attack with a flood, during which the sessions of two users are deleted.

The flood goes on for longer than it may take until these users are disconnected: attackers who leave by themselves
could not be told from those whom the daemon disconnects.
"""

from __future__ import annotations

import time
from datetime import datetime

from attrs import evolve

from benchmarks.attacks.environment import Environment
from benchmarks.attacks.flood_sender import FloodSender
from benchmarks.attacks.floods import Flood
from benchmarks.attacks.outcome import Outcome
from benchmarks.attacks.tables import OUT
from canvas_collab.protocol.close_codes import CloseCode
from tests.support.attacks.framing import ROOM

#: How long after a flood the daemon may take until it is idle again, in seconds.
PATIENCE = 20.0

#: After the sessions were deleted, a flood goes on for :data:`~benchmarks.attacks.tables.OUT` and so many seconds more.
LONGER = 1.0

_DAEMON_CODES = frozenset(map(int, CloseCode))


def flood(environment: Environment, kind: Flood, sockets: int, seconds: float) -> Outcome:
    """Flood the daemon, and delete two users' sessions meanwhile: that of an attacker, and that of a bystander.

    :param seconds: the sessions are deleted after half of that; the flood lasts for so long, or longer until the users
        should be disconnected.
    """
    environment.prepare()
    if kind.role == "nobody":
        tokens = ["nobody"] * sockets
    else:
        revoked_user = environment.users["revoked"]
        environment.database.grant(ROOM.removeprefix("diagram-"), revoked_user, kind.role)
        tokens = [environment.users[kind.role].token] * (sockets - 1) + [revoked_user.token]
    before = seconds / 2
    seconds = max(seconds, before + OUT + LONGER)
    environment.begin()
    began = time.time()
    sender = FloodSender(kind, environment.daemon.ws_port, tokens, seconds, sorted(environment.cores.others))
    ends = time.time() + seconds
    time.sleep(before)
    signed_out, signed_out_time = time.perf_counter(), time.time()
    environment.sign_out("leaver")
    environment.sign_out("revoked")
    sent = sender.wait(seconds + PATIENCE)
    settled = environment.wait_until_closed(PATIENCE)
    outcome = environment.end(
        ", ".join(f"{why} {count} times" for why, count in sent.closings.items()) or "taken", seconds
    )
    left = outcome.observation.left if outcome.observation else None
    revoked = [left - signed_out if left else float("inf")]
    if kind.role != "nobody":
        revoked.append(_time_until_out(environment, began, signed_out_time, ends))
    outcome = evolve(outcome, size=sent.bytes, revoked=revoked)
    if not settled:
        environment.stop()
        return evolve(outcome, answer=f"{outcome.answer}, still busy")
    return outcome


def _time_until_out(environment: Environment, began: float, signed_out: float, ends: float) -> float:
    """How long the attacker stayed connected after the sign-out, by the daemon's log; infinity if not disconnected.

    The attacker is out when the daemon closed the last connection, or when it ended before the flood did: then the
    attacker tried to reconnect and was refused.

    :param began: when the flood began; `signed_out`: when the session was deleted; `ends`: when the flood ended; all as
        Unix times.
    """
    user = environment.users["revoked"].id
    closed = [
        (datetime.fromisoformat(event["time"]).timestamp(), event["code"])
        for event in environment.daemon.events("connection closed")
        if event["user"] == user
    ]
    last, code = closed[-1] if closed else (0.0, None)
    if last < began or (last >= ends and code not in _DAEMON_CODES):
        return float("inf")
    return max(last - signed_out, 0.0)
