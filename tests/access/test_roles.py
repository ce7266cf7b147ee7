"""Which diagram a room belongs to."""

from __future__ import annotations

import pytest

from canvas_collab.access.roles import diagram_of


@pytest.mark.parametrize(
    ("room", "diagram"),
    [
        ("diagram-1", "1"),
        ("diagram-a b/c", "a b/c"),
        ("diagram-", None),
        ("board-1", None),
        ("", None),
        ("diagram-\x00", None),
        ("diagram-" + "x" * 248, None),
    ],
)
def test_the_name_of_a_room_is_a_prefix_and_the_id_of_its_diagram(room: str, diagram: str | None) -> None:
    assert diagram_of(room, "diagram-") == diagram
