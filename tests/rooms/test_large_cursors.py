"""Large awareness states, as of a user who has selected thousands of elements: no edit is lost for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.diagrams import Diagram
from tests.support.hocuspocus_providers import PROVIDER_VERSIONS, Providers
from tests.support.yjs_clients import VERSIONS, YjsClient

every_client = pytest.mark.parametrize("version", [*VERSIONS, *PROVIDER_VERSIONS])

#: Each takes 120 bytes in a state.
ELEMENTS = [f"{number:0118}" for number in range(10_000)]
LARGE, TOO_LARGE = {"selected": ELEMENTS[:2_400]}, {"selected": ELEMENTS}


@every_client
def test_a_large_state_is_sent_and_one_that_is_too_large_is_dropped_and_editing_continues(
    diagram: Diagram, providers: Providers, version: str
) -> None:
    join: Callable[..., YjsClient] = diagram.provide if version in PROVIDER_VERSIONS else diagram.join
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
