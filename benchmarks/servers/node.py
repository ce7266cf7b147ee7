"""Node.js, and the directory of the programs and npm packages that the benchmarks run with it."""

from __future__ import annotations

import shutil
from pathlib import Path

NODE_DIRECTORY = Path(__file__).resolve().parent.parent / "node"


def node() -> str:
    """The path of the node executable.

    :raises FileNotFoundError: if there is none on the PATH.
    """
    found = shutil.which("node")
    if found is None:
        raise FileNotFoundError("there is no node on the PATH; `make bench` installs one")
    return found
