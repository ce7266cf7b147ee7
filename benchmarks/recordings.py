"""Recordings of what people do on a whiteboard, made with Yjs: ``benchmarks/node/record.mjs`` says how."""

from __future__ import annotations

import json
import subprocess
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path

from attrs import field, frozen

from benchmarks.generator.client import FIRST_CLIENT_ID
from benchmarks.servers.node import NODE_DIRECTORY, node


@frozen
class Author:
    """What one author did.

    :ivar updates: one update for each edit.
    :ivar ends: the clock of the author after each of them, ascending.
    """

    updates: Sequence[bytes] = field(repr=False)
    ends: Sequence[int] = field(repr=False)


@frozen
class Recording:
    """A recording.

    :ivar base: the update with the board as it was before.
    :ivar authors: by their number; author 0 has the client id :data:`FIRST_CLIENT_ID`, the others those that follow.
    """

    base: bytes = field(repr=False)
    authors: Sequence[Author]

    @property
    def frames(self) -> int:
        """The number of edits of each author."""
        return len(self.authors[0].updates)

    @classmethod
    def parse(cls, text: str) -> Recording:
        """Read a recording from what ``record.mjs`` writes.

        :raises ValueError: if an edit of an author has no clock of its own, or authors have not equally many.
        """
        data = json.loads(text)
        authors = []
        for edits in data["updates"]:
            ends = [end for _, end in edits]
            if any(end <= before for before, end in zip([0, *ends], ends, strict=False)):
                raise ValueError("an edit has no clock of its own")
            authors.append(Author([b64decode(update) for update, _ in edits], ends))
        if len({len(author.updates) for author in authors}) != 1:
            raise ValueError("the authors have not equally many edits")
        return cls(b64decode(data["base"]), authors)

    @classmethod
    def create(cls, directory: Path, kind: str, authors: int, frames: int) -> Recording:
        """Have Yjs make a recording, unless the directory has it already.

        :param kind: ``dragging``, ``strokes``, ``typing`` or ``pasting``.
        :param authors: how many people there are; `frames`, how many edits each of them makes.
        """
        file = directory / f"{kind}-{authors}-{frames}.json"
        if not file.exists():
            command = [node(), "record.mjs", kind, str(authors), str(frames), str(FIRST_CLIENT_ID), str(file)]
            subprocess.run(command, cwd=NODE_DIRECTORY, check=True)
        return cls.parse(file.read_text())
