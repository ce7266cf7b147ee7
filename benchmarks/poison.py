"""Fuzzing with updates that no client would send: ``python -m benchmarks.poison --updates 200000 --seed 1``.

Those that the server accepts are applied by real Yjs, as clients run it.  Histories that break Yjs are counted: with a
known reason, which shows in the document but not in any single update, or without one, which is a failure.
``tests/protocol/test_poison.py`` does the same with fewer updates.
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

#: How many histories are judged at once, and after how many batches the fuzzer gets other real histories.
BATCH = 50
BATCHES = 20

#: The number of real histories that the fuzzer makes others from.
CORPUS = 60


class Tally:
    """Counts histories and the reasons for which they break Yjs.

    :ivar updates: the number of accepted updates; `histories`: the number of histories.
    :ivar clean: the number of histories without a known reason.
    :ivar reading: the number of histories with failures that only affect reading the document.
    :ivar hidden: how often each error occurred for a known reason.
    :ivar unexplained: histories that break Yjs without a known reason.
    """

    def __init__(self) -> None:
        self.updates = 0
        self.histories = 0
        self.clean = 0
        self.reading = 0
        self.hidden: Counter[str] = Counter()
        self.unexplained: list[tuple[History, list[Failure]]] = []

    def add(self, history: History, verdict: list[Failure]) -> None:
        """Count a history and the failures that Yjs had with it."""
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
        """The counts as text."""
        lines = [
            f"{self.updates} accepted updates in {self.histories} histories, "
            f"{self.clean} of them without a known reason to break Yjs",
            f"{self.reading} histories with failures in reading the document only",
            f"{sum(self.hidden.values())} failures with a known reason:",
            *(f"{count:8}  {error}" for error, count in self.hidden.most_common()),
            f"{len(self.unexplained)} histories broke Yjs without a known reason",
        ]
        return "\n".join(lines)


def main() -> None:
    """Run the fuzzer; exit with status 1 if a history breaks Yjs without a known reason."""
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
