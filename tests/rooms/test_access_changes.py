"""Notifications of changed access: whom their payloads are about."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.protocol.steps import run_to_completion
from canvas_collab.rooms.access_changes import MAX_NAMES, AccessChanges
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.room import Room


class Member:
    def __init__(self, user_id: str) -> None:
        self.user_id = user_id


class Members:
    """A room, as far as it matters here."""

    def __init__(self, name: str, *user_ids: str) -> None:
        self.name = name
        self.members = {Member(user_id) for user_id in user_ids}


ROOMS = [Members("diagram-a", "ada", "bob"), Members("diagram-b", "bob", "bob"), Members("diagram-c", "cyd")]


def found(changes: AccessChanges) -> list[tuple[str, str]]:
    """The room and the user of each connection that is concerned."""
    connections = run_to_completion(changes.find(cast("list[Room[Connection]]", ROOMS)))
    rooms = {member: room.name for room in ROOMS for member in room.members}
    members = cast("list[Member]", connections)
    return sorted((rooms[member], member.user_id) for member in members)


@pytest.mark.parametrize(
    ("payloads", "concerned"),
    [
        ([""], [("diagram-a", "ada"), ("diagram-a", "bob"), *[("diagram-b", "bob")] * 2, ("diagram-c", "cyd")]),
        (["user:bob"], [("diagram-a", "bob"), *[("diagram-b", "bob")] * 2]),
        (["diagram:a"], [("diagram-a", "ada"), ("diagram-a", "bob")]),
        (["user:cyd", "diagram:b", "user:cyd"], [*[("diagram-b", "bob")] * 2, ("diagram-c", "cyd")]),
        (["user:nobody", "diagram:none", "diagram:diagram-a"], []),
    ],
)
def test_a_notification_concerns_a_user_or_a_diagram_or_everybody(
    payloads: list[str], concerned: list[tuple[str, str]]
) -> None:
    changes = AccessChanges()
    for payload in payloads:
        assert changes.add(payload, "diagram-")
    assert changes
    assert found(changes) == concerned


@pytest.mark.parametrize("payload", ["user", "user:", "diagram:", ":", ":ada", "USER:ada", "session:x", " ", "null"])
def test_any_other_payload_concerns_nobody(payload: str) -> None:
    changes = AccessChanges()
    assert not changes.add(payload, "diagram-")
    assert not changes
    assert found(changes) == []


@given(st.text())
def test_no_payload_raises(payload: str) -> None:
    changes = AccessChanges()
    assert changes.add(payload, "diagram-") == bool(changes)


def test_an_id_may_have_a_colon() -> None:
    changes = AccessChanges()
    changes.add("user:a:b", "diagram-")
    assert changes.users == {"a:b"}


def test_more_names_than_are_kept_apart_mean_everybody() -> None:
    changes = AccessChanges()
    for number in range(MAX_NAMES):
        changes.add(f"{'user' if number % 2 else 'diagram'}:{number}", "")
    assert not changes.everybody
    changes.add("user:one more", "")
    assert changes.everybody
