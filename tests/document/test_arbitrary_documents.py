"""Whatever was accepted can be shown, restored, compacted, rebuilt and searched, however odd it is.

LOOKING_BACK_SEED chooses other mutations, and LOOKING_BACK how many.
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

from canvas_collab.document.budget import TooMuchWork
from canvas_collab.document.compaction import compact
from canvas_collab.document.content import to_json
from canvas_collab.document.document import Document
from canvas_collab.document.integration import Integration
from canvas_collab.document.poison import poison_in
from canvas_collab.document.rebuilding import left_out, rebuilt
from canvas_collab.document.restoring import past, restoring_update, unused_client
from canvas_collab.document.values import write_json
from canvas_collab.protocol.info import Kind
from canvas_collab.protocol.lib0 import Malformed, encode_var_uint
from canvas_collab.protocol.update import Update, decode_update
from tests.support.commands import run
from tests.support.databases import TestDatabase
from tests.support.mutations import mutate
from tests.support.stored_poison import CLIENT, at_one_place, circle, deletion, item, nested, string, update_of

SEED = int(os.environ.get("LOOKING_BACK_SEED", "1"))
COUNT = int(os.environ.get("LOOKING_BACK", "1500"))

#: The share of documents that may be given up as too much work.
GIVEN_UP = 0.05

DEPTH = 3000


def look_back(updates: list[Update]) -> None:
    """Everything that commands do with a document, at half of its log."""
    now = Document()
    log = [now.apply(update) for update in updates]
    then = past(now, log[len(log) // 2 :])
    shown = write_json(to_json(now))
    if len(shown) < 1_000_000:
        # Python's own reader gives up where it is nested too deeply.
        with contextlib.suppress(RecursionError):
            json.loads(shown.encode())
    write_json(to_json(then)).encode()
    back = decode_update(restoring_update(now, then, unused_client(now)))
    Document([now.as_update(), back])
    compact(now.as_update(), now.deletions)
    poison_in(now.as_update())
    for leave_places in (True, False):
        without = left_out((update, place % 2 == 1) for place, update in enumerate(log))
        write_json(to_json(rebuilt(now, without, leave_places).document)).encode()


def test_whatever_is_accepted_can_be_looked_back_at(node_executable: str, node_path: Path) -> None:
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
            look_back(updates)
        except TooMuchWork:
            given_up += 1
        except Exception as error:
            raise AssertionError([Document([update]).encode().hex() for update in updates]) from error
    assert given_up <= GIVEN_UP * tried


def restored(*updates: bytes) -> tuple[Any, Any]:
    """What a document shows whose last update is taken back, and what it showed before that."""
    now = Document()
    log = [now.apply(decode_update(update)) for update in updates]
    then = past(now, log[-1:])
    now.append(restoring_update(now, then, 1))
    return write_json(to_json(now)), write_json(to_json(then))


@pytest.mark.parametrize("depth", [300, DEPTH])
def test_types_that_are_nested_deeply_are_shown_and_restored(depth: int) -> None:
    *nesting, outermost_deleted = nested(depth)
    look_back([decode_update(update) for update in nesting])
    shown, was = restored(*nesting, outermost_deleted)
    assert shown == was
    assert shown.count('"map"') == depth


def test_a_formatting_mark_for_a_key_is_undefined() -> None:
    mark = item(Kind.FORMAT, string("bold") + string("true"), parent="map", key="k")
    assert to_json(Document([decode_update(update_of([mark]))])) == {"map": {"map": {"k": {"undefined": True}}}}


def test_half_a_character_is_escaped() -> None:
    embed = item(Kind.EMBED, string(r'{"\udc00": "\ud800"}'), parent="text")
    written = write_json(to_json(Document([decode_update(update_of([embed]))])))
    assert json.loads(written.encode()) == {"text": {"text": [{"insert": {"embed": {"\udc00": "\ud800"}}}]}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9" * 5000, {"number": "Infinity"}),
        ("-1e999", {"number": "-Infinity"}),
        ("12", 12),
        ("[" * 450 + "]" * 450, json.loads("[" * 450 + "]" * 450)),
    ],
)
def test_json_is_read_as_a_browser_reads_it(text: str, value: object) -> None:
    embed = item(Kind.EMBED, string(text), parent="text")
    shown = to_json(Document([decode_update(update_of([embed]))]))
    assert shown == {"text": {"text": [{"insert": {"embed": value}}]}}


def test_values_that_are_nested_deeply_are_shown() -> None:
    value = item(Kind.ANY, encode_var_uint(1) + b"\x75\x01" * 499 + b"\x78", parent="array")
    assert write_json(to_json(Document([decode_update(update_of([value]))]))).count("[") == 500


def test_much_that_was_inserted_at_one_place_is_too_much_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("canvas_collab.document.integration.MAX_STEPS", 1000)

    def crowd(count: int) -> Update:
        update = decode_update(at_one_place(count))
        # Each goes behind all before it.
        return Update(dict(sorted(update.runs.items())), update.deletions)

    Integration(crowd(40))
    with pytest.raises(TooMuchWork, match="more steps than it may"):
        Integration(crowd(60))


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


def test_a_deletion_of_everything_is_looked_back_at() -> None:
    look_back([decode_update(update) for update in (*nested(50), deletion(0, 50), circle())])
