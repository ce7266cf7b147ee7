"""What committing costs the daemon, and what notifying costs the database: ``python -m benchmarks.commits``.

With ``--against CHECKOUT`` the same is measured there, alternately.  A commit's processor time is that of the daemon's
process.  With ``synchronous_commit`` off the process does not sleep in between, so its caches stay warm; on, it waits
for the disk, as it does in use.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import committing
from benchmarks.installation import postgres
from benchmarks.wal import wal_position
from tests.support.daemons import ROOT, daemon_environment
from tests.support.databases import TestDatabase

#: The commits of one measurement, and how long each rate is measured, in seconds.
COMMITS = 200
DURATION = 3.0

#: How many daemons commit at the same time when rates are measured.
DAEMONS = 4

Result = dict[str, float]


def start(database: TestDatabase, checkout: Path, *arguments: str, **settings: object) -> subprocess.Popen[bytes]:
    """Start a child process with the code of a checkout."""
    snapshots = {"SNAPSHOT_DEBOUNCE": 3600, "SNAPSHOT_MAX_WAIT": 86400}
    environment = daemon_environment(database, **snapshots, **settings)
    return subprocess.Popen(
        [sys.executable, committing.__file__, *arguments],
        env={**environment, "PYTHONPATH": str(checkout)},
        stdout=subprocess.PIPE,
    )


def results(child: subprocess.Popen[bytes]) -> list[Result]:
    """Wait for a child process, and return what it has printed."""
    output, _ = child.communicate()
    assert child.returncode == 0, "the child process failed"
    return [json.loads(line) for line in output.splitlines()]


def measure_cost(database: TestDatabase, checkouts: list[Path], rounds: int, user_id: str) -> None:
    """Print the cost of commits: without waiting for the disk, with it, and with the journal's usual interval."""
    [[name]] = database.query("SELECT current_database()")
    for commit, interval in (("off", 0), ("on", 0), ("on", 20)):
        database.query(f"ALTER DATABASE {name} SET synchronous_commit = {commit}")
        found: dict[tuple[Path, float], list[Result]] = {}
        for _ in range(rounds):
            for checkout in checkouts:
                database.query("TRUNCATE yjs_update_log")
                child = start(database, checkout, "cost", str(COMMITS), user_id, JOURNAL_INTERVAL_MS=interval)
                for result in results(child):
                    found.setdefault((checkout, result["updates"]), []).append(result)
        for (checkout, updates), several in found.items():
            cpu, seconds = (median(result[key] for result in several) for key in ("cpu", "seconds"))
            print(
                f"{checkout}: synchronous_commit={commit}, interval {interval} ms, {updates:2} updates: "
                f"{cpu:.0f} µs CPU, {seconds:.0f} µs"
            )


def measure_wal(database: TestDatabase, user_id: str) -> None:
    """Print how much of its write-ahead log PostgreSQL writes for an update."""
    database.query("CHECKPOINT")
    before = wal_position(database)
    results(start(database, ROOT, "cost", str(COMMITS), user_id, JOURNAL_INTERVAL_MS=0))
    updates = (COMMITS + committing.WARM_UP) * sum(committing.SIZES)
    print(f"WAL: {(wal_position(database) - before) / updates:.0f} bytes for an update, of {updates}")


def measure_rates(database: TestDatabase, checkouts: list[Path], rounds: int, user_id: str) -> None:
    """Print how many commits of one update several daemons make, notifying each other and not."""
    found: dict[tuple[Path, str], list[float]] = {}
    for _ in range(rounds):
        for checkout in checkouts:
            for mode in ("rate", "silent"):
                database.query("TRUNCATE yjs_update_log")
                arguments: tuple[Any, ...] = (database, checkout, mode, str(DURATION), user_id)
                children = [start(*arguments, JOURNAL_INTERVAL_MS=0) for _ in range(DAEMONS)]
                total = sum(result["rate"] for child in children for result in results(child))
                found.setdefault((checkout, mode), []).append(total)
    for (checkout, mode), rates in found.items():
        how = "notifying each other" if mode == "rate" else "not notifying, unless that is a part of the commit"
        print(f"{checkout}: {DAEMONS} daemons, {how}: {median(rates):.0f} commits a second")


def main() -> None:
    """Measure everything, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, action="append", default=[], help="another checkout to measure as well")
    parser.add_argument("--rounds", type=int, default=5, help="how often each measurement is repeated")
    parser.add_argument("--only", choices=("cost", "wal", "rates"), help="measure only this")
    options = parser.parse_args()
    checkouts = [*(path.resolve() for path in options.against), ROOT]
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    with postgres() as (database, _):
        user_id = database.add_user("committing").id
        if options.only in (None, "cost"):
            measure_cost(database, checkouts, options.rounds, user_id)
        if options.only in (None, "wal"):
            measure_wal(database, user_id)
        if options.only in (None, "rates"):
            measure_rates(database, checkouts, options.rounds, user_id)


if __name__ == "__main__":
    main()
