"""Updates for tests: random edits of several clients, and crafted updates with many gaps or clients."""

from __future__ import annotations

import random
from typing import Any

from pycrdt import Array, Doc, Map, Text
from pycrdt import merge_updates as engine_merge

from canvas_collab.document.document import Document
from canvas_collab.protocol.lib0 import encode_var_uint
from canvas_collab.protocol.update import decode_update


def edits(seed: int, count: int, writers: int = 3) -> list[bytes]:
    """Return the updates of several clients that synchronize now and then."""
    chance = random.Random(seed)
    docs: list[Doc[Any]] = [Doc() for _ in range(writers)]
    updates: list[bytes] = []
    for doc in docs:
        doc.observe(lambda event: updates.append(event.update))
    while len(updates) < count:
        doc = chance.choice(docs)
        text = doc.get("text", type=Text)
        kind = chance.randrange(6)
        if kind <= 2:
            text.insert(chance.randint(0, len(str(text))), chance.choice(["a", "bc", "def"]))
        elif kind == 3 and len(str(text)) > 1:
            at = chance.randrange(len(str(text)) - 1)
            del text[at : at + 1]
        elif kind == 4:
            doc.get("map", type=Map)[chance.choice("xyz")] = chance.random()
        else:
            doc.get("array", type=Array).extend([chance.random(), None, True])
        if chance.random() < 0.1:
            other = chance.choice(docs)
            before = len(updates)
            other.apply_update(doc.get_update(other.get_state()))
            # This update is not an edit.
            del updates[before:]
    return updates[:count]


def content(*updates: bytes) -> tuple[str, object, object]:
    """Return the content that a new client shows after some updates."""
    doc: Doc[Any] = Doc()
    doc.apply_update(engine_merge(*updates))
    return (
        str(doc.get("text", type=Text)),
        doc.get("map", type=Map).to_py() or {},
        doc.get("array", type=Array).to_py() or [],
    )


def document_of(updates: list[bytes]) -> Document:
    """Return the document that some updates make."""
    return Document(map(decode_update, updates))


def update_with_gaps(count: int) -> bytes:
    """Return an update with `count` structs of one clock, each followed by a gap."""
    return b"\x01" + encode_var_uint(2 * count) + b"\x07\x00" + b"\x00\x01\x0a\x01" * count + b"\x00"


def update_of_many_clients(count: int) -> bytes:
    """Return an update with a struct of each of `count` clients."""
    return (
        encode_var_uint(count)
        + b"".join(b"\x01" + encode_var_uint(one) + b"\x00\x00\x01" for one in range(count))
        + b"\x00"
    )
