"""What decoding, merging and encoding cost, compiled and interpreted: ``python -m benchmarks.codec``.

Each run of the measurements is a process of its own.  The runs alternate between compiled modules, if there are any,
and their sources; the table has the least of each, in microseconds for one operation.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, TypeVar

from pycrdt import Doc, Map, Text

from canvas_collab import compilation
from canvas_collab.document.document import Document
from canvas_collab.document.merging import merge_updates
from canvas_collab.protocol import awareness, sync
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.layout import decode_with_layout
from canvas_collab.protocol.steps import run_to_completion
from canvas_collab.protocol.update import Update, decode_update, read_update

T = TypeVar("T")

#: How many runs there are of each, by default.
RUNS = 5

#: For how long each operation is repeated in a run, in seconds, and into how many parts this time is divided.
DURATION = 0.3
PARTS = 10

#: The size of the large document in bytes, at least.
LARGE = 450_000

MAX_WEIGHT = 2**25


def shape(number: int) -> dict[str, Any]:
    """Return what a whiteboard stores of one shape."""
    return {
        "type": "rectangle",
        "x": number * 1.5,
        "y": 31.25,
        "width": 120,
        "height": 80.5,
        "angle": 0,
        "opacity": 100,
        "stroke": "#1e1e1e",
        "fill": "transparent",
        "locked": False,
        "version": number,
    }


def shape_updates(size: int) -> list[bytes]:
    """Return the updates that draw shapes, of `size` bytes together."""
    updates: list[bytes] = []
    doc: Doc[Any] = Doc(client_id=3141592653)
    shapes = doc.get("shapes", type=Map)
    subscription = doc.observe(lambda event: updates.append(event.update))
    while len(updates) * 160 < size:
        shapes[f"shape-{len(updates):06}"] = shape(len(updates))
    doc.unobserve(subscription)
    return updates


def text_updates(count: int) -> list[bytes]:
    """Return the updates that type a text, each of one character."""
    updates: list[bytes] = []
    doc: Doc[Any] = Doc(client_id=2718281828)
    text = doc.get("text", type=Text)
    subscription = doc.observe(lambda event: updates.append(event.update))
    for index in range(count):
        text.insert(index, "x")
    doc.unobserve(subscription)
    return updates


def moving_updates(count: int) -> list[bytes]:
    """Return the updates that move a shape, each of which deletes where it was."""
    updates: list[bytes] = []
    doc: Doc[Any] = Doc(client_id=1618033988)
    shapes = doc.get("shapes", type=Map)
    subscription = doc.observe(lambda event: updates.append(event.update))
    for index in range(count):
        shapes["shape"] = shape(index)
    doc.unobserve(subscription)
    return updates


def receive(document: Document, data: bytes) -> Update:
    """Do with an update what a room does with one that it receives."""
    message = sync.decode(data)
    assert isinstance(message, sync.Update)
    update = run_to_completion(read_update(message.update, MAX_WEIGHT, reject_poison=True))
    return run_to_completion(document.merge(update))


def in_turn(function: Callable[[Document, T], object], inputs: Sequence[T]) -> Callable[[], object]:
    """Return a function that calls another with a document and the next input, and begins anew after the last."""
    position = len(inputs)
    document = Document()

    def call() -> None:
        nonlocal position, document
        if position == len(inputs):
            document, position = Document(), 0
        function(document, inputs[position])
        position += 1

    return call


def operations() -> dict[str, Callable[[], object]]:
    """Return what is measured, by its description."""
    shapes = shape_updates(LARGE)
    texts, moves = text_updates(2000), moving_updates(2000)
    large = merge_updates([decode_update(data) for data in shapes])
    document = Document([decode_update(large)])
    decoded_texts = [decode_update(data) for data in texts]
    huge = Document()
    [runs] = decode_update(large).runs.values()
    for client in range(1, 20):
        huge.apply(Update({client * 10**8: runs}, DeleteSet()))
    snapshot, layout = huge.encode(), huge.layout
    clocks = {client: clock - 3 for client, clock in document.clocks.items()}
    cursor = awareness.encode(
        [awareness.Entry(1234567, 42, json.dumps({"user": {"name": "Ada", "color": "#ff8800"}, "x": 10.5, "y": 7}))]
    )
    return {
        f"decode a shape, {len(shapes[0])} bytes": lambda: decode_update(shapes[0], reject_poison=True),
        f"decode a character typed, {len(texts[9])} bytes": lambda: decode_update(texts[9], reject_poison=True),
        f"decode a document, {len(large) // 1000} kB": lambda: decode_update(large, reject_poison=True),
        "merge a decoded character": in_turn(Document.apply, decoded_texts),
        "receive a character: message, check, merge": in_turn(receive, [sync.encode_update(data) for data in texts]),
        "receive a shape: message, check, merge": in_turn(receive, [sync.encode_update(data) for data in shapes]),
        "receive a moved shape: it also deletes": in_turn(receive, [sync.encode_update(data) for data in moves]),
        "merge 10 characters to one update": lambda: merge_updates(decoded_texts[10:20]),
        "read a snapshot, 8 MB": lambda: decode_with_layout(snapshot, layout),
        "diff of the document, 3 clocks": lambda: run_to_completion(document.diff(clocks)),
        "encode the document": document.encode,
        "decode a cursor": lambda: awareness.decode(cursor),
    }


def measure(operation: Callable[[], object]) -> float:
    """Return how long an operation takes, in microseconds: the least mean of some parts of the time."""
    operation()
    began = perf_counter()
    operation()
    count = max(1, int(DURATION / PARTS / max(perf_counter() - began, 1e-7)))
    least = float("inf")
    for _ in range(PARTS):
        began = perf_counter()
        for _ in range(count):
            operation()
        least = min(least, (perf_counter() - began) / count)
    return least * 1e6


def run_process(pure: str) -> dict[str, float]:
    """Measure in another process."""
    output = subprocess.run(
        [sys.executable, "-m", "benchmarks.codec", "--one"],
        env={**os.environ, compilation.VARIABLE: pure},
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    measured: dict[str, float] = json.loads(output)
    return measured


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codec", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="how many runs there are of each")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps({name: measure(operation) for name, operation in operations().items()}))
        return
    print(f"The package is {compilation.description()}.")
    runs = [(run_process("1"), run_process("0")) for _ in range(arguments.runs)]
    print("| operation | interpreted, µs | compiled, µs | ratio |\n|---|---:|---:|---:|")
    for name in runs[0][0]:
        interpreted, compiled = (min(run[place][name] for run in runs) for place in (0, 1))
        print(f"| {name} | {interpreted:,.1f} | {compiled:,.1f} | {interpreted / compiled:.1f} |")


if __name__ == "__main__":
    main()
