"""Looking back: what a document shows, what it showed, and making it show that again, as Yjs sees it.

The histories, and the comparison, are Yjs's own (tests/node/contents.mjs and restoring.mjs).
"""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from pycrdt import Array, Doc, Map, Text

from canvas_collab.document.content import to_json
from canvas_collab.document.document import Document
from canvas_collab.document.restoring import document_before, restoring_update
from canvas_collab.protocol.update import EMPTY_UPDATE, Update, decode_update

FIRST_SEED = int(os.environ.get("HISTORY_SEED", "1"))
HISTORIES = int(os.environ.get("RESTORED_HISTORIES", "300"))


def document_of(updates: list[bytes]) -> Document:
    return Document(map(decode_update, updates))


def plain(content: dict[str, Any]) -> dict[str, object]:
    """The content without the kinds of the outermost types, which the names tell in these histories."""
    flat: dict[str, object] = {}
    for name, shared in content.items():
        attributes = shared.get("attributes")
        [value] = [value for kind, value in shared.items() if kind != "attributes"]
        flat[name] = {"runs": value, "attributes": attributes} if attributes else value
    return flat


def test_the_content_of_a_document_is_what_yjs_shows(node_executable: str, node_path: Path) -> None:
    command = [node_executable, str(node_path / "contents.mjs"), str(FIRST_SEED), str(HISTORIES)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout.splitlines()
    assert len(lines) > HISTORIES * 0.95
    for line in lines:
        history = json.loads(line)
        document = document_of([b64decode(update) for update in history["updates"]])
        texts = [name for name in history["content"] if name.startswith("text")]
        assert plain(to_json(document, texts)) == history["content"], f"seed {history['seed']}"
        json.dumps(to_json(document), allow_nan=False)


def restored(updates: list[Update], cut: int) -> dict[str, bytes]:
    """The update that brings a document back to its first `cut` updates, and the one that undoes that."""
    now = Document()
    # What the log holds is what was new in each.
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
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdin is not None
        assert node.stdout is not None
        for line in node.stdout:
            message = json.loads(line)
            if "problems" in message:
                break
            answer = restored([decode_update(b64decode(update)) for update in message["updates"]], message["cut"])
            print(json.dumps({name: b64encode(data).decode() for name, data in answer.items()}), file=node.stdin)
            node.stdin.flush()
    assert not message["problems"], json.dumps(message["problems"][:2], indent=1)
    counts = message["counts"]
    assert counts["changed"] > HISTORIES / 2
    assert counts["ambiguous"] < HISTORIES / 20


def test_restoring_what_is_there_already_is_no_edit() -> None:
    doc: Doc = Doc()
    doc["text"] = Text("as it is")
    document = document_of([doc.get_update()])
    assert restoring_update(document, document, 1) == EMPTY_UPDATE


def test_an_empty_document_shows_nothing() -> None:
    assert to_json(Document()) == {}


def test_what_came_again_later_was_there_before() -> None:
    doc: Doc = Doc()
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


def test_what_a_document_held_before_anything_came_is_nothing() -> None:
    doc: Doc = Doc()
    doc["map"] = Map({"a": 1})
    update = decode_update(doc.get_update())
    now = Document([update])
    then = document_before(now, [update])
    assert then.encode() == EMPTY_UPDATE
    now.append(restoring_update(now, then, 7))
    assert to_json(now) == {}
