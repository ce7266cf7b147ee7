"""One message, or a few in order, of one shape: how long the bystanders wait."""

from __future__ import annotations

import time
from contextlib import ExitStack

from attrs import evolve

from benchmarks.attacks.site import Outcome, Site
from canvas_collab.protocol import sync
from tests.support.attack_client import AttackClient
from tests.support.attacks.encoding import frame
from tests.support.attacks.framing import ROOM
from tests.support.attacks.shape import Shape, WireProtocol

#: Bystanders are watched for at least so many seconds.
LEAST = 1.0


def attack(site: Site, shape: Shape, role: str, size: int, patience: float) -> Outcome:
    """Attack, as somebody with that role; the server is given up when it takes longer than `patience` seconds."""
    site.prepare()
    port, people = site.daemon.ws_port, site.people
    with ExitStack() as stack:
        stored = [frame(sync.encode_update(update)) for update in shape.stored(size)]
        if stored:
            builder = stack.enter_context(AttackClient(port, ROOM, people["editor"].token))
            if not builder.send(b"".join(stored), patience) or builder.closed:
                answer = f"what is before it was refused with {builder.closed}" if builder.closed else "hung before"
                stack.close()
                site.end()
                return Outcome(answer)
        data = shape.wire(size, ROOM)
        time.sleep(0.2)
        site.watch()
        started = time.perf_counter()
        with AttackClient(port, ROOM, people[role].token, shape.protocol) as attack_client:
            done = attack_client.send(data, patience)
            seconds = time.perf_counter() - started
            answer = str(attack_client.closed or "taken")
    settled = done and site.settle(patience)
    time.sleep(max(started + LEAST - time.perf_counter(), 0))
    outcome = site.outcome(answer, seconds, len(data))
    if not settled:
        site.end()
        return evolve(outcome, answer=f"{answer}, still busy" if done else "no answer")
    return outcome


def roles(shape: Shape) -> tuple[str, ...]:
    """Who sends that shape."""
    return ("nobody",) if shape.protocol is WireProtocol.UNAUTHENTICATED else ("viewer", "editor")


def nothing(site: Site, seconds: float) -> Outcome:
    """No attack, to compare with."""
    site.prepare()
    site.watch()
    time.sleep(seconds)
    return site.outcome("nothing", seconds, 0)
