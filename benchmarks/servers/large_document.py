"""A large document made by Yjs, to be put into the servers' stores and opened."""

from __future__ import annotations

import subprocess
from pathlib import Path

from attrs import field, frozen

from benchmarks.servers.node import NODE_DIRECTORY, node


@frozen
class LargeDocument:
    """A document as one Yjs update.

    :ivar file: the file that the update is in.
    :ivar data: the update.
    :ivar vector: its state vector.
    """

    file: Path
    data: bytes = field(repr=False)
    vector: bytes

    @classmethod
    def create(cls, directory: Path, shapes: int) -> LargeDocument:
        """Have Yjs create a document of so many shapes, unless the directory has one already."""
        file = directory / f"document-{shapes}"
        if not file.exists():
            subprocess.run([node(), "document.mjs", str(shapes), str(file)], cwd=NODE_DIRECTORY, check=True)
        return cls(file, file.read_bytes(), Path(f"{file}.vector").read_bytes())
