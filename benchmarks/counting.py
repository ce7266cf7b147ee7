"""Copies of this server's sources, with and without the statements that count for its metrics.

What counting costs cannot be switched off in a running daemon, since it is additions to attributes.  So it is measured
as the difference between two copies of the sources: one as it is, and one in which these statements are left out.
"""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

from tests.support.daemons import ROOT

#: What a daemon of the tests runs from.
_PARTS = ("canvas_collab", "sql", "twisted", "tests/support")

#: The modules that define counters and export them; these stay as they are.
_KEPT = ("counters.py", "metrics.py")


class _Stripper(ast.NodeTransformer):
    def __init__(self) -> None:
        self.removed = 0

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        """Replace an addition to a counter by what it adds, if computing that does something."""
        if not _is_counter(node.target):
            return node
        self.removed += 1
        does_something = any(isinstance(part, ast.Call) and not _is_pure(part) for part in ast.walk(node.value))
        return ast.copy_location(ast.Expr(node.value) if does_something else ast.Pass(), node)

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        """Remove an observation of a histogram."""
        call = node.value
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "observe"):
            return node
        if not _is_counter(call.func.value):
            return node
        self.removed += 1
        return ast.copy_location(ast.Pass(), node)


def _is_counter(node: ast.expr) -> bool:
    return any(
        (isinstance(part, ast.Attribute) and part.attr.lstrip("_") == "counters")
        or (isinstance(part, ast.Name) and part.id.lstrip("_") == "counters")
        for part in ast.walk(node)
    )


def _is_pure(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id in ("len", "int", "bool", "sum", "max", "min")


def without_counting(source: str) -> tuple[str, int]:
    """Leave out of a module what counts.

    :return: its source without the statements, and how many they were.
    """
    stripper = _Stripper()
    tree = stripper.visit(ast.parse(source))
    return ast.unparse(tree), stripper.removed


def copy_sources(directory: Path, counting: bool) -> int:
    """Copy the sources that a daemon runs from, without compiled modules, so that both copies run interpreted.

    :param counting: whether they are copied with the statements that count.
    :return: how many statements were left out.
    """
    ignored = shutil.ignore_patterns("__pycache__", "*.so", "compiled*.txt", "node_modules")
    for part in _PARTS:
        shutil.copytree(ROOT / part, directory / part, ignore=ignored, dirs_exist_ok=True)
    shutil.copy(ROOT / "tests" / "__init__.py", directory / "tests")
    removed = 0
    if not counting:
        for path in (directory / "canvas_collab").rglob("*.py"):
            if path.name not in _KEPT and "counters" in (source := path.read_text()):
                text, count = without_counting(source)
                path.write_text(text)
                removed += count
    return removed
