"""Restoring, compared with what Yjs shows.

The histories, and the comparison, are Yjs's own (tests/node/restoring.mjs).
"""

from __future__ import annotations

import json
import os
from base64 import b64decode
from pathlib import Path
from typing import Any

from pycrdt import Array, Doc, Map, Text

from canvas_collab.document.content import to_json
from canvas_collab.document.document import Document
from canvas_collab.document.restoring import document_before, restoring_update
from canvas_collab.protocol.update import EMPTY_UPDATE, Update, decode_update
from tests.support.updates import document_of
from tests.support.yjs_dialogue import converse

FIRST_SEED = int(os.environ.get("HISTORY_SEED", "1"))
HISTORIES = int(os.environ.get("RESTORED_HISTORIES", "300"))


def restored(updates: list[Update], cut: int) -> dict[str, bytes]:
    """Return the update that restores a document to its first `cut` updates, and the one that undoes that."""
    now = Document()
    # The log has the new part of each update.
    entries = [now.apply(update) for update in updates]
    then = document_before(now, entries[cut:])
    assert then.encode() == Document(updates[:cut]).encode()
    back = restoring_update(now, then, 1)
    as_it_was = Document([now.as_update()])
    now.append(back)
    return {"back": back, "forth": restoring_update(now, as_it_was, 2)}


def test_a_restored_document_shows_what_it_showed_and_restoring_is_undone_by_restoring(
    node_executable: str, node_path: Path
) -> None:
    command = [node_executable, str(node_path / "restoring.mjs"), str(FIRST_SEED), str(HISTORIES)]

    def answer(message: dict[str, Any]) -> dict[str, bytes]:
        return restored([decode_update(b64decode(update)) for update in message["updates"]], message["cut"])

    message = converse(command, answer)
    assert not message["problems"], json.dumps(message["problems"][:2], indent=1)
    counts = message["counts"]
    assert counts["changed"] > HISTORIES / 2
    assert counts["ambiguous"] < HISTORIES / 20


def test_restoring_the_current_state_gives_the_empty_update() -> None:
    doc: Doc[Any] = Doc()
    doc["text"] = Text("as it is")
    document = document_of([doc.get_update()])
    assert restoring_update(document, document, 1) == EMPTY_UPDATE


def test_structs_that_are_logged_again_count_as_earlier() -> None:
    doc: Doc[Any] = Doc()
    array = doc.get("array", type=Array)
    updates: list[Update] = []
    subscription = doc.observe(lambda event: updates.append(decode_update(event.update)))
    array += [1, 2, 3]
    del array[0]
    first = Document(updates)
    array += [4]
    del array[0]
    whole = decode_update(doc.get_update())
    then = document_before(Document([*updates, whole]), [*updates[2:], whole], earlier=updates[:2])
    assert then.encode() == first.encode()
    assert to_json(then) == {"array": {"array": [2, 3]}}
    doc.unobserve(subscription)


def test_a_document_before_all_its_updates_is_empty() -> None:
    doc: Doc[Any] = Doc()
    doc["map"] = Map({"a": 1})
    update = decode_update(doc.get_update())
    now = Document([update])
    then = document_before(now, [update])
    assert then.encode() == EMPTY_UPDATE
    now.append(restoring_update(now, then, 7))
    assert to_json(now) == {}
