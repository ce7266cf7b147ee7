"""What is counted: histograms."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.counters import LATENCIES, Histogram


@given(st.lists(st.floats(0, 100)))
def test_every_observation_is_in_the_first_bucket_whose_bound_is_not_below_it(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.observe(value)
    bounds = [*LATENCIES, float("inf")]
    cumulative = [sum(value <= bound for value in values) for bound in bounds]
    assert [sum(histogram.counts[: index + 1]) for index in range(len(bounds))] == cumulative
    assert histogram.total == sum(values)
