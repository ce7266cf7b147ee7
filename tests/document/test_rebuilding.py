"""Rebuilt documents, as seen by new Yjs clients, and by clients that reconnect with the removed edits.

The histories, and the comparison, are Yjs's own (tests/node/rebuilding.mjs).
"""

from __future__ import annotations

import json
import os
from base64 import b64decode
from pathlib import Path
from typing import Any

from canvas_collab.document.document import Document
from canvas_collab.document.rebuilding import RebuildResult, rebuild_without, removal_of
from canvas_collab.protocol.update import Update, clocks_of, decode_update
from tests.support.yjs_dialogue import converse

FIRST_SEED = int(os.environ.get("HISTORY_SEED", "1"))
HISTORIES = int(os.environ.get("REBUILT_HISTORIES", "300"))


def rebuild(updates: list[Update], without: set[int], keep_placeholders: bool = True) -> RebuildResult:
    """Rebuild the document that some updates make, without those at some indices, as the server would."""
    whole = Document()
    log = [(whole.apply(update), place in without) for place, update in enumerate(updates)]
    return rebuild_without(whole, removal_of(log), keep_placeholders)


def test_a_rebuilt_document_is_the_same_for_new_and_for_reconnecting_clients(
    node_executable: str, node_path: Path
) -> None:
    command = [node_executable, str(node_path / "rebuilding.mjs"), str(FIRST_SEED), str(HISTORIES)]

    def answer(message: dict[str, Any]) -> dict[str, bytes]:
        updates = [decode_update(b64decode(update)) for update in message["updates"]]
        without = set(message["without"])
        results = {"rebuilt": rebuild(updates, without), "bare": rebuild(updates, without, keep_placeholders=False)}
        whole = clocks_of(Document(updates).as_update())
        for result in results.values():
            # There are no gaps.
            assert clocks_of(result.document.as_update()).covers(whole)
        return {name: result.document.encode() for name, result in results.items()}

    message = converse(command, answer)
    assert not message["problems"], json.dumps(message["problems"][:2], indent=1) + str(len(message["problems"]))
    counts = message["counts"]
    assert counts["changed"] > HISTORIES / 2
    assert counts["ambiguous"] < HISTORIES / 20
