"""Compaction: Yjs makes the same of a compacted document, which is smaller.

The histories, and the comparison, are Yjs's own (tests/node/compaction.mjs). COMPACTION_HISTORIES is the number of
histories, HISTORY_SEED the seed of the first.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text

from canvas_collab.document.compaction import compact
from canvas_collab.document.document import Document
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.lib0 import encode_var_uint
from canvas_collab.protocol.struct_info import Kind
from canvas_collab.protocol.update import Update, clocks_of, decode_update, encode_update
from tests.support.stored_poison import CLIENT, circle, item, string, update_of
from tests.support.yjs_dialogue import converse

FIRST_SEED = int(os.environ.get("HISTORY_SEED", "1"))
HISTORIES = int(os.environ.get("COMPACTION_HISTORIES", "400"))


def compacted(updates: list[bytes]) -> bytes:
    """Merge and compact updates."""
    merged = decode_update(Document(map(decode_update, updates)).encode())
    result = compact(merged, merged.deletions)
    assert result is not merged, "the result does not cover the same clocks"
    return encode_update(result.runs, result.deletions)


def test_yjs_makes_the_same_of_a_compacted_document(node_executable: str, node_path: Path) -> None:
    command = [node_executable, str(node_path / "compaction.mjs"), str(FIRST_SEED), str(HISTORIES)]

    def answer(message: dict[str, Any]) -> dict[str, bytes]:
        first, second = ([b64decode(update) for update in message[part]] for part in ("first", "second"))
        return {"first": compacted(first), "whole": compacted(first + second)}

    message = converse(command, answer)
    assert not message["problems"], json.dumps(message["problems"][:3], indent=1)
    counts, sizes = message["counts"], message["sizes"]
    assert counts["histories"] == HISTORIES
    assert counts["torn"] > 0
    assert counts["gaps"] > 0
    assert counts["ambiguous"] <= HISTORIES / 50
    ratios = [size["compacted"] / size["yjs"] for size in sizes]
    print(f"compacted / Yjs: median {statistics.median(ratios):.3f}, worst {max(ratios):.3f}; {counts}")
    print(f"merged / Yjs: median {statistics.median(size['merged'] / size['yjs'] for size in sizes):.3f}")
    assert statistics.median(ratios) < 1.1


def test_a_compacted_document_is_about_as_small_as_yjs_encodes_it() -> None:
    doc: Doc[Any] = Doc()
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    text = doc.get("text", type=Text)
    for number in range(300):
        text += chr(97 + number % 26)
    del text[0:200]
    shapes = doc.get("shapes", type=Map)
    for number in range(50):
        shapes[f"shape {number}"] = Map({"points": Array([number, number]), "label": Text("a label")})
    for number in range(50):
        del shapes[f"shape {number}"]
    doc.unobserve(subscription)
    assert len(compacted(updates)) <= len(doc.get_update()) * 1.05
    assert len(compacted(updates)) < sum(map(len, updates)) / 5


def test_only_droppable_content_is_dropped() -> None:
    doc: Doc[Any] = Doc()
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    text = doc.get("text", type=Text)
    text += "an old secret, a new one"
    del text[0:14]
    del text[1:6]
    doc.unobserve(subscription)
    whole, early = decode_update(Document(map(decode_update, updates)).encode()), decode_update(updates[1])

    def kept(droppable: DeleteSet) -> tuple[bool, bool]:
        result = compact(whole, droppable)
        data = encode_update(result.runs, result.deletions)
        assert decode_update(data).deletions.encode() == whole.deletions.encode()
        return b"secret" in data, b"a new" in data

    assert kept(DeleteSet()) == (True, True)
    assert kept(early.deletions) == (False, True)
    assert kept(whole.deletions) == (False, False)


def test_deletions_of_missing_structs_are_ignored() -> None:
    doc: Doc[Any] = Doc()
    text = doc.get("text", type=Text)
    text += "first"
    known = doc.get_update()
    state = doc.get_state()
    text += "second"
    del text[5:11]
    later = decode_update(doc.get_update(state))
    early = Update(decode_update(known).runs, later.deletions)
    assert compact(early, later.deletions) == early


def document_of(*updates: bytes) -> Document:
    return Document(map(decode_update, updates))


def everything_deleted(document: Document) -> Update:
    """Return a document as an update, with everything deleted."""
    return Update(document.as_update().runs, clocks_of(document.as_update()))


def test_compacting_a_cycle_of_origins_ends() -> None:
    whole = everything_deleted(document_of(circle()))
    assert clocks_of(compact(whole, whole.deletions)) == whole.deletions


@pytest.mark.parametrize("shape", ["items", "one string", "one list"])
def test_twice_as_much_takes_twice_as_many_steps(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other character or value is deleted, so that everything must be split and nothing can be joined."""

    def whole(count: int) -> Update:
        if shape == "items":
            structs = [item(Kind.STRING, string("x"), parent="text")]
            structs += [item(Kind.STRING, string("x"), origin=(CLIENT, clock)) for clock in range(count - 1)]
        elif shape == "one string":
            structs = [item(Kind.STRING, string("x" * count), parent="text")]
        else:
            structs = [item(Kind.ANY, encode_var_uint(count) + b"\x78" * count, parent="array")]
        deletions = DeleteSet()
        for clock in range(0, count, 2):
            deletions.add(CLIENT, clock, clock + 1)
        return Update(decode_update(update_of(structs, clocks=count)).runs, deletions)

    def steps(count: int) -> int:
        update = whole(count)
        called = 0

        def look(_frame: object, event: str, argument: object) -> None:
            nonlocal called
            called += 1

        sys.setprofile(look)
        try:
            compact(update, update.deletions)
        finally:
            sys.setprofile(None)
        return called

    assert steps(4000) < 2.2 * steps(2000)
