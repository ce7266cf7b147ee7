"""What the parts of the daemon count while they work: plain numbers, which :mod:`canvas_collab.metrics` exports.

Counting happens for every message, so it has to cost next to nothing: an addition to an attribute.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from attrs import Factory, define, field

#: The upper bounds of the buckets for latencies, in seconds.
LATENCIES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@define
class Histogram:
    """How many observations there were up to each of some bounds.

    :ivar bounds: the upper bounds of the buckets, ascending; a last bucket has what is above all of them.
    :ivar counts: the observations in each bucket, not cumulative, one more than there are bounds.
    :ivar total: the sum of all observations.
    """

    bounds: Sequence[float] = LATENCIES
    counts: list[int] = field(init=False)
    total: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count an observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@define
class Counters:
    """Everything that is counted since the daemon started.

    :ivar updates_received: updates of clients that were merged into a document.
    :ivar update_bytes_received: their bytes.
    :ivar updates_sent: messages with updates sent to clients, one for each recipient.
    :ivar awareness_received: awareness messages of clients, echoes not included.
    :ivar awareness_sent: awareness messages sent to clients, one for each recipient.
    :ivar messages_skipped: messages that were not sent because of backpressure.
    :ivar backpressure: how often a client began to read more slowly than it was sent to.
    :ivar syncs_in_parts: answers to a sync step 1 that were sent in parts, since the client's line is slow.
    :ivar fanout: from when an update was merged until it was sent, in seconds; the oldest update of each flush.
    :ivar commits: group commits; `committed_updates`, the updates in them; `commit_failures`, those that failed.
    :ivar commit: from when an update was queued until it was committed, in seconds; the oldest update of each commit.
    :ivar snapshots: snapshots written; `compactions`, those of them that were compacted.
    :ivar reactor_lateness: how late the reactor runs timers, in seconds.
    :ivar denials: denied handshakes and documents, by HTTP status.
    :ivar limits: how often a client exceeded a limit, by the name of its setting.
    :ivar closed: connections that the daemon closed, by close code.
    """

    updates_received: int = 0
    update_bytes_received: int = 0
    updates_sent: int = 0
    awareness_received: int = 0
    awareness_sent: int = 0
    messages_skipped: int = 0
    backpressure: int = 0
    syncs_in_parts: int = 0
    fanout: Histogram = Factory(Histogram)
    commits: int = 0
    committed_updates: int = 0
    commit_failures: int = 0
    commit: Histogram = Factory(Histogram)
    snapshots: int = 0
    compactions: int = 0
    reactor_lateness: Histogram = Factory(Histogram)
    denials: Counter[int] = Factory(Counter)
    limits: Counter[str] = Factory(Counter)
    closed: Counter[int] = Factory(Counter)
