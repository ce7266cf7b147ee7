"""The commands of the runbook and of the page on deployment work as they are written."""

from __future__ import annotations

import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from canvas_collab.config.settings import Settings
from canvas_collab.database.catalogue import UnsuitableDatabase
from canvas_collab.database.migrations import prepare_database
from tests.conftest import StartDaemon
from tests.support.checkouts import write_script
from tests.support.commands import Author, edit
from tests.support.daemons import ROOT
from tests.support.databases import SECRET, PostgreSQL, TestDatabase
from tests.support.pages import Shell, read_page, shell_blocks

RUNBOOK = read_page("runbook.md")
DEPLOYMENT = read_page("deployment.md")


@pytest.fixture
def shell(database: TestDatabase, postgres: PostgreSQL, tmp_path: Path) -> Iterator[Shell]:
    """A shell with the settings that the runbook asks for."""
    [options] = re.findall(r"^export PGOPTIONS='(.*)'$", RUNBOOK, re.MULTILINE)
    yield Shell(tmp_path, DATABASE_URL=database.url, DRILL_URL=postgres.url("collab_drill"), PGOPTIONS=options)
    TestDatabase(postgres.url("postgres")).query("DROP DATABASE IF EXISTS collab_drill")


def test_the_backup_and_restore_drill_works_beside_a_running_daemon(
    database: TestDatabase, postgres: PostgreSQL, start_daemon: StartDaemon, shell: Shell
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("42", ada)
    daemon = start_daemon(database)
    edit(daemon, ada, Author().write("worth keeping"), diagram="42")
    backup, create, restore, compare, remove = shell_blocks(RUNBOOK, "Backup and restore drill")
    assert "Written to drill.dump" in shell.run(backup)
    shell.run(create)
    drill = TestDatabase(postgres.url("collab_drill"))
    assert drill.query("SELECT count(*) FROM diagram") == [(1,)]
    assert "0 problems" in shell.run(restore)
    shell.run(compare)
    assert "worth keeping" in shell.run("cat restored.json")
    shell.run(remove)
    assert TestDatabase(postgres.url("postgres")).query("SELECT FROM pg_database WHERE datname = 'collab_drill'") == []
    daemon.stop()


def test_rolling_back_makes_the_previous_version_start_and_can_be_undone(database: TestDatabase, shell: Shell) -> None:
    database.query("INSERT INTO collab_migration (number, name) VALUES (9999, 'of_a_newer_version')")
    with pytest.raises(UnsuitableDatabase, match="is newer than this canvas-collab") as refusal:
        prepare_database(database.url, migrate=True)
    [last] = re.findall(r"knows them up to (\d+)", str(refusal.value))
    _, forget, put_back = shell_blocks(RUNBOOK, "Rolling back")
    shell.run(forget, replacing={"last=4": f"last={last}"})
    prepare_database(database.url, migrate=False)
    shell.run(put_back)
    assert database.query("SELECT name FROM collab_migration WHERE number = 9999") == [("of_a_newer_version",)]
    with pytest.raises(UnsuitableDatabase, match="is newer"):
        prepare_database(database.url, migrate=True)


@pytest.mark.parametrize(
    "page", [RUNBOOK, DEPLOYMENT, read_page("operating.md")], ids=["runbook", "deployment", "operating"]
)
def test_every_block_of_commands_is_correct_for_a_shell(page: str) -> None:
    blocks = shell_blocks(page)
    assert len(blocks) > 5
    for block in blocks:
        checked = subprocess.run(["/bin/sh", "-n", "-c", block], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, block + checked.stderr


def test_the_deployment_copies_what_is_shipped_to_where_the_unit_and_nginx_read_it() -> None:
    copied = re.findall(r"^cp ((?:\S+ )+)/etc", DEPLOYMENT, re.MULTILINE)
    assert len(copied) == 4
    for name in " ".join(copied).split():
        assert (ROOT / name).is_file()
    unit = (ROOT / "systemd/canvas-collab.service").read_text(encoding="utf-8")
    for path in re.findall(r"^(?:EnvironmentFile=|LoadCredential=[^:]+:)(\S+)$", unit, re.MULTILINE):
        assert path in DEPLOYMENT
    [venv] = re.findall(r"^ExecStart=(\S+)/bin/twistd ", unit, re.MULTILINE)
    assert f"ln -sfn releases/0.1.0 {venv}\n" in DEPLOYMENT
    nginx = (ROOT / "deploy/nginx.conf").read_text(encoding="utf-8")
    for path in re.findall(r"^ *ssl_certificate(?:_key)? +(\S*app\.example\.com\S*);$", nginx, re.MULTILINE):
        assert f" {path}\n" in DEPLOYMENT


@pytest.fixture
def server(postgres: PostgreSQL, tmp_path: Path) -> Iterator[Shell]:
    """A shell of root on a server whose PostgreSQL has no database yet."""
    administration = TestDatabase(postgres.url("postgres"))
    host = re.findall(r"host=(.*)$", postgres.url("postgres"))[0]
    shell = Shell(tmp_path, PGHOST=host, PGUSER="postgres")
    # The journal of systemd has the command lines of `su`.
    write_script(shell.programs / "su", f'echo "$@" >> {tmp_path}/command-lines; exec /bin/sh -c "$3"')
    yield shell
    administration.query("DROP DATABASE IF EXISTS app WITH (FORCE)")
    administration.query("DROP ROLE IF EXISTS collab")


def test_the_steps_of_the_deployment_lead_to_a_daemon_that_is_ready(
    server: Shell, postgres: PostgreSQL, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    [database] = shell_blocks(DEPLOYMENT, "2. The database")
    [files] = shell_blocks(DEPLOYMENT, "5. Settings and secrets")
    etc = tmp_path / "etc"
    server.run(f"mkdir {etc}\n{database}\n{files.replace('/etc/', f'{etc}/')}")
    directory = etc / "canvas-collab"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    [lines] = re.findall(r"^```ini\n(.*?)^```$", DEPLOYMENT, re.MULTILINE | re.DOTALL)
    (directory / "better-auth-secret").write_text(SECRET)
    environment = dict(line.split("=", 1) for line in lines.splitlines())
    unit_settings = {
        "APP_ENV": "production",
        "DATABASE_URL_FILE": str(directory / "database-url"),
        "BETTER_AUTH_SECRET_FILE": str(directory / "better-auth-secret"),
    }
    settings = Settings.from_environment({**environment, **unit_settings})
    url = re.fullmatch(r"postgresql://collab:([0-9a-f]{48})@127\.0\.0\.1/app", settings.database.url)
    assert url
    assert url[1] not in (tmp_path / "command-lines").read_text()

    # The embedded PostgreSQL listens on a unix socket only, and asks for no password.
    app = TestDatabase(postgres.url("app").replace("postgres:@", "collab:@"))
    # As an application that connects as another role creates them.
    TestDatabase(postgres.url("app")).create_auth_tables()
    for block in shell_blocks(DEPLOYMENT, "3. Better Auth's tables"):
        server.run(block)
    daemon = start_daemon(app, APP_ENV="production", BETTER_AUTH_SECRET=SECRET, **environment)
    port, health_port = {"https://app.example.com": f"http://127.0.0.1:{daemon.ws_port}"}, str(daemon.health_port)
    ready, handshake, _, hidden, _ = shell_blocks(DEPLOYMENT, "9. Verify")
    assert server.run(ready, replacing={"3002": health_port}).startswith('{"ready": true}')
    assert server.run(handshake, replacing=port).startswith("HTTP/1.1 401 ")
    assert server.run(hidden.splitlines()[0], replacing=port) == "426\n"
