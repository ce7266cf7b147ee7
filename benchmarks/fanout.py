"""How fast edits reach the others in a busy room: ``python -m benchmarks.fanout --help``."""

from __future__ import annotations

import argparse
import os
from urllib.parse import quote

from benchmarks.installation import installation
from benchmarks.load import Load, percentile, run


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has taken."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run one load against a daemon of its own, and print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fanout", description=__doc__)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--writers", type=int, help="default: all of them")
    parser.add_argument("--rate", type=float, default=20, help="updates a second of each writer")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    with installation() as (database, daemon):
        user = database.add_user("load")
        database.add_diagram("load", user)
        load = Load(
            "127.0.0.1",
            daemon.ws_port,
            f"/diagram-load?token={quote(user.token)}",
            options.clients,
            options.writers or options.clients,
            options.rate,
            options.seconds,
        )
        before = cpu_seconds(daemon.pid)
        report = run(load)
        cpu = cpu_seconds(daemon.pid) - before
        daemon.wait_until(lambda: daemon.get("/health")[1]["unsaved_updates"] == 0)
        [[rows]] = database.query("SELECT count(*) FROM yjs_update_log")
        print(f"sent        {report.sent} updates, {rows} of them in the log")
        print(f"delivered   {report.delivered}, missing {report.missing}, misplaced {report.misplaced}")
        print(f"messages    {report.messages} in {report.seconds:.1f} s")
        for share in (0.5, 0.95, 0.99, 0.999):
            print(f"p{share * 100:<10g} {percentile(report.latencies, share) * 1000:.2f} ms")
        print(f"slowest     {report.latencies[-1] * 1000:.2f} ms")
        print(f"server CPU  {cpu / report.seconds:.0%} of a core, {cpu / report.delivered * 1e6:.2f} µs a delivery")
        print(f"generator   p99 {percentile(report.lateness, 0.99) * 1000:.2f} ms late")


if __name__ == "__main__":
    main()
