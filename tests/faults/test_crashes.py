"""What was confirmed to a provider as saved is stored, whichever process is killed, and whenever."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.crashes import Crashes

ROUNDS = 20
SEED = int(os.environ.get("CRASH_SEED", "1"))


def test_nothing_that_was_acknowledged_is_lost_when_the_daemon_or_postgresql_is_killed(
    tmp_path: Path, node_executable: str, node_path: Path
) -> None:
    with Crashes(tmp_path, node_executable, node_path, SEED) as crashes:
        report = crashes.run(ROUNDS)
    print(report)
    assert (report.lost, report.problems) == (0, []), str(report)
    assert (report.rounds, len(report.kinds)) == (ROUNDS, 4)
    assert report.acknowledged > ROUNDS
