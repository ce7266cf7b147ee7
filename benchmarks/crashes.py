"""Kills the daemon and PostgreSQL again and again: ``python -m benchmarks.crashes --rounds 500``.

Hocuspocus providers edit several documents while the daemon, PostgreSQL or both are killed at random moments.  The
result is the number of edits that were acknowledged and are lost.  ``tests/faults/test_crashes.py`` runs a few rounds
of the same.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.crashes import Crashes
from tests.support.daemons import ROOT


def main() -> None:
    """Run the rounds; exit with status 1 if an acknowledged edit is lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crashes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    node = shutil.which("node")
    if node is None:
        parser.error("there is no node; 'make test' installs one")
    began = time.monotonic()
    with (
        TemporaryDirectory(prefix="canvas-collab-crashes-") as directory,
        Crashes(Path(directory), node, ROOT / "tests" / "node", options.seed) as crashes,
    ):
        report = crashes.run(options.rounds)
    print(f"seed {options.seed}, {time.monotonic() - began:.0f} s: {report}")
    for problem in report.problems:
        print(problem)
    sys.exit(bool(report.lost or report.problems))


if __name__ == "__main__":
    main()
