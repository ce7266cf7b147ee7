"""Outcomes as JSON files that later runs add to, and as Markdown tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from attrs import asdict, define, field

from benchmarks.attacks.floods import FLOODS
from benchmarks.attacks.outcome import Outcome
from tests.support.attacks.catalogue import SHAPES
from tests.support.attacks.shape import WireProtocol
from tests.support.daemons import ROOT

MB, MS = 2**20, 1e3

#: Targets: the p99 in seconds until bystanders receive an edit, and until one is saved; by how many bytes the daemon's
#: memory may grow; after how many seconds a user whose session was deleted is disconnected.
WAIT, SAVED, MEMORY, OUT = 0.05, 0.5, 50 * MB, 2.0

#: Outcomes are marked if another process had the daemon's core for more than this share of the time.
DISTURBED = 0.1

PAGE = ROOT / "docs" / "attacks.md"


@define
class Table:
    """The outcomes of one kind of attack, in a JSON file.

    :ivar rows: by the name of the attack and its attackers.
    """

    file: Path
    rows: dict[str, dict[str, Any]] = field(factory=dict)

    @classmethod
    def read(cls, file: Path) -> Table:
        """Read the outcomes of earlier runs, if there are any."""
        return cls(file, json.loads(file.read_text()) if file.exists() else {})

    def add(self, name: str, who: str, outcome: Outcome, flood: bool = False) -> str:
        """Add an outcome, write the file and its Markdown table, and return the line of the table."""
        row = asdict(outcome)
        row.update(name=name, who=who, flood=flood, date=datetime.now(timezone.utc).date().isoformat())
        self.rows[f"{name} {who}"] = row
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self.rows, indent=1) + "\n")
        self.file.with_suffix(".md").write_text("\n".join(self.lines()) + "\n")
        return line(row)

    def lines(self) -> Iterator[str]:
        """The table, in Markdown."""
        yield from HEAD
        for row in self.rows.values():
            yield line(row)


HEAD = (
    "| attack | by | MB | answer | over after, s | others wait p50, ms | p99 | at most | saved p99, ms "
    "| memory before, MB | at most | after | CPU, s | signed out after, s "
    "| longest turn, CPU ms | disturbed, % |",
    "|---|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
)


def line(row: dict[str, Any]) -> str:
    """One row of the full table; figures that miss their target are bold."""
    seen = row["observation"]
    answer = "; ".join(filter(None, (row["answer"], _gone(row))))
    cells = [row["name"], row["who"], f"{row['size'] / 1e6:.1f}", answer, f"{row['seconds']:.2f}"]
    if seen is None:
        cells += [""] * 4
    else:
        heard, saved = seen["heard"], seen["saved"]
        cells += [
            f"{heard['p50'] * MS:.1f}",
            _bold(heard["p99"] * MS, WAIT * MS),
            f"{heard['worst'] * MS:.0f}",
            _bold(saved["p99"] * MS, SAVED * MS),
        ]
    grown = row["before"] + MEMORY
    cells += [f"{row['before'] / MB:.0f}", _peak(row, grown), _bold(row["after"] / MB, grown / MB)]
    cells += [f"{row['cpu']:.1f}"]
    left = row["revoked"]
    cells += [_bold(max(left), OUT, 1) if left else ""]
    cells += [f"{row['turn'] * MS:.0f}", f"{row['waited'] * 100:.0f}"]
    return "| " + " | ".join(cells) + " |"


def _peak(row: dict[str, Any], grown: float) -> str:
    """The peak of the memory; only floods have a target for it, as a single message takes memory only for a while."""
    return _bold(row["peak"] / MB, grown / MB if row["flood"] else float("inf"))


def _bold(value: float, aim: float, decimals: int = 0) -> str:
    text = f"{value:.{decimals}f}"
    return f"**{text}**" if value > aim else text


def write_page(messages: Table, floods: Table) -> None:
    """Replace the tables between the markers in the documentation."""
    parts = {"messages": message_lines(messages), "floods": flood_lines(floods)}
    page = PAGE.read_text()
    for name, lines in parts.items():
        start, end = f"<!-- {name} -->\n", f"<!-- {name} end -->"
        before, _, rest = page.partition(start)
        _, _, after = rest.partition(end)
        page = before + start + "\n".join(lines) + "\n" + end + after
    PAGE.write_text(page)


def message_lines(table: Table) -> Iterator[str]:
    """The documentation's table of crafted messages: a line for each shape."""
    yield "| message | MB | by a viewer: others wait p99, ms | at most | by an editor: p99 | at most | MB more after |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for name, shape in SHAPES.items():
        rows = [table.rows.get(f"{name} {role}") for role in ("viewer", "editor", "nobody")]
        known = [row for row in rows if row and row["observation"]]
        if not known:
            continue
        viewer, editor, nobody = rows
        cells = [shape.title, f"{max(row['size'] for row in known) / 1e6:.1f}"]
        # Attackers without a session are in the viewers' columns.
        cells += [*_waits(viewer or nobody), *_waits(editor), _memory("after", *known)]
        yield "| " + " | ".join(cells) + " |"


def flood_lines(table: Table) -> Iterator[str]:
    """The documentation's table of floods: a line for each flood and number of connections."""
    yield "| flood | by | connections | others wait p99, ms | at most | saved p99, ms | MB more | signed out, s |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for kind in FLOODS.values():
        for sockets in (1, 20):
            row = table.rows.get(f"{kind.name} {kind.role}, {sockets}")
            if row and row["observation"]:
                protocol = "" if kind.protocol is WireProtocol.Y_WEBSOCKET else " (Hocuspocus)"
                saved = _bold(row["observation"]["saved"]["p99"] * MS, SAVED * MS)
                left = _bold(max(row["revoked"]), OUT, 1) if row["revoked"] else ""
                cells = [
                    kind.title + protocol,
                    kind.role,
                    str(sockets),
                    *_waits(row),
                    saved,
                    _memory("peak", row),
                    left,
                ]
                yield "| " + " | ".join(cells) + " |"


def _waits(row: dict[str, Any] | None) -> list[str]:
    if row is None or not row["observation"]:
        return ["", ""]
    heard = row["observation"]["heard"]
    mark = "†" if row["waited"] > DISTURBED else ""
    waits = _bold(heard["p99"] * MS, WAIT * MS) + mark
    # The waits of bystanders that were disconnected are incomplete.
    return ["; ".join(filter(None, (waits, _gone(row)))), f"{heard['worst'] * MS:.0f}{mark}"]


def _gone(row: dict[str, Any]) -> str:
    """The bystanders that were disconnected, in bold: the target is that none are."""
    gone = row["observation"]["gone"] if row["observation"] else ()
    return f"**{', '.join(gone)} gone**" if gone else ""


def _memory(which: str, *rows: dict[str, Any]) -> str:
    return _bold(max((row[which] - row["before"]) / MB for row in rows), MEMORY / MB)
