"""Work in steps: sorting, and encoding a document of many clients."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.document.document import Document
from canvas_collab.protocol import steps
from canvas_collab.protocol.steps import RANGES_PER_STEP, VALUES_PER_STEP, run_to_completion, sort_descending
from canvas_collab.protocol.update import decode_update
from tests.support.updates import update_of_many_clients


@given(st.lists(st.integers(0, 2**53), max_size=100))
def test_sorting_in_steps_gives_the_same_order(numbers: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "SORTED_PER_STEP", 8)
        assert run_to_completion(sort_descending(numbers)) == sorted(numbers, reverse=True)


def test_a_document_of_many_clients_is_encoded_in_many_steps() -> None:
    count = 20 * RANGES_PER_STEP
    document = Document([decode_update(update_of_many_clients(count))])
    for author in range(count):
        document.deletions.add(author, 0, 1)
    sorting = sum(1 for _ in sort_descending(range(count)))
    assert sorting >= count // VALUES_PER_STEP
    least = sorting + count // RANGES_PER_STEP
    for _ in range(2):
        # The second time, the encoded blocks are cached, but collecting them takes time as well.
        assert sum(1 for _ in document.deletions.encode_in_steps()) >= least
    for work in (document.diff({}), document.encode_state_vector(), document.encode_layout()):
        assert sum(1 for _ in work) >= least
