"""Poison is found in stored documents, and nothing is found in what Yjs makes."""

from __future__ import annotations

import json
import subprocess
from base64 import b64decode
from collections.abc import Iterable
from pathlib import Path

import pytest

from canvas_collab.document.document import Document
from canvas_collab.document.poison import MAX_AT_ONE_PLACE, MAX_DEPTH, find_poison
from canvas_collab.protocol import sync
from canvas_collab.protocol.lib0 import encode_var_uint
from canvas_collab.protocol.struct_info import Kind
from canvas_collab.protocol.update import decode_update
from tests.support.clients import Client
from tests.support.commands import run
from tests.support.diagrams import Diagram
from tests.support.stored_poison import CLIENT, at_one_place, circle, deletion, item, nested, string, update_of


def whole(updates: Iterable[bytes]) -> bytes:
    return Document(map(decode_update, updates)).encode()


def poison_found(update: bytes) -> list[str]:
    """Return what is wrong with an update that holds a whole document, without duplicates."""
    return sorted({poison.what for poison in find_poison(decode_update(update))})


def value(encoded: bytes) -> bytes:
    """Return the content of an item with one value."""
    return encode_var_uint(1) + encoded


#: The value true, as lib0 encodes it.
TRUE = b"\x78"
TWO_FOR_A_KEY = [
    item(Kind.ANY, value(TRUE), parent="map", key="k"),
    item(Kind.ANY, encode_var_uint(2) + TRUE + TRUE, origin=(CLIENT, 0)),
]


@pytest.mark.parametrize(
    ("update", "what"),
    [
        (whole(nested(MAX_DEPTH + 2)), f"types nested more than {MAX_DEPTH} deep"),
        (at_one_place(MAX_AT_ONE_PLACE + 1), f"more than {MAX_AT_ONE_PLACE} insertions at one place"),
        (circle(), "items whose origins form a cycle"),
        (update_of(TWO_FOR_A_KEY, clocks=3), "several values for one key"),
        (
            update_of([item(Kind.DOC, string("guid") + b"\x76\x01" + string("guid") + b"\x7d\x01", parent="array")]),
            "a subdocument has a guid or a gcFilter among its options that no client could use",
        ),
        (
            update_of([item(Kind.DOC, string("guid") + b"\x76\x01" + string("gcFilter") + TRUE, parent="array")]),
            "a subdocument has a guid or a gcFilter among its options that no client could use",
        ),
        (
            update_of([item(Kind.ANY, value(b"\x75\x01\x76\x01" + string("__proto__") + TRUE), parent="array")]),
            "an object has a key __proto__",
        ),
        (
            update_of([item(Kind.EMBED, string(r'[{"\u005f_proto__": 1}]'), parent="text")]),
            "an object has a key __proto__",
        ),
        (
            update_of([item(Kind.DOC, string("guid") + b"\x76\x01" + string("__proto__") + TRUE, parent="array")]),
            "an object has a key __proto__",
        ),
    ],
)
def test_poison_is_found(update: bytes, what: str) -> None:
    assert poison_found(update) == [what]


@pytest.mark.parametrize(
    "update",
    [
        whole(nested(MAX_DEPTH)),
        at_one_place(MAX_AT_ONE_PLACE),
        # An item that is wholly deleted cannot be split by a deletion.
        whole([update_of(TWO_FOR_A_KEY, clocks=3), deletion(1, 3)]),
        update_of([item(Kind.ANY, value(b"\x77" + string("__proto__")), parent="map", key="k")]),
        # Yjs stores these keys in a Map, where they are harmless.
        update_of([item(Kind.ANY, value(TRUE), parent="map", key="__proto__")]),
        update_of([item(Kind.FORMAT, string("__proto__") + string("1"), parent="text")]),
        # Pending items.
        update_of([item(Kind.STRING, string("a"), origin=(1, 1))]),
        update_of([item(Kind.STRING, string("a"), parent="text")], clock=7),
    ],
)
def test_harmless_structs_are_not_reported(update: bytes) -> None:
    assert poison_found(update) == []


def test_nothing_is_found_in_what_yjs_makes(node_executable: str, node_path: Path) -> None:
    command = [node_executable, str(node_path / "contents.mjs"), "1", "200"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout.splitlines()
    assert len(lines) > 150
    for line in lines:
        history = json.loads(line)
        assert poison_found(whole(b64decode(update) for update in history["updates"])) == [], history["seed"]


def test_verify_names_the_log_entry_and_the_user(diagram: Diagram) -> None:
    poison = [*nested(MAX_DEPTH + 150)]
    good = update_of([item(Kind.STRING, string("good"), parent="text")], client=1, clocks=4)
    for user, updates in ((diagram.owner, [good]), (diagram.editor, poison)):
        with Client(diagram.daemon, "sketch", user) as client:
            for update in updates:
                client.send(sync.encode_update(update))
            client.flush()
    diagram.daemon.wait_until(
        lambda: diagram.database.query("SELECT count(*) FROM yjs_update_log") == [(1 + len(poison),)]
    )
    done = run("verify", "sketch", "--json", DATABASE_URL=diagram.database.url)
    assert done.returncode == 1
    problems = json.loads(done.stdout)["problems"]
    rows = diagram.database.query("SELECT id FROM yjs_update_log WHERE user_id = %s ORDER BY id", (diagram.editor.id,))
    # The entries with the types that are too deep, not those before.
    assert [(problem["entry"],) for problem in problems] == rows[5:-1]
    assert {problem["user_id"] for problem in problems} == {diagram.editor.id}
    done = run("verify", "sketch", DATABASE_URL=diagram.database.url)
    assert f"log entry {rows[5][0]} (".encode() in done.stdout
    assert b", editor) breaks or slows clients: types nested more than" in done.stdout
