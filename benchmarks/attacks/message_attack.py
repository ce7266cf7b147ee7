"""An attack with one crafted message, or a few in order."""

from __future__ import annotations

import time
from contextlib import ExitStack

from attrs import evolve

from benchmarks.attacks.environment import Environment
from benchmarks.attacks.outcome import Outcome
from canvas_collab.protocol import sync
from tests.support.attack_client import AttackClient
from tests.support.attacks.encoding import frame
from tests.support.attacks.framing import ROOM
from tests.support.attacks.shape import Shape, WireProtocol

#: The shortest duration of a measurement, in seconds.
LEAST = 1.0


def attack(environment: Environment, shape: Shape, role: str, size: int, patience: float) -> Outcome:
    """Send the messages of a shape, and measure.

    :param role: the attacker's, or "nobody" for one without a session.
    :param size: the size of a message, in bytes.
    :param patience: how long the daemon may take, in seconds, before it is given up and replaced.
    """
    environment.prepare()
    port, users = environment.daemon.ws_port, environment.users
    with ExitStack() as stack:
        stored = [frame(sync.encode_update(update)) for update in shape.stored(size)]
        if stored:
            builder = stack.enter_context(AttackClient(port, ROOM, users["editor"].token))
            if not builder.send(b"".join(stored), patience) or builder.closed:
                answer = f"setup refused with {builder.closed}" if builder.closed else "setup timed out"
                stack.close()
                environment.stop()
                return Outcome(answer)
        data = shape.frames(size, ROOM)
        time.sleep(0.2)
        environment.begin()
        started = time.perf_counter()
        token = users[role].token if role in users else ""
        with AttackClient(port, ROOM, token, shape.protocol) as attack_client:
            done = attack_client.send(data, patience)
            seconds = time.perf_counter() - started
            answer = str(attack_client.closed or "taken")
    settled = done and environment.wait_until_closed(patience)
    time.sleep(max(started + LEAST - time.perf_counter(), 0))
    outcome = environment.end(answer, seconds, len(data))
    if not settled:
        environment.stop()
        return evolve(outcome, answer=f"{answer}, still busy" if done else "no answer")
    return outcome


def roles(shape: Shape) -> tuple[str, ...]:
    """The roles that a shape is sent with."""
    return ("nobody",) if shape.protocol is WireProtocol.UNAUTHENTICATED else ("viewer", "editor")


def nothing(environment: Environment, seconds: float) -> Outcome:
    """Measure for so many seconds without an attack, for comparison."""
    environment.prepare()
    environment.begin()
    time.sleep(seconds)
    return environment.end("nothing", seconds, 0)
