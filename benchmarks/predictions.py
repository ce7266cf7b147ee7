"""The cost model's constants, its predictions beside what was measured, and what follows from them, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf

from benchmarks.cost_model import Constants, Machine, Shape, limits, predict
from benchmarks.generator.workload import Kind
from benchmarks.loads.base import Result
from benchmarks.loads.idle import CLIENTS, ROOMS
from benchmarks.loads.traffic import TRAFFIC, Traffic

#: The load whose result has the constants, and the server that they are of.
MODEL, OURS = "cost-model", "canvas-collab"

US, KB = 1e6, 1 / 1024

#: The kinds of rooms for which the limits are shown.
KINDS: Mapping[str, Shape] = {
    "5 people, each 2 edits/s": Shape(1, 5, edits=10, writers=5),
    "5 people, each 0.2 edits/s and a cursor at 2/s": Shape(1, 5, edits=1, cursors=10, writers=5),
    "5 people who only look": Shape(1, 5),
    "10 people drawing, each 60 edits/s": Shape(1, 10, edits=600, writers=10),
    "100 people, each 20 edits/s": Shape(1, 100, edits=2000, writers=100),
}

#: The size of a document in these rooms, in bytes.
DOCUMENT = 200_000


def shape_of(traffic: Traffic) -> Shape:
    """A load as the model sees it."""
    rate = traffic.writers * traffic.rate
    if traffic.kind in (Kind.TYPING, Kind.RECORDED):
        return Shape(traffic.rooms, traffic.clients, edits=rate, writers=traffic.writers)
    return Shape(traffic.rooms, traffic.clients, cursors=rate, writers=traffic.writers)


def prediction_tables(loads: Mapping[str, Mapping[str, Result]]) -> dict[str, list[str]]:
    """The tables in Markdown: ``constants``, ``predictions``, ``limits``; none if the model was not measured."""
    fitted = loads.get(MODEL, {}).get(OURS)
    if fitted is None or fitted.problem:
        return {}
    constants = Constants.from_measures(fitted.measures)
    return {
        "constants": list(constant_lines(constants)),
        "predictions": list(checked_lines(constants, loads)),
        "limits": list(limit_lines(constants)),
    }


def prediction_lines(loads: Mapping[str, Mapping[str, Result]]) -> Iterator[str]:
    """The section with the tables; nothing if the model was not measured."""
    tables = prediction_tables(loads)
    if tables:
        yield "## Cost model"
        yield ""
        yield from tables["constants"]
        yield ""
        yield "Predicted beside measured, for loads that the constants were not fitted to:"
        yield ""
        yield from tables["predictions"]
        yield ""
        yield from tables["limits"]
        yield ""


def constant_lines(constants: Constants) -> Iterator[str]:
    """The table of constants."""
    yield "| constant | |"
    yield "|---|---:|"
    for name, value in (
        ("CPU of an update, received while the daemon works", f"{constants.edit * US:.1f} µs"),
        ("CPU of an awareness update, likewise", f"{constants.cursor * US:.1f} µs"),
        ("more, if a message wakes the daemon up", f"{constants.wake * US:.1f} µs"),
        ("CPU of a flush, without sending", f"{constants.flush * US:.1f} µs"),
        ("CPU of sending a message to one client", f"{constants.send * US:.1f} µs"),
        ("CPU of a group commit", f"{constants.commit * US:.0f} µs"),
        ("CPU when nothing happens", f"{constants.idle * 1000:.1f} ms a second"),
        ("PostgreSQL's CPU of an update", f"{constants.database_edit * US:.0f} µs"),
        ("PostgreSQL's CPU of a commit", f"{constants.database_commit * US:.0f} µs"),
        ("WAL of an update", f"{constants.wal_edit:.0f} bytes"),
        ("WAL of a commit", f"{constants.wal_commit:.0f} bytes"),
        ("memory of a daemon without connections", f"{constants.base * KB / 1024:.0f} MB"),
        ("memory of a connection", f"{constants.connection * KB:.1f} kB"),
        ("memory of a room with a small document", f"{constants.room * KB:.1f} kB"),
        ("memory of a document, as a multiple of its size", f"{constants.document:.1f}"),
    ):
        yield f"| {name} | {value} |"


def checked_lines(constants: Constants, loads: Mapping[str, Mapping[str, Result]]) -> Iterator[str]:
    """The table of predicted and measured values, for each load of the model's kind that was measured."""
    yield "| load | what | predicted | measured | predicted / measured |"
    yield "|---|---|---:|---:|---:|"
    for traffic in TRAFFIC:
        result = loads.get(traffic.name, {}).get(OURS)
        if result is None or result.problem or not result.measures.get("seconds"):
            continue
        # What is sent in echoes is not in the model.
        if traffic.kind is Kind.ECHOED_CURSORS:
            continue
        measured = {name: value / traffic.seconds for name, value in result.measures.items()}
        prediction = predict(constants, shape_of(traffic))
        rows = [
            ("CPU, % of a core", prediction.cpu * 100, measured["cpu"] * 100),
            ("messages sent/s", prediction.counts.sends, measured["frames"]),
        ]
        if traffic.kind is Kind.TYPING and "commits" in measured:
            rows += [
                ("commits/s", prediction.counts.commits, measured["commits"]),
                ("WAL, kB/s", prediction.wal * KB, measured["wal_written"] * KB),
                ("PostgreSQL's CPU, %", prediction.database_cpu * 100, measured["database_cpu"] * 100),
            ]
        for what, predicted, value in rows:
            quotient = f"{predicted / value:.2f}" if value else "\N{EN DASH}"
            yield f"| {traffic.name} | {what} | {predicted:,.1f} | {value:,.1f} | {quotient} |"
    idle = loads.get("idle", {}).get(OURS)
    if idle is not None and not idle.problem:
        rooms = round(idle.measures.get("rooms", ROOMS))
        predicted, value = predict(constants, Shape(rooms, CLIENTS)).memory / 2**20, idle.measures["memory"]
        yield f"| idle | memory (PSS), MB | {predicted:,.0f} | {value:,.0f} | {predicted / value:.2f} |"


def limit_lines(constants: Constants) -> Iterator[str]:
    """The table of what a machine carries, and which limit comes first."""
    machine = Machine()
    names = list(limits(constants, Shape(1, 5, edits=1), machine))
    yield (
        f"Rooms that are carried by {machine.cores} daemons with a core each and {machine.memory / 2**30:.0f} GB "
        f"together, and a PostgreSQL with {machine.database_cores} cores whose disk takes "
        f"{machine.wal / 2**20:.0f} MB of WAL a second. Documents have {DOCUMENT // 1000} kB. A fifth of everything is "
        "left free:"
    )
    yield ""
    yield "| room | " + " | ".join(names) + " | first limit |"
    yield "|---|" + "---:|" * len(names) + "---|"
    for kind, shape in KINDS.items():
        carried = limits(constants, shape, machine, DOCUMENT)
        first = min((name for name in carried if name != "CPU of one core"), key=carried.__getitem__)
        cells = ["\N{EN DASH}" if carried[name] == inf else f"{carried[name]:,.0f}" for name in names]
        yield f"| {kind} | " + " | ".join(cells) + f" | {first} |"
