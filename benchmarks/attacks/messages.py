"""One message, or a few in order, of one shape: how long the bystanders wait."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

from attrs import evolve, frozen

from benchmarks.attacks.site import Site
from benchmarks.processes import forget_peak_memory, peak_memory
from canvas_collab.protocol import sync
from tests.attacks.encoding import frame
from tests.attacks.framing import ROOM
from tests.attacks.shape import Dialect, Shape
from tests.harness.assailant import Assailant
from tests.harness.bystanders import Observation

#: Bystanders are watched for at least so many seconds.
LEAST = 1.0


@frozen
class Outcome:
    """What came of an attack.

    :ivar answer: what the server did: "taken", a close code, or why there is nothing to tell.
    :ivar seconds: how long it took.
    :ivar before: the daemon's memory in bytes before, `peak` at most meanwhile, `after` afterwards.
    :ivar connections: how many connections a flood had.
    :ivar waited: for which share of the time the daemon could have run, and something else had its core.
    :ivar revoked: how long users whose session was deleted stayed, in seconds, where that was tried.
    """

    answer: str
    seconds: float = 0.0
    size: int = 0
    cpu: float = 0.0
    before: int = 0
    peak: int = 0
    after: int = 0
    observation: Observation | None = None
    revoked: Sequence[float] = ()
    connections: int = 0
    waited: float = 0.0


def attack(site: Site, shape: Shape, role: str, size: int, patience: float) -> Outcome:
    """Attack, as somebody with that role; the server is given up when it takes longer than `patience` seconds."""
    site.prepare()
    port, people = site.daemon.ws_port, site.people
    with ExitStack() as stack:
        stored = [frame(sync.encode_update(update)) for update in shape.stored(size)]
        if stored:
            builder = stack.enter_context(Assailant(port, ROOM, people["editor"].token))
            if not builder.send(b"".join(stored), patience) or builder.closed:
                answer = f"what is before it was refused with {builder.closed}" if builder.closed else "hung before"
                stack.close()
                site.end()
                return Outcome(answer)
        data = shape.wire(size, ROOM)
        time.sleep(0.2)
        before, cpu = site.memory, site.cpu
        forget_peak_memory(site.daemon.pid)
        site.watch()
        started = time.perf_counter()
        with Assailant(port, ROOM, people[role].token, shape.dialect) as assailant:
            done = assailant.send(data, patience)
            seconds = time.perf_counter() - started
            answer = str(assailant.closed or "taken")
    settled = done and site.settle(patience)
    time.sleep(max(started + LEAST - time.perf_counter(), 0))
    peak = peak_memory(site.daemon.pid)
    observation, waited = site.observe()
    outcome = Outcome(answer, seconds, len(data), site.cpu - cpu, before, peak, site.memory, observation, waited=waited)
    if not settled:
        site.end()
        return evolve(outcome, answer=f"{answer}, still busy" if done else "no answer")
    return outcome


def roles(shape: Shape) -> tuple[str, ...]:
    """Who sends that shape."""
    return ("nobody",) if shape.dialect is Dialect.STRANGER else ("viewer", "editor")


def nothing(site: Site, seconds: float) -> Outcome:
    """No attack, to compare with."""
    site.prepare()
    before, cpu = site.memory, site.cpu
    forget_peak_memory(site.daemon.pid)
    site.watch()
    time.sleep(seconds)
    observation, waited = site.observe()
    peak = peak_memory(site.daemon.pid)
    used = site.cpu - cpu
    return Outcome("nothing", seconds, 0, used, before, peak, site.memory, observation, waited=waited)
