"""Updates that no client would make, as many as one likes: ``python -m benchmarks.poison --updates 200000 --seed 1``.

What the server accepts of them goes to real Yjs, as clients run it.  What breaks there is counted, by its reason:
poison that no single update shows, or nothing that is known, which is a failure.  ``tests/protocol/test_poison.py`` is
the same in short.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections import Counter

from tests.support.daemons import ROOT
from tests.support.document_poison import document_poison, is_explained
from tests.support.fuzzing import Fuzzer
from tests.support.yjs_oracle import Failure, History, YjsOracle

#: So many histories are judged at once, and after so many batches others are made from other real ones.
BATCH = 50
BATCHES = 20

#: From so many real histories others are made.
CORPUS = 60


class Tally:
    """What broke, and why."""

    def __init__(self) -> None:
        self.updates = 0
        self.histories = 0
        self.clean = 0
        self.reading = 0
        self.hidden: Counter[str] = Counter()
        self.unexplained: list[tuple[History, list[Failure]]] = []

    def add(self, history: History, verdict: list[Failure]) -> None:
        """Count a history."""
        self.updates += len(history.accepted)
        self.histories += 1
        failures = [failure for failure in verdict if not failure.is_reading]
        self.reading += len(failures) < len(verdict)
        self.clean += not document_poison(history)
        if failures and is_explained(history, failures):
            self.hidden.update({failure.error for failure in failures})
        elif failures:
            self.unexplained.append((history, failures))

    def report(self) -> str:
        """What was counted."""
        lines = [
            f"{self.updates} accepted updates in {self.histories} histories, "
            f"{self.clean} of them without poison that only the document shows",
            f"{self.reading} histories have something where an application cannot read it",
            f"{sum(self.hidden.values())} broke by poison that only the document shows:",
            *(f"{count:8}  {error}" for error, count in self.hidden.most_common()),
            f"{len(self.unexplained)} broke without any",
        ]
        return "\n".join(lines)


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.poison", description=__doc__)
    parser.add_argument("--updates", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    node = shutil.which("node")
    if node is None:
        parser.error("there is no node; 'make test' installs one")
    tally = Tally()
    began = time.monotonic()
    with YjsOracle(node, ROOT / "tests" / "node") as oracle:
        for batch in range(options.updates):
            if tally.updates >= options.updates:
                break
            if batch % BATCHES == 0:
                first = options.seed * 10**6 + batch * CORPUS
                fuzzer = Fuzzer(first, oracle.histories(range(first, first + CORPUS)))
            histories = [fuzzer.history() for _ in range(BATCH)]
            for history, verdict in zip(histories, oracle.check(histories), strict=True):
                tally.add(history, verdict)
        print(f"seed {options.seed}, {time.monotonic() - began:.0f} s: {tally.report()}")
        for history, failures in tally.unexplained:
            reduced = oracle.reduced(history)
            print(failures[0].group, *(update.hex() for update in (*reduced.before, *reduced.accepted)), sep="\n  ")
    sys.exit(bool(tally.unexplained))


if __name__ == "__main__":
    main()
