"""The result of one attack."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from tests.support.bystanders import Observation


@frozen
class Outcome:
    """What was measured during one attack.  Times are in seconds, sizes in bytes.

    :ivar answer: the server's answer: "taken", a close code, or why there is no measurement.
    :ivar seconds: how long the attack took.
    :ivar size: how many bytes the attackers sent.
    :ivar cpu: the daemon's processor time.
    :ivar turn: the longest time that the reactor worked without a break, in processor time.
    :ivar before: the daemon's memory before the attack; `peak`: the highest during it; `after`: afterwards.
    :ivar waited: the share of the time in which the daemon was ready to run while another process had its core.
    :ivar observation: what the bystanders measured.
    :ivar revoked: how long users whose session was deleted stayed connected, if sessions were deleted.
    """

    answer: str
    seconds: float = 0.0
    size: int = 0
    cpu: float = 0.0
    turn: float = 0.0
    before: int = 0
    peak: int = 0
    after: int = 0
    waited: float = 0.0
    observation: Observation | None = None
    revoked: Sequence[float] = ()
