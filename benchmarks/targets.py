"""Targets for measures: multiples of what other servers take, and absolute limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

#: The servers that relative targets refer to: the better one of them counts.
RIVALS = ("hocuspocus-4", "y-websocket-server")

#: The server that does nothing but the system calls.
FLOOR = "floor"

#: From which share of its core on a server counts as busy, in percent.
BUSY = 90.0

#: The sign after ratios.
TIMES = "\N{MULTIPLICATION SIGN}"

#: The measures of one server, by name.
Measures = Mapping[str, float]


@frozen
class Judgement:
    """A measure beside its target.

    :ivar best: the better rival's; `floor`, that of the floor; None where there is none.
    :ivar met: whether the target is met; None if that cannot be said.
    """

    best: float | None
    floor: float | None
    met: bool | None


@frozen
class Target:
    """An upper bound for one of canvas-collab's measures, or a lower bound where more is better.

    If several of `ratio`, `floor` and `limit` are given, each of them has to hold.

    :ivar ratio: the bound as a multiple of the better rival's measure.
    :ivar floor: the bound as a multiple of the floor's measure.
    :ivar limit: the bound itself.
    :ivar more: whether more is better.
    :ivar rivals: the servers that `ratio` refers to.
    :ivar if_busy: whether `ratio` only holds where the better rival is busy.
    """

    measure: str
    ratio: float | None = None
    limit: float | None = None
    more: bool = False
    rivals: Sequence[str] = RIVALS
    floor: float | None = None
    if_busy: bool = False

    @property
    def aim(self) -> str:
        """The bounds as text."""
        sign = "≥" if self.more else "≤"
        parts = []
        if self.ratio is not None:
            parts.append(f"{sign} {self.ratio:g} {TIMES}" + (" if busy" if self.if_busy else ""))
        if self.floor is not None:
            parts.append(f"{sign} {self.floor:g} {TIMES} floor")
        if self.limit is not None:
            parts.append(f"{sign} {self.limit:g}")
        return ", ".join(parts)

    def judge(self, ours: Measures | None, others: Mapping[str, Measures]) -> Judgement:
        """Compare this server's measures with those of other servers, by their names."""
        rivals = [others[name] for name in self.rivals if name in others and self.measure in others[name]]
        pick = max if self.more else min
        best = pick(rivals, key=lambda measures: measures[self.measure]) if rivals else None
        at_floor = others.get(FLOOR, {}).get(self.measure)
        value = None if ours is None else ours.get(self.measure)
        met: bool | None = None
        if value is not None:
            outcomes: list[bool | None] = []
            if self.ratio is not None and best is not None:
                is_due = not self.if_busy or best.get("server_busy", 0.0) >= BUSY
                outcomes.append(not is_due or self._within(value, self.ratio * best[self.measure]))
            elif self.ratio is not None:
                outcomes.append(None)
            if self.floor is not None:
                outcomes.append(None if at_floor is None else self._within(value, self.floor * at_floor))
            if self.limit is not None:
                outcomes.append(self._within(value, self.limit))
            met = False if False in outcomes else None if None in outcomes else True
        return Judgement(None if best is None else best[self.measure], at_floor, met)

    def _within(self, value: float, bound: float) -> bool:
        return value >= bound if self.more else value <= bound
