"""The structure of the package: small files, no import cycles, settings where they are used, and a true description."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import attrs
import pytest

from canvas_collab.config.settings import Settings
from docs import modules
from tests.support.daemons import ROOT

PACKAGE = ROOT / "canvas_collab"
SOURCES = sorted(PACKAGE.rglob("*.py"))

#: What a file may have, in lines.
LONGEST = 300
LONGEST_BENCHMARK = 320

#: What is given a group of settings only to make the objects that read it.
HAND_ON = {"rooms/opening.py", "websocket/routing.py"}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> Iterator[str]:
    """The modules that a module imports, wherever it does."""
    names = {module_of(path) for path in SOURCES}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names} & names
            yield from members or {node.module} & names


def test_the_overview_of_modules_is_generated_from_the_package_as_it_is() -> None:
    page = modules.PAGE.read_text(encoding="utf-8")
    assert modules.with_overview(page) == page
    listed = set(re.findall(r"^\| \**`([\w/]+?)/?`\** \|", modules.overview(), re.MULTILINE))
    tree = {str(path.relative_to(PACKAGE).with_suffix("")).removesuffix("/__init__") for path in SOURCES}
    assert listed == tree - {"__init__"}


def test_the_picture_of_the_design_shows_every_folder() -> None:
    picture = modules.PAGE.read_text(encoding="utf-8").split("```")[1]
    folders = {path.relative_to(PACKAGE).parts[0] for path in SOURCES if path.parent != PACKAGE}
    words = set(re.findall(r"\w+", picture))
    # Settings are used everywhere, and drawn nowhere.
    assert folders - {"config"} <= words


def test_a_page_without_an_overview_is_not_touched() -> None:
    with pytest.raises(ValueError, match="no generated part"):
        modules.with_overview("# Design")


def test_every_module_of_the_glossary_is_there() -> None:
    glossary = (
        (ROOT / "docs" / "development.md").read_text(encoding="utf-8").split("## Glossary", 1)[1].split("\n## ", 1)[0]
    )
    rows = [line.split(" | ") for line in glossary.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 30
    for *_, where in rows:
        for name in re.findall(r"`([\w/]+)`", where):
            assert (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file(), name


def test_there_are_no_import_cycles() -> None:
    graph = {module_of(path): set(imports(parse(path))) - {module_of(path)} for path in SOURCES}
    # Raises CycleError, which names the modules of a cycle.
    list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize(("folder", "longest"), [("canvas_collab", LONGEST), ("benchmarks", LONGEST_BENCHMARK)])
def test_files_are_short(folder: str, longest: int) -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / folder).rglob("*.py")
        if "node_modules" not in path.parts
    }
    assert {name: length for name, length in lengths.items() if length > longest} == {}


def test_every_module_that_names_a_group_of_settings_reads_it_or_makes_what_reads_it() -> None:
    groups = {field.metadata["group"].__name__: field.metadata["group"] for field in attrs.fields(Settings)}
    named = []
    for path in SOURCES:
        if path.parent.name == "config":
            continue
        tree = parse(path)
        read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        for name in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & set(groups):
            named.append(name)
            fields = {field.name for field in attrs.fields(groups[name])}
            assert read & fields or str(path.relative_to(PACKAGE)) in HAND_ON, (path, name)
    assert len(named) >= len(HAND_ON) + 5


def test_only_the_composition_and_the_commands_are_given_all_settings() -> None:
    given = {
        str(path.relative_to(PACKAGE))
        for path in SOURCES
        if path.parent.name != "config"
        and "Settings" in {n.id for n in ast.walk(parse(path)) if isinstance(n, ast.Name)}
    }
    assert given == {
        "cli/context.py",
        "cli/doctor/command.py",
        "cli/doctor/environment.py",
        "components.py",
        "development.py",
        "service.py",
        "tap.py",
    }
