"""Authors who edit documents at random, and comparing what they have made with what is stored."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from pycrdt import Doc, Map, Text, merge_updates

from canvas_collab.document.document import Document
from canvas_collab.protocol.update import decode_update


class Author:
    """Edits a document at random; `updates` are those that were not taken yet."""

    def __init__(self, chance: random.Random, name: str) -> None:
        self._random = chance
        self._name = name
        self._number = 0
        self.doc: Doc[Any] = Doc()
        self._text = self.doc.get("text", type=Text)
        self._keys: Map[Any] = self.doc.get("keys", type=Map)
        self.updates: list[bytes] = []
        self._subscription = self.doc.observe(lambda event: self.updates.append(event.update))

    def take_updates(self) -> list[bytes]:
        """Return the updates since the last call."""
        taken, self.updates = self.updates, []
        return taken

    def edit(self) -> None:
        """Insert or delete text, or set a key of the map."""
        self._number += 1
        length = len(self._text)
        kind = self._random.randrange(4)
        if kind == 0 and length > 10:
            begin = self._random.randrange(length - 5)
            del self._text[begin : begin + self._random.randrange(1, 5)]
        elif kind == 1:
            self._keys[f"{self._name} {self._number}"] = self._number
        elif kind == 2:
            self._keys["shared"] = f"{self._name} {self._number}"
        else:
            self._text.insert(self._random.randrange(length + 1), f"{self._name}{self._number} " * 8)

    def merge(self, other: Author) -> None:
        """Apply everything of another author's document; what was new becomes an update here, too."""
        self.doc.apply_update(other.doc.get_update(self.doc.get_state()))


def content(updates: Sequence[bytes]) -> tuple[str, object]:
    """Return the text and the map that a document has after these updates."""
    doc: Doc[Any] = Doc()
    # Merged, since they may have arrived in another order than they were made.
    doc.apply_update(merge_updates(*updates))
    return str(doc.get("text", type=Text)), doc.get("keys", type=Map).to_py()


def expect_all(document: Document, updates: Sequence[bytes]) -> None:
    """Assert that the document has everything of these updates."""
    missing = [number for number, update in enumerate(updates) if document.lacks_any_of(decode_update(update))]
    assert not missing, f"of {len(updates)} updates these are missing: {missing}"
