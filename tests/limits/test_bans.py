"""The list of bans."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.limits.bans import BanList

DURATION = 10.0

steps = st.lists(st.tuples(st.floats(0, 8), st.sampled_from("abcdefgh")), max_size=60)


@given(steps)
def test_a_key_is_banned_for_the_duration_from_its_last_ban_on(bans: list[tuple[float, str]]) -> None:
    banned, now, last = BanList(DURATION, 8), 0.0, dict[str, float]()
    for pause, key in bans:
        now += pause
        banned.add(key, now)
        last[key] = now
        for each in "abcdefgh":
            assert banned.has(each, now) == (each in last and last[each] + DURATION > now)


@given(steps, st.integers(1, 4))
def test_a_full_list_ends_the_oldest_bans(bans: list[tuple[float, str]], max_bans: int) -> None:
    banned, now, order = BanList(DURATION, max_bans), 0.0, list[str]()
    for pause, key in bans:
        now += pause
        banned.add(key, now)
        order = [each for each in order if each != key] + [key]
        assert len(banned) <= max_bans
        assert banned.has(key, now)
        assert not any(banned.has(each, now) for each in order[:-max_bans])


def test_a_ban_ends() -> None:
    banned = BanList(DURATION, 3)
    banned.add("a", 0.0)
    assert banned.has("a", DURATION - 0.001)
    assert not banned.has("a", DURATION)
    banned.add("b", DURATION)
    assert len(banned) == 1
