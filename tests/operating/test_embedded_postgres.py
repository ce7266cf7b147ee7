"""The embedded PostgreSQL runs while a process uses it, and leaves directories that are not its own as they are."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from canvas_collab import embedded_cluster
from canvas_collab.embedded_cluster import PostgresError, PostgresMissing
from canvas_collab.embedded_postgres import EmbeddedPostgres, start_postgres
from tests.support.checkouts import NOBODY, Run, write_script
from tests.support.daemons import PATIENCE

#: For tests of what root does differently.
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")


@pytest.fixture
def shared_directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory in place of the one under /var/lib, which every user can reach as that."""
    with tempfile.TemporaryDirectory(prefix="shared") as name:
        path = Path(name)
        path.chmod(0o755)
        monkeypatch.setattr(embedded_cluster, "SHARED_DIRECTORY", path / "development")
        yield path / "development"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        # Nothing announces the end of a process that is not a child.
        threading.Event().wait(0.02)


def server_pid(data: Path) -> int:
    return int((data / "postmaster.pid").read_text().splitlines()[0])


def is_running(pid: int) -> bool:
    try:
        # A process that has ended remains until its parent has taken notice.
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def query(server: EmbeddedPostgres, sql: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(server.url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def permissions(path: Path) -> list[int]:
    """Return the permissions of a directory and of all that lead to it."""
    return [stat.S_IMODE(directory.stat().st_mode) for directory in (path, *path.parents)]


def test_it_runs_until_its_last_user_releases_it(directory: Path) -> None:
    first = start_postgres(directory)
    second = start_postgres(directory)
    assert second.url == first.url
    pid = server_pid(directory / "postgres")
    first.release()
    assert query(second, "SELECT 1") == [(1,)]
    second.release()
    wait_until(lambda: not is_running(pid))


def test_what_is_stored_is_there_again_and_a_long_path_is_no_obstacle(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nested = directory / ("long" * 20) / ("longer" * 10)
    nested.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    server = start_postgres(nested)
    query(server, "CREATE TABLE kept AS SELECT 1 AS one")
    server.release()
    server = start_postgres(nested)
    assert query(server, "SELECT one FROM kept") == [(1,)]
    assert len(list(directory.iterdir())) == 2
    server.release()
    assert [path.name for path in directory.iterdir()] == ["long" * 20]


def test_it_stops_when_the_daemon_is_killed(checkout: Path) -> None:
    with Run(checkout) as run:
        pid = server_pid(checkout / ".canvas-collab/postgres")
        run.kill()
        wait_until(lambda: not is_running(pid))


def test_one_that_was_left_behind_is_replaced_at_the_next_start(directory: Path) -> None:
    server = start_postgres(directory)
    query(server, "CREATE TABLE kept AS SELECT 1 AS one")
    pid = server_pid(directory / "postgres")
    guard = int(re.findall(r"^PPid:\s+(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[0])
    # The guard and what waits for the end of the users, both in a session of their own.
    for process in Path("/proc").glob("[0-9]*"):
        number = int(process.name)
        if number != pid and number != os.getpid() and _session(number) == guard and "sh" in _name(number):
            os.kill(number, signal.SIGKILL)
    server.release()
    assert is_running(pid)
    server = start_postgres(directory)
    assert not is_running(pid)
    assert query(server, "SELECT one FROM kept") == [(1,)]
    server.release()


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except FileNotFoundError:
        return ""


def test_a_server_that_does_not_start_is_named_with_its_reason(directory: Path) -> None:
    start_postgres(directory).release()
    with (directory / "postgres/postgresql.conf").open("a") as configuration:
        configuration.write("no_such_setting = 1\n")
    with pytest.raises(PostgresError, match=r"^postgres: .*configuration file.* \(see .*postgres\.log\)$"):
        start_postgres(directory)


def test_an_initialization_that_fails_is_named_and_leaves_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = directory / "programs"
    write_script(programs / "postgres", "exit 0")
    write_script(programs / "initdb", "echo 'initdb: error: No space left on device' >&2; exit 1")
    monkeypatch.setattr(embedded_cluster, "_programs", lambda data: programs)
    with pytest.raises(PostgresError, match=r"^initdb failed: initdb: error: No space left on device$"):
        start_postgres(directory)
    assert not (directory / "postgres").exists()


def test_data_of_a_version_that_is_not_installed_is_named(directory: Path) -> None:
    (directory / "postgres").mkdir()
    (directory / "postgres/PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresError, match="the data is of PostgreSQL 9, which is not installed"):
        start_postgres(directory)


def test_without_the_package_it_is_missing(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_cluster, "PACKAGE", "no_such_package")
    with pytest.raises(PostgresMissing):
        start_postgres(directory)


@as_root
def test_root_keeps_the_permissions_of_every_directory(directory: Path, shared_directory: Path) -> None:
    private = directory / "private"
    private.mkdir(mode=0o700)
    before = permissions(private)
    server = start_postgres(private)
    query(server, "CREATE TABLE kept AS SELECT 1 AS one")
    server.release()
    assert permissions(private) == before
    assert (private / "postgres").resolve().parent == shared_directory
    server = start_postgres(private)
    assert query(server, "SELECT one FROM kept") == [(1,)]
    server.release()
    # Deleting the directory of the data starts afresh.
    (private / "postgres").unlink()
    server = start_postgres(private)
    assert query(server, "SELECT to_regclass('kept')") == [(None,)]
    server.release()


@as_root
def test_data_that_root_stored_before_its_directory_became_private_is_moved(
    directory: Path, shared_directory: Path
) -> None:
    server = start_postgres(directory)
    query(server, "CREATE TABLE kept AS SELECT 1 AS one")
    server.release()
    assert not shared_directory.exists()
    directory.chmod(0o700)
    server = start_postgres(directory)
    assert query(server, "SELECT one FROM kept") == [(1,)]
    server.release()
    assert (directory / "postgres").is_symlink()


@as_root
def test_data_of_a_user_without_an_account_is_used(directory: Path, shared_directory: Path) -> None:
    server = start_postgres(directory)
    query(server, "CREATE TABLE kept AS SELECT 1 AS one")
    server.release()
    data = directory / "postgres"
    # As in a container, where a user of the host has stored them.
    for path in (data, *data.rglob("*")):
        os.chown(path, 54321, 54321)
    server = start_postgres(directory)
    assert query(server, "SELECT one FROM kept") == [(1,)]
    server.release()


@as_root
def test_programs_that_only_root_can_reach_are_copied(
    directory: Path, shared_directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs = embedded_cluster._programs(directory)
    tmp_path.chmod(0o700)
    package = programs.parent.parent
    for name in (package.name, f"{package.name}.libs"):
        (tmp_path / name).symlink_to(package.with_name(name))
    unreachable = tmp_path / programs.relative_to(package.parent)
    monkeypatch.setattr(embedded_cluster, "_programs", lambda data: unreachable)
    server = start_postgres(directory)
    assert query(server, "SELECT 1") == [(1,)]
    server.release()
    assert [path.name.partition("-")[0] for path in shared_directory.iterdir()] == [programs.parent.name]


@as_root
def test_two_users_do_not_collide(directory: Path, shared_directory: Path, tmp_path: Path) -> None:
    programs = embedded_cluster._programs(directory)
    if subprocess.run([programs / "postgres", "--version"], cwd="/", user=NOBODY, check=False).returncode:
        pytest.skip("another user cannot reach the programs")
    os.chown(directory, NOBODY, NOBODY)
    mine = start_postgres(tmp_path)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            theirs = start_postgres(directory)
            status = 0 if query(theirs, "SELECT 1") == [(1,)] else 2
            theirs.release()
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended) == 0
    assert (directory / "postgres").stat().st_uid == NOBODY
    assert query(mine, "SELECT 1") == [(1,)]
    mine.release()
