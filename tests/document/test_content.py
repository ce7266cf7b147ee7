"""The content of documents as JSON, compared with what Yjs shows.

The histories, and what Yjs shows, come from tests/node/contents.mjs.
"""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from canvas_collab.document.content import to_json
from canvas_collab.document.document import Document
from canvas_collab.document.values import write_json
from canvas_collab.protocol.lib0 import encode_var_uint
from canvas_collab.protocol.struct_info import Kind
from canvas_collab.protocol.update import decode_update
from tests.support.stored_poison import item, string, update_of
from tests.support.updates import document_of

FIRST_SEED = int(os.environ.get("HISTORY_SEED", "1"))
HISTORIES = int(os.environ.get("RESTORED_HISTORIES", "300"))


def plain(content: dict[str, Any]) -> dict[str, object]:
    """Return the content without the kinds of top-level types, which are part of the names in these histories."""
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


def test_an_empty_document_shows_nothing() -> None:
    assert to_json(Document()) == {}


def test_a_formatting_mark_for_a_key_is_undefined() -> None:
    mark = item(Kind.FORMAT, string("bold") + string("true"), parent="map", key="k")
    assert to_json(Document([decode_update(update_of([mark]))])) == {"map": {"map": {"k": {"undefined": True}}}}


def test_a_lone_surrogate_is_escaped() -> None:
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
