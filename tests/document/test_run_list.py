"""The lists of runs in a document: how many runs there are, and how large."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from pycrdt import Doc, Map

from canvas_collab.document.run_list import SIZE_RATIO
from canvas_collab.protocol.structs import RUN_SIZE
from tests.support.updates import document_of, edits


def test_the_number_of_runs_stays_small() -> None:
    document = document_of(edits(1, 3000))
    for runs in document._runs.values():
        assert len(runs) < 12
        for first, second in pairwise(runs):
            assert first.end == second.clock
            full = len(first.data) + len(second.data) > RUN_SIZE
            assert full or len(first.data) >= SIZE_RATIO * len(second.data)
    assert document.size == sum(len(run.data) for runs in document._runs.values() for run in runs)


def test_the_size_of_runs_is_limited() -> None:
    doc: Doc[Any] = Doc()
    shapes = doc.get("shapes", type=Map)
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    for number in range(4000):
        shapes[f"shape {number}"] = number
    doc.unobserve(subscription)
    typed, loaded = document_of(updates), document_of([doc.get_update()])
    for document in (typed, loaded):
        sizes = [len(run.data) for runs in document._runs.values() for run in runs]
        assert sum(sizes) > 4 * RUN_SIZE
        assert max(sizes) < RUN_SIZE * 1.1
        assert len(sizes) < sum(sizes) / RUN_SIZE * 2 + 12
    behind = document_of(updates[:-10])
    assert len(typed.encode_diff(behind.state_vector)) < 400
