"""Fixtures: two daemons on a bus, of one test or of all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon_pair import DaemonPair, daemon_pair
from tests.support.databases import PostgreSQL


@pytest.fixture(scope="module")
def shared_pair(postgres: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonPair]:
    """Two daemons of all tests of a file, each of which has a diagram of its own."""
    with daemon_pair(postgres, tmp_path_factory.mktemp("bus")) as pair:
        yield pair


@pytest.fixture
def pair(postgres: PostgreSQL, tmp_path: Path) -> Iterator[DaemonPair]:
    """Two daemons of one test, which may stop them."""
    with daemon_pair(postgres, tmp_path) as pair:
        yield pair
