"""The documentation says what the code does: its settings, its close codes, its log events, and its links hold."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from canvas_collab import __version__
from canvas_collab.access.auth import sign
from canvas_collab.config import Settings
from canvas_collab.database.migrations import prepare_database
from canvas_collab.health import Figures
from canvas_collab.protocol.closing import CloseCode
from tests.harness.databases import TestDatabase

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHER_PAGES = [ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def code_blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def prose(page: str) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)


def table_rows(page: str) -> Iterator[list[str]]:
    """The cells of every row of every table."""
    for line in page.splitlines():
        if line.startswith("|"):
            yield [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def written(value: object) -> str:
    """A default as one would write it into the environment."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value == () else str(value)


DEFAULTS = {field.metadata["name"]: written(field.default) for field in attrs.fields(Settings)}
ALIASES = {alias for field in attrs.fields(Settings) for alias in field.metadata["aliases"]}


def test_the_page_on_configuration_has_every_variable_with_its_default_and_no_other() -> None:
    documented = {
        cells[0].strip("`"): cells[1].strip("`")
        for cells in table_rows(read("docs/configuration.md"))
        if re.fullmatch(r"`[A-Z_]+`", cells[0])
    }
    assert {name: "" if default == "(empty)" else default for name, default in documented.items()} == DEFAULTS


def test_every_default_that_is_written_down_is_read_as_the_default() -> None:
    assert Settings.from_environment(DEFAULTS) == Settings()


def test_the_example_of_an_environment_has_every_variable_with_its_default_and_no_other() -> None:
    example = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", read(".env.example"), re.MULTILINE))
    assert example == DEFAULTS


def test_other_names_of_variables_are_documented() -> None:
    for name in ALIASES:
        assert f"`{name}`" in read("docs/configuration.md")


def test_every_close_code_is_explained() -> None:
    explained = {int(cells[0]) for cells in table_rows(read("docs/protocol.md")) if cells[0].isdigit()}
    statuses = {number for number in explained if number < 1000}
    assert explained - statuses == {int(code) for code in CloseCode}


def test_every_event_of_the_log_is_explained_and_no_other() -> None:
    logged: set[str] = set()
    for path in (ROOT / "canvas_collab").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Attribute)
                and node.func.value.attr in ("log", "events")
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                logged.add(str(node.args[0].value))
    rows = table_rows(read("docs/log-events.md"))
    explained = {cells[0].strip("`") for cells in rows if cells[0].startswith("`")}
    # Two complaints about the end are put together elsewhere.
    assert logged | {"updates not committed", "snapshots not written"} == explained


def test_every_figure_of_the_health_is_explained() -> None:
    rows = table_rows(read("docs/health.md"))
    explained = {cells[0].strip("`") for cells in rows if cells[0].startswith("`")}
    assert {field.name for field in attrs.fields(Figures)} <= explained


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """What links to a page may name: its headings, and the anchors that keep links to older headings working."""
    text = prose(page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {slug(heading) for heading in headings} | set(re.findall(r'^<a id="([^"]+)"></a>$', text, re.MULTILINE))


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES], ids=lambda page: page.name)
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text(encoding="utf-8"))):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


def test_the_readme_has_the_two_commands_and_leads_to_every_page() -> None:
    readme = read("README.md")
    for command in ("make run", "make test"):
        assert command in readme
    for page in PAGES[1:]:
        assert f"(docs/{page.name})" in readme
    for page in OTHER_PAGES:
        assert f"({page.name})" in readme


def test_the_environment_file_of_the_operating_page_is_one_for_production() -> None:
    [environment] = code_blocks(read("docs/operating.md"), "ini")
    settings = Settings.from_environment(dict(re.findall(r"^([A-Z_]+)=(.*)$", environment, re.MULTILINE)))
    assert settings.production


def test_the_service_unit_starts_what_the_operating_page_installs() -> None:
    unit = read("systemd/canvas-collab.service")
    command = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    environment = re.search(r"^EnvironmentFile=(.*)$", unit, re.MULTILINE)
    assert command
    assert environment
    page = read("docs/operating.md")
    assert command[1].split()[0] in page
    assert environment[1] in page


def test_the_signature_of_the_protocol_page_is_what_the_daemon_computes() -> None:
    page = read("docs/protocol.md")
    example = re.search(r"secret\s+`([^`]+)`\s+and\s+token\s+`([^`]+)`[^`]*`([^`]+)`", page)
    assert example
    assert sign(example[2], example[1]) == example[3]


def test_the_view_of_the_operating_page_gives_the_roles_it_says(empty_database: TestDatabase) -> None:
    empty_database.create_auth_tables()
    tables, view, *_ = code_blocks(read("docs/operating.md"), "sql")
    empty_database.query(tables)
    empty_database.query(view)
    ada, bob, eve = (empty_database.add_user(name) for name in ("ada", "bob", "eve"))
    empty_database.query("INSERT INTO project VALUES (1, %s)", (ada.id,))
    empty_database.query("INSERT INTO project_member VALUES (1, %s, 'write')", (bob.id,))
    empty_database.query("INSERT INTO drawing VALUES (gen_random_uuid(), 1, false), (gen_random_uuid(), 1, true)")
    catalogue = prepare_database(empty_database.url, migrate=True)
    roles: dict[tuple[bool, str], set[str]] = {}
    for drawing, archived in empty_database.query("SELECT id::text, archived FROM drawing"):
        for user in (ada, bob, eve):
            rows = empty_database.query(catalogue.role_query, {"diagram": drawing, "user": user.id})
            roles[archived, user.name] = {role for (role,) in rows}
    assert roles == {
        (False, "ada"): {"owner"},
        (False, "bob"): {"editor"},
        (False, "eve"): set(),
        (True, "ada"): {"viewer"},
        (True, "bob"): {"viewer"},
        (True, "eve"): set(),
    }


def test_every_test_that_the_page_on_security_names_is_there() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", read("SECURITY.md")))
    assert len(named) > 20
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_the_changelog_has_a_place_for_changes_and_the_version() -> None:
    changelog = read("CHANGELOG.md")
    assert "\n## Unreleased\n" in changelog
    assert __version__ in changelog
