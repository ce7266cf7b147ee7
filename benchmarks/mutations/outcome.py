"""What was measured while mutated inputs were sent, kept in files, so that a run can be resumed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, define, field, frozen


@frozen
class Waiting:
    """How long edits of bystanders took, in milliseconds.

    :ivar near: in the attacked room; `far`: in another one.
    :ivar saved: until an edit in another room was confirmed as saved.
    :ivar late: how late the bystanders were themselves, which shows how busy the machine is.
    """

    near: float
    far: float
    saved: float
    late: float


@frozen
class Chunk:
    """A part of a surface's inputs, after which the daemon became idle.

    :ivar daemon: its process id; memory can be compared while that is the same.
    :ivar seconds: how long the inputs took.
    :ivar answers: how often there was which answer.
    :ivar memory: the daemon's proportional set size (PSS) afterwards, in bytes; `descriptors`: open ones, likewise.
    :ivar p50: the bystanders' medians, or None if there were none; `p99`: their 99th percentiles; `worst`: the maxima.
    :ivar disturbed: the share of the time in which the daemon waited for a core because of other processes.
    :ivar levels: how many events were logged, by level.
    :ivar errors: what must not happen: crashes, events of the level error or critical, other lines in the log,
        bystanders that lost their connections, documents that Yjs does not load.
    """

    daemon: int
    inputs: int
    seconds: float
    answers: Mapping[str, int]
    memory: int
    descriptors: int
    p50: Waiting | None
    p99: Waiting | None
    worst: Waiting | None
    disturbed: float
    levels: Mapping[str, int]
    errors: Sequence[str]

    def describe(self) -> str:
        """Return the most important figures."""
        waiting = ""
        if self.p99 is not None:
            waiting = f" others wait p99 {self.p99.far:.0f} ms, in the same room {self.p99.near:.0f} ms,"
        return (
            f"{self.inputs / self.seconds:.0f}/s,{waiting} {self.memory / 2**20:.1f} MB, "
            f"{self.descriptors} descriptors, {len(self.errors)} errors"
        )


@define
class SurfaceOutcome:
    """All chunks of a surface so far.

    :ivar inputs: how many inputs were asked for.
    """

    surface: str
    seed: str
    inputs: int
    chunk_size: int
    chunks: list[Chunk] = field(factory=list)

    @property
    def sent(self) -> int:
        """How many inputs were sent."""
        return sum(chunk.inputs for chunk in self.chunks)

    @property
    def share(self) -> float:
        """Which share of the inputs was sent."""
        return self.sent / self.inputs if self.inputs else 1.0

    @property
    def answers(self) -> Counter[str]:
        """How often there was which answer."""
        answers: Counter[str] = Counter()
        for chunk in self.chunks:
            answers.update(chunk.answers)
        return answers

    @property
    def errors(self) -> list[str]:
        """What must not happen and did."""
        return [error for chunk in self.chunks for error in chunk.errors]

    def growth(self, name: str) -> int:
        """By how much `memory` or `descriptors` grew, from the first chunk of a daemon, its warm-up, to the last."""
        ends: dict[int, list[int]] = {}
        for chunk in self.chunks:
            ends.setdefault(chunk.daemon, []).append(getattr(chunk, name))
        return max((values[-1] - values[0] for values in ends.values()), default=0)

    def write(self, directory: Path) -> None:
        """Write the file of this surface."""
        directory.mkdir(parents=True, exist_ok=True)
        self._file(directory, self.surface).write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, directory: Path, surface: str, seed: str, inputs: int, chunk_size: int) -> SurfaceOutcome:
        """Read the file of a surface; start anew if there is none, or one of another seed or size."""
        try:
            data: dict[str, Any] = json.loads(cls._file(directory, surface).read_text())
        except OSError:
            data = {}
        outcome = cls(surface, seed, inputs, chunk_size)
        if data and all(data[name] == getattr(outcome, name) for name in ("seed", "chunk_size")):
            for chunk in data["chunks"]:
                for name in ("p50", "p99", "worst"):
                    chunk[name] = Waiting(**chunk[name]) if chunk[name] else None
                outcome.chunks.append(Chunk(**chunk))
        return outcome

    @staticmethod
    def _file(directory: Path, surface: str) -> Path:
        return directory / f"mutations-{surface}.json"


def _median_and_most(values: Sequence[float]) -> str:
    return f"{sorted(values)[len(values) // 2]:.0f}, {max(values):.0f}" if values else ""


def table(outcomes: Sequence[SurfaceOutcome]) -> list[str]:
    """Return a Markdown table with a line for each surface."""
    lines = [
        "| surface | inputs | errors | MB more | descriptors more | others wait p99 (median and worst part), ms "
        "| in the same room | inputs/s | daemon waited |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for outcome in outcomes:
        chunks = outcome.chunks
        if not chunks:
            continue
        watched = [chunk.p99 for chunk in chunks if chunk.p99 is not None]
        far, near = (_median_and_most([getattr(waiting, name) for waiting in watched]) for name in ("far", "near"))
        speed = outcome.sent / sum(chunk.seconds for chunk in chunks)
        waited = sum(chunk.disturbed * chunk.seconds for chunk in chunks) / sum(chunk.seconds for chunk in chunks)
        lines.append(
            f"| {outcome.surface} | {outcome.sent:,} | {len(outcome.errors)} | {outcome.growth('memory') / 2**20:+.1f} "
            f"| {outcome.growth('descriptors'):+d} | {far} | {near} | {speed:.0f} | {waited:.0%} |"
        )
    return lines


def details(outcome: SurfaceOutcome) -> list[str]:
    """Return lines with the answers, and with what must not happen."""
    answers = ", ".join(f"{answer} {count:,}" for answer, count in outcome.answers.most_common())
    return [f"{outcome.surface}: {answers}", *(f"  ERROR {error}" for error in outcome.errors)]
