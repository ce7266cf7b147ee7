"""Whether the package's compiled modules are used, or their sources are interpreted.

A build with a C compiler puts compiled modules beside some of the sources, and a record of the sources that they were
compiled from.  They are used together or not at all, since they call each other directly; and not at all if one of
these sources was changed since, which is common where the package is installed from a checkout.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from importlib.util import source_hash
from pathlib import Path
from types import ModuleType

#: The variable that, with any value but 0, makes the package run interpreted.
VARIABLE = "CANVAS_COLLAB_PURE"

_PACKAGE = Path(__file__).parent

#: The record: a line for each compiled module, with the hash of its source and the path of that.
RECORD = _PACKAGE / f"compiled{EXTENSION_SUFFIXES[0].rpartition('.')[0]}.txt"


def obstacle(record: Path = RECORD, root: Path = _PACKAGE.parent) -> str | None:
    """Return why compiled modules cannot be used; None if they can.

    :param root: the directory that the paths in the record are relative to.
    """
    if os.environ.get(VARIABLE, "0") not in ("", "0"):
        return f"{VARIABLE} is set"
    try:
        lines = record.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return "built without compiled modules"
    for line in lines:
        recorded, _, path = line.partition(" ")
        try:
            is_unchanged = source_hash((root / path).read_bytes()).hex() == recorded
        except FileNotFoundError:
            is_unchanged = False
        if not is_unchanged:
            return f"{path} was changed after it was compiled"
    return None


class _SourceFinder:
    """Finds the modules of this package as sources only."""

    def __init__(self) -> None:
        self._finders: dict[str, FileFinder] = {}

    def find_spec(self, name: str, path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        """Return where a module's source is; None if it has none, or is not of this package."""
        if name.startswith(f"{__package__}."):
            for directory in path or ():
                finder = self._finders.get(directory)
                if finder is None:
                    finder = self._finders[directory] = FileFinder(directory, (SourceFileLoader, SOURCE_SUFFIXES))
                spec = finder.find_spec(name)
                if spec is not None and spec.loader is not None:
                    return spec
        return None


def choose() -> None:
    """Make imports of the package's modules, from now on, find sources only if compiled modules cannot be used."""
    if OBSTACLE is not None:
        sys.meta_path.insert(0, _SourceFinder())


#: Why the package runs interpreted; None if its compiled modules are used.
OBSTACLE = obstacle()

#: How the package runs: ``compiled`` or ``interpreted``.
MODE = "interpreted" if OBSTACLE else "compiled"


def description() -> str:
    """Return how the package runs, and if it is interpreted, why."""
    return MODE if OBSTACLE is None else f"{MODE} ({OBSTACLE})"
