"""An update that is cut into parts, which real Yjs clients apply one after another."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pycrdt import Doc, Text

from canvas_collab.document.document import Document
from canvas_collab.document.parts import Parts, split_deletions
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.steps import run_to_completion
from canvas_collab.protocol.update import EMPTY_UPDATE, decode_update, encode_update
from tests.support.yjs_oracle import YjsOracle

SEED = int(os.environ.get("PARTS_SEED", "1"))

#: How many random histories are tried.
HISTORIES = 40


@pytest.fixture(scope="module")
def oracle(node_executable: str, node_path: Path) -> Iterator[YjsOracle]:
    with YjsOracle(node_executable, node_path) as oracle:
        yield oracle


def parts_of(document: Document, clocks: Mapping[int, int], size: int) -> list[bytes]:
    """The parts for a client with these clocks, and at last what is in no part, with all deletions."""
    missing = run_to_completion(document.missing(clocks))
    parts = Parts(missing, clocks, document.deletions, size)
    encoded = []
    while (part := run_to_completion(parts.next())) is not None:
        assert part.runs
        encoded.append(part.encode())
    return [*encoded, run_to_completion(document.diff(parts.clocks))]


def merged(updates: list[bytes]) -> Document:
    return Document(map(decode_update, updates))


def test_parts_of_random_documents_leave_nothing_pending_and_make_the_same_document(oracle: YjsOracle) -> None:
    cases = []
    random = Random(SEED)
    for history in oracle.histories(range(SEED * 1000, SEED * 1000 + HISTORIES)):
        document = merged(history)
        # What another client has: a part of the history that has all it depends on.
        known = next(iter(parts_of(document, {}, random.choice([100, 1000])))) if random.randrange(2) else EMPTY_UPDATE
        clocks = merged([known]).clocks
        parts = parts_of(document, clocks, random.choice([1, 50, 200, 1000]))
        whole = merged([known, *parts])
        assert (whole.state_vector, whole.deletions) == (document.state_vector, document.deletions)
        cases.append(([known], parts, document.encode()))
    for (_, parts, _), verdicts in zip(cases, oracle.parts(cases), strict=True):
        for verdict in verdicts:
            assert verdict["same"]
            assert verdict["pending"] == ([len(parts) - 1] if verdict["waits"] else [])
    assert sum(len(parts) > 3 for _, parts, _ in cases) > HISTORIES / 2


def test_a_long_string_is_cut_between_characters(oracle: YjsOracle) -> None:
    doc = Doc[Any]()
    doc["text"] = Text("a" + "\U0001f600\u6f22\u00e9z" * 10_000)
    document = merged([doc.get_update()])
    parts = parts_of(document, {}, 4096)
    assert len(parts) > 20
    assert max(map(len, parts)) < 4096 + 100
    for verdict in oracle.parts([([], parts, document.encode())])[0]:
        assert verdict == {"pending": [], "waits": False, "same": True}


def test_two_people_who_type_in_turn_need_work_in_proportion_to_the_text() -> None:
    def steps(letters: int) -> int:
        ada, bob = Doc[Any](), Doc[Any]()
        ada["text"], bob["text"] = Text(), Text()
        for number in range(letters):
            writer, reader = (ada, bob) if number % 2 else (bob, ada)
            writer["text"].insert(number // 2, "x")
            reader.apply_update(writer.get_update(reader.get_state()))
        document = merged([ada.get_update()])
        parts = Parts(run_to_completion(document.missing({})), {}, document.deletions, 1024)
        count, size = 0, 0
        while True:
            working = parts.next()
            while True:
                count += 1
                try:
                    next(working)
                except StopIteration as end:
                    part = end.value
                    break
            if part is None:
                break
            size += sum(len(run.data) for runs in part.runs.values() for run in runs)
        assert size == document.size
        return count

    assert steps(2000) < 2.5 * steps(1000)


def test_what_is_deleted_is_in_the_same_part_as_its_structs() -> None:
    doc = Doc[Any]()
    doc["text"] = text = Text("x" * 5000)
    for place in range(0, 2000, 2):
        del text[place]
    document = merged([doc.get_update()])
    *parts, closing = map(decode_update, parts_of(document, {}, 1024))
    assert closing.deletions == document.deletions
    deletions = DeleteSet()
    for part in parts:
        for client, ranges in part.deletions.items():
            for start, end in ranges:
                assert part.runs[client][0].clock <= start < end <= part.runs[client][-1].end
        deletions.update(part.deletions)
    assert deletions == document.deletions


def test_structs_that_refer_to_each_other_are_in_no_part() -> None:
    # Two clients, whose first structs each have the other's as origin.
    cycle = decode_update(b"\x02\x01\x02\x00\x84\x01\x00\x01b\x01\x01\x00\x84\x02\x00\x01a\x00")
    assert len(parts_of(Document([cycle]), {}, 1024)) == 1


def test_a_large_delete_set_is_split() -> None:
    deletions = DeleteSet()
    for client in range(3):
        for number in range(1000):
            deletions.add(client, 10 * number, 10 * number + 5)
    split = list(split_deletions(deletions, 4000))
    assert max(part.range_count for part in split) == 500
    together = DeleteSet()
    for part in split:
        together.update(part)
    assert together == deletions
    assert [len(encode_update({}, part)) for part in split_deletions(DeleteSet(), 4000)] == [2]
