"""The documentation agrees with the code: settings, close codes, log events; and its links are valid."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from canvas_collab import __version__
from canvas_collab.access.authentication import sign
from canvas_collab.config import reference
from canvas_collab.config.setting import as_text, variable_of
from canvas_collab.config.settings import Settings
from canvas_collab.database.migrations import prepare_database
from canvas_collab.health import ServiceStatus
from canvas_collab.protocol.close_codes import CloseCode
from tests.support.databases import TestDatabase

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHER_PAGES = [ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def code_blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def prose(page: str) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)


def table_rows(page: str) -> Iterator[list[str]]:
    """Yield the cells of every row of every table."""
    for line in page.splitlines():
        if line.startswith("|"):
            yield [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


VARIABLES = {
    variable_of(field).name: as_text(field.default)
    for group in attrs.fields(Settings)
    for field in attrs.fields(group.metadata["group"])
}


def test_the_page_on_configuration_and_the_example_of_an_environment_are_what_the_settings_say() -> None:
    assert reference.with_tables(read("docs/configuration.md")) == read("docs/configuration.md")
    assert reference.example() == read(".env.example")


def test_the_page_on_configuration_has_every_variable_with_its_default_and_no_other() -> None:
    documented = {
        cells[0].strip("`"): cells[1].strip("`")
        for cells in table_rows(read("docs/configuration.md"))
        if re.fullmatch(r"`[A-Z_]+`", cells[0])
    }
    assert {name: "" if default == "(empty)" else default for name, default in documented.items()} == VARIABLES


def test_every_default_that_is_written_down_is_read_as_the_default() -> None:
    assert Settings.from_environment(VARIABLES) == Settings()


def test_the_example_of_an_environment_has_every_variable_with_its_default_and_no_other() -> None:
    example = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", read(".env.example"), re.MULTILINE))
    assert example == VARIABLES


def test_a_page_without_a_generated_part_is_not_touched() -> None:
    with pytest.raises(ValueError, match="no generated part"):
        reference.with_tables("# Configuration")


def test_both_files_are_written_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / reference.PAGE).write_text(f"before\n{reference.BEGIN}\nstale rows\n{reference.END}\nafter\n")
    reference.main(tmp_path)
    page = (tmp_path / reference.PAGE).read_text(encoding="utf-8")
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "stale rows" not in page
    assert "`WS_PORT`" in page
    assert (tmp_path / reference.EXAMPLE).read_text(encoding="utf-8") == read(".env.example")


def test_other_names_of_variables_are_documented() -> None:
    for group in attrs.fields(Settings):
        for field in attrs.fields(group.metadata["group"]):
            for name in variable_of(field).aliases:
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
    assert {field.name for field in attrs.fields(ServiceStatus)} <= explained


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
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


def test_the_environment_files_of_the_operating_page_are_for_production() -> None:
    page = read("docs/operating.md")
    [plain] = code_blocks(page, "ini")
    [pm2] = [block for block in code_blocks(page, "sh") if block.startswith("APP_ENV=")]
    environment = dict(re.findall(r"^([A-Z_]+)='?(.*?)'?$", plain + pm2, re.MULTILINE))
    assert Settings.from_environment(environment).process.production
    assert set(dict(re.findall(r"^([A-Z_]+)=(.*)$", plain, re.MULTILINE))) == {
        "BETTER_AUTH_URL",
        "WS_PATH_PREFIX",
        "TRUSTED_PROXIES",
    }


def test_the_service_unit_starts_and_reads_what_the_operating_page_installs() -> None:
    unit = read("systemd/canvas-collab.service")
    page = read("docs/operating.md")
    [command] = re.findall(r"^ExecStart=(\S+)", unit, re.MULTILINE)
    files = re.findall(r"^(?:EnvironmentFile=|LoadCredential=[^:]+:)(\S+)$", unit, re.MULTILINE)
    assert len(files) == 3
    for path in (command, *files):
        assert path in page


def test_every_file_that_the_operating_page_copies_is_shipped() -> None:
    copied = re.findall(r"^cp ((?:\S+ )+)/etc", read("docs/operating.md"), re.MULTILINE)
    assert len(copied) >= 5
    for name in " ".join(copied).split():
        assert (ROOT / name).is_file()


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
