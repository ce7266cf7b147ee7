"""Cursors that are large, as of somebody who has selected thousands of elements: they cost nobody an edit."""

from __future__ import annotations

import pytest

from tests.support.diagrams import Diagram
from tests.support.hocuspocus_providers import PROVIDER_VERSIONS, Providers
from tests.support.yjs_clients import VERSIONS

every_client = pytest.mark.parametrize("version", [*VERSIONS, *PROVIDER_VERSIONS])

#: Of 120 bytes each in a state.
ELEMENTS = [f"{number:0118}" for number in range(10_000)]
LARGE, TOO_LARGE = {"selected": ELEMENTS[:2_400]}, {"selected": ELEMENTS}


@every_client
def test_a_large_cursor_is_seen_and_one_that_is_too_large_is_dropped_and_both_go_on_drawing(
    diagram: Diagram, providers: Providers, version: str
) -> None:
    join = diagram.provide if version in PROVIDER_VERSIONS else diagram.join
    selecting = join(providers, "selecting", version=version)
    watching = join(providers, "watching", diagram.owner, version=version)
    watching.set_awareness({"name": "watching"})

    selecting.set_awareness(LARGE)
    watching.wait_awareness({"name": "watching"}, LARGE)
    for _ in range(3):
        selecting.set_awareness(TOO_LARGE)
    selecting.insert_text("text", 0, "drawn")
    watching.insert_text("text of another", 0, "by both")
    providers.wait_converged(selecting, watching)
    selecting.set_awareness({"name": "selecting"})

    watching.wait_awareness({"name": "watching"}, {"name": "selecting"})
    assert selecting.report()["closes"] == watching.report()["closes"] == []
    assert len(diagram.daemon.events("awareness dropped")) == 1
