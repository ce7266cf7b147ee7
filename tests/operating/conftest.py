"""Fixtures for tests of what operators and developers do: checkouts of the repository."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkouts import PYTHON, write_script
from tests.support.daemons import ROOT


@pytest.fixture
def directory() -> Iterator[Path]:
    """An empty directory that other users can access."""
    with tempfile.TemporaryDirectory(prefix="checkout-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
def empty_checkout(directory: Path) -> Path:
    """The files of a checkout that `make` needs before it has made a virtual environment."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, directory)
    return directory


@pytest.fixture
def checkout(empty_checkout: Path) -> Path:
    """A checkout in which everything is installed."""
    for name in ("canvas_collab", "sql", "tests", "twisted"):
        (empty_checkout / name).symlink_to(ROOT / name)
    write_script(empty_checkout / ".venv/bin/twistd", f'exec {PYTHON} -m tests.support.twistd "$@"')
    for stamp in (".created", ".run"):
        (empty_checkout / ".venv" / stamp).touch()
    return empty_checkout
