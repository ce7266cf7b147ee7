"""The copies of the sources with which the benchmarks measure what counting costs."""

from __future__ import annotations

import ast
from pathlib import Path

from benchmarks.counting import copy_sources, without_counting

SOURCE = """
def flush(self, data):
    self.counters.updates_sent += self._broadcast(data)
    self.counters.bytes += len(data)
    self.factory.counters.closed[int(code)] += 1
    counters.fanout.observe(ended - started)
    self.document.observe(data)
    self._appended += 1
"""

STRIPPED = """
def flush(self, data):
    self._broadcast(data)
    pass
    pass
    pass
    self.document.observe(data)
    self._appended += 1
"""


def test_statements_that_count_are_left_out_and_what_they_call_is_not() -> None:
    source, removed = without_counting(SOURCE)
    assert ast.dump(ast.parse(source)) == ast.dump(ast.parse(STRIPPED))
    assert removed == 4


def test_the_daemon_has_such_statements_and_a_copy_does_not(tmp_path: Path) -> None:
    assert copy_sources(tmp_path, counting=False) > 10
    for path in (tmp_path / "canvas_collab").rglob("*.py"):
        if path.name not in ("counters.py", "metrics.py"):
            assert without_counting(path.read_text())[1] == 0, path
