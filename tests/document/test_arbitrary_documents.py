"""Every accepted document can be inspected, restored, compacted, rebuilt and searched, however odd it is.

LOOKING_BACK_SEED is the seed of the mutations, LOOKING_BACK their number.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from canvas_collab.document.budget import BudgetExceeded
from canvas_collab.document.compaction import compact
from canvas_collab.document.content import to_json
from canvas_collab.document.document import Document
from canvas_collab.document.poison import find_poison
from canvas_collab.document.rebuilding import rebuild_without, removal_of
from canvas_collab.document.restoring import document_before, restoring_update, unused_client_id
from canvas_collab.document.values import write_json
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.struct_info import Kind
from canvas_collab.protocol.update import Update, decode_update
from tests.support.commands import run
from tests.support.databases import TestDatabase
from tests.support.mutations import mutate
from tests.support.stored_poison import CLIENT, circle, deletion, item, nested, string, update_of

SEED = int(os.environ.get("LOOKING_BACK_SEED", "1"))
COUNT = int(os.environ.get("LOOKING_BACK", "1500"))

#: The share of documents that may exceed the budget.
GIVEN_UP = 0.05
DEPTH = 3000


def inspect_and_restore(updates: list[Update]) -> None:
    """Do everything that commands do with a document and its state after half of the log."""
    now = Document()
    log = [now.apply(update) for update in updates]
    then = document_before(now, log[len(log) // 2 :])
    shown = write_json(to_json(now))
    if len(shown) < 1_000_000:
        # Python's parser fails if a value is nested too deeply.
        with contextlib.suppress(RecursionError):
            json.loads(shown.encode())
    write_json(to_json(then)).encode()
    back = decode_update(restoring_update(now, then, unused_client_id(now)))
    Document([now.as_update(), back])
    compact(now.as_update(), now.deletions)
    find_poison(now.as_update())
    for keep_placeholders in (True, False):
        without = removal_of((update, place % 2 == 1) for place, update in enumerate(log))
        write_json(to_json(rebuild_without(now, without, keep_placeholders).document)).encode()


def test_every_accepted_document_can_be_inspected_and_restored(node_executable: str, node_path: Path) -> None:
    command = [node_executable, str(node_path / "contents.mjs"), str(SEED), "60"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout.splitlines()
    histories = [[b64decode(update) for update in json.loads(line)["updates"]] for line in lines]
    corpus = [update for history in histories for update in history]
    chance = random.Random(SEED)
    accepted = tried = given_up = 0
    while accepted < COUNT:
        history = chance.choice(histories)
        updates = []
        for update in history[: chance.randint(1, len(history))]:
            mutated = mutate(chance, update, corpus) if chance.random() < 0.5 else update
            try:
                updates.append(decode_update(mutated))
            except Malformed:
                continue
            accepted += mutated != update
        tried += 1
        try:
            inspect_and_restore(updates)
        except BudgetExceeded:
            given_up += 1
        except Exception as error:
            raise AssertionError([Document([update]).encode().hex() for update in updates]) from error
    assert given_up <= GIVEN_UP * tried


def restored(*updates: bytes) -> tuple[Any, Any]:
    """Restore a document to before its last update; return its content then, and the content to be restored."""
    now = Document()
    log = [now.apply(decode_update(update)) for update in updates]
    then = document_before(now, log[-1:])
    now.append(restoring_update(now, then, 1))
    return write_json(to_json(now)), write_json(to_json(then))


@pytest.mark.parametrize("depth", [300, DEPTH])
def test_types_that_are_nested_deeply_are_shown_and_restored(depth: int) -> None:
    *nesting, outermost_deleted = nested(depth)
    inspect_and_restore([decode_update(update) for update in nesting])
    shown, expected = restored(*nesting, outermost_deleted)
    assert shown == expected
    assert shown.count('"map"') == depth


def test_the_command_exports_and_restores_what_was_accepted(database: TestDatabase) -> None:
    *nesting, outermost_deleted = nested(DEPTH)
    odd = [
        item(Kind.FORMAT, string("bold") + string("true"), parent="map", key="k"),
        item(Kind.EMBED, string(r'"\ud800"'), parent="text two"),
    ]
    earlier = [*nesting, circle(), update_of(odd, client=CLIENT + 7)]
    database.query("INSERT INTO yjs_document (id, data) VALUES ('diagram-odd', '\\x0000')")
    for update, age in (*((update, "2 hours") for update in earlier), (outermost_deleted, "1 minute")):
        database.query(
            "INSERT INTO yjs_update_log (document_id, update, created_at)"
            " VALUES ('diagram-odd', %s, now() - %s::interval)",
            (update, age),
        )

    def say(*arguments: str) -> bytes:
        done = run(*arguments, DATABASE_URL=database.url)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout

    for when in ((), ("--at", "1h")):
        shown = say("export", "odd", "--format", "json", *when)
        assert json.dumps("\ud800").encode() in shown
        assert shown.count(b'"map"') == (DEPTH if when else 0) + 2
    assert f"{DEPTH} items inserted again".encode() in say("restore", "odd", "--at", "1h")


def test_a_wholly_deleted_document_can_be_inspected_and_restored() -> None:
    inspect_and_restore([decode_update(update) for update in (*nested(50), deletion(0, 50), circle())])
