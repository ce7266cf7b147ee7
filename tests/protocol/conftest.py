"""Fixtures for the tests of the wire formats."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from canvas_collab.protocol import ranges


@pytest.fixture(scope="module")
def small_blocks() -> Iterator[None]:
    """Make the blocks of ranges so small that a few ranges fill several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "BLOCK_SIZE", 3)
        yield
