"""The limits on connections and rooms of each user."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.config.limits import UserLimits
from canvas_collab.limits.users import UserConnections

MAX_CONNECTIONS, MAX_ROOMS = 4, 2

moves = st.lists(st.tuples(st.booleans(), st.sampled_from("ab"), st.sampled_from("xyz")), max_size=100)


@given(moves)
def test_every_user_has_at_most_so_many_connections_and_rooms_and_any_below(
    steps: list[tuple[bool, str, str]],
) -> None:
    exceeded = Counter[str]()
    users = UserConnections(UserLimits(max_connections=MAX_CONNECTIONS, max_rooms=MAX_ROOMS), exceeded)
    is_open: Counter[tuple[str, str]] = Counter()
    refused = 0
    for opens, user, room in steps:
        own = {key: count for key, count in is_open.items() if key[0] == user and count}
        if opens:
            result = users.add(user, room)
            if sum(own.values()) >= MAX_CONNECTIONS:
                assert result == "MAX_CONNECTIONS_PER_USER"
            elif len(own) >= MAX_ROOMS and (user, room) not in own:
                assert result == "MAX_ROOMS_PER_USER"
            else:
                assert result is None
                is_open[user, room] += 1
            refused += result is not None
        elif is_open[user, room]:
            users.remove(user, room)
            is_open[user, room] -= 1
        assert len(users) == len({user for (user, _), count in is_open.items() if count})
    assert sum(exceeded.values()) == refused


def test_with_0_there_is_no_limit() -> None:
    users = UserConnections(UserLimits(max_connections=0, max_rooms=0), Counter())
    assert {users.add("a", f"room {number}") for number in range(5000)} == {None}
