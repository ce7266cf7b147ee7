"""What the generator measures in one run."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import field, frozen


@frozen
class Measurement:
    """The result of one run.

    A *delivery* is the arrival of one update at one client.

    :ivar sent: the number of updates sent.
    :ivar delivered: the number of deliveries.
    :ivar missing: the number of deliveries that were due and did not happen.
    :ivar out_of_order: the number of updates that a client received twice, or before an earlier one of their author.
    :ivar frames: the number of WebSocket messages that clients received.
    :ivar bytes: the number of bytes that clients received.
    :ivar latencies: from an update's sending to its arrival, in seconds, sorted; one for each delivery.
    :ivar lateness: by how much the generator sent each update later than scheduled, in seconds, sorted.
    :ivar seconds: from the start of sending to the last arrival.
    :ivar busy: the share of a core that the generator used while it was sending, from 0 to 1.
    :ivar waited: the share of that time in which the generator was ready to run while another process had its core.
    """

    sent: int
    delivered: int
    missing: int
    out_of_order: int
    frames: int
    bytes: int
    latencies: Sequence[float] = field(repr=False)
    lateness: Sequence[float] = field(repr=False)
    seconds: float
    busy: float
    waited: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which a share (0 to 1) of the values lies; `ordered` has to be sorted and not empty."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
