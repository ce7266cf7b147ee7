"""The wheel has everything that is needed without a checkout, and ``twistd`` finds the plugin in it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from canvas_collab import __version__
from tests.support.daemons import PATIENCE, ROOT, daemon_environment
from tests.support.databases import TestDatabase

SOURCES = (
    "canvas_collab",
    "build_backend",
    "sql",
    "twisted",
    "setup.cfg",
    "setup.py",
    "pyproject.toml",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
)

#: What earlier builds and `twistd` may have left in a checkout.
LEFTOVERS = (
    "build/lib/canvas_collab/removed.py",
    "build/lib/canvas_collab/sql/0000_removed.sql",
    f"build/bdist.{sysconfig.get_platform()}/wheel/canvas_collab/unpacked.py",
    f"canvas_collab/protocol/compiled{sysconfig.get_config_var('EXT_SUFFIX')}",
    "twisted/plugins/dropin.cache",
)

#: How long building and installing may take, in seconds: they download packages.
TIMEOUT = 600


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by way of a source distribution from a copy of the checkout."""
    copy = copy_checkout(tmp_path_factory.mktemp("source"))
    run(sys.executable, "-m", "build", "--outdir", str(copy / "dist"), str(copy))
    [built] = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel in it, and nothing of the checkout."""
    directory = tmp_path_factory.mktemp("installation") / "venv"
    run(sys.executable, "-m", "venv", str(directory))
    run(str(directory / "bin/python"), "-m", "pip", "install", "--quiet", str(wheel))
    return directory


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory outside the checkout."""
    return tmp_path_factory.mktemp("elsewhere")


def copy_checkout(directory: Path) -> Path:
    """Copy what is built from the checkout into a directory, and return that."""
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "dropin.cache", "*.so", "compiled.*.txt")
            shutil.copytree(ROOT / name, directory / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, directory)
    return directory


def files_to_install() -> set[str]:
    """The paths of all files that an installation has, but for its metadata."""
    modules = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "canvas_collab").rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    migrations = {f"canvas_collab/sql/{path.name}" for path in (ROOT / "sql").glob("*.sql")}
    return modules | migrations | {"twisted/plugins/canvas_collab_plugin.py"}


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a command, which must succeed, and return its output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    # Compiling takes a minute; tests/operating/test_compilation.py does it.
    environment["CANVAS_COLLAB_PURE"] = "1"
    ended = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


@contextmanager
def serving(installation: Path, cwd: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run the installed daemon; the with statement begins when it is ready."""
    output = cwd / "output"
    with output.open("wb") as file:
        daemon = subprocess.Popen(
            [installation / "bin/twistd", "--nodaemon", "--pidfile=", "canvas-collab"],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(f"http://127.0.0.1:{environment['HEALTH_PORT']}/ready"):
            assert daemon.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            # There is no event to wait for before the daemon listens.
            threading.Event().wait(0.05)
        yield daemon
    finally:
        daemon.terminate()
        try:
            daemon.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
            raise


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def test_the_wheel_holds_the_plugin_the_migrations_and_the_types_and_nothing_of_twisteds_own(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = archive.read(f"canvas_collab-{__version__}.dist-info/METADATA").decode()
    assert names == files_to_install()
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "Requires-Python: >=3.10" in metadata
    assert "# Canvas Collab" in metadata


@pytest.mark.parametrize(
    "command",
    [
        ("pip", "wheel", "--no-deps", "--wheel-dir", "dist", "."),
        ("pip", "install", "--no-deps", "--no-compile", "--target", "dist", "."),
        ("build", "--wheel", "."),
        ("build", "."),
    ],
    ids=["pip-wheel", "pip-install", "build-wheel", "build"],
)
def test_what_an_earlier_build_or_twistd_left_in_the_checkout_is_not_installed(
    command: Sequence[str], tmp_path: Path
) -> None:
    checkout = copy_checkout(tmp_path)
    for name in LEFTOVERS:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("# This was removed.\n", encoding="utf-8")
    run(sys.executable, "-m", *command, cwd=checkout)
    installed = {path.relative_to(checkout / "dist").as_posix() for path in (checkout / "dist").rglob("*.*")}
    for wheel in (checkout / "dist").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            installed.update(archive.namelist())
    ours = {name for name in installed if name.startswith(("canvas_collab/", "twisted/"))}
    assert ours == files_to_install()


def test_twistd_lists_the_command(installation: Path, elsewhere: Path) -> None:
    listed = run(str(installation / "bin/twistd"), "--help", cwd=elsewhere)
    assert listed.count("canvas-collab") == 1
    assert "Realtime collaboration for Yjs documents." in listed


def test_what_is_installed_migrates_an_empty_database_serves_and_stops(
    installation: Path, elsewhere: Path, empty_database: TestDatabase
) -> None:
    empty_database.create_auth_tables()
    environment = daemon_environment(empty_database, APP_ENV="production")
    del environment["PYTHONPATH"]
    with serving(installation, elsewhere, environment) as daemon:
        assert empty_database.query("SELECT count(*) FROM diagram") == [(0,)]
    assert daemon.returncode == -signal.SIGTERM


def test_without_a_database_and_without_the_embedded_one_it_says_what_to_install(
    installation: Path, elsewhere: Path
) -> None:
    environment = daemon_environment(None)
    del environment["PYTHONPATH"]
    ended = subprocess.run(
        [installation / "bin/twistd", "--nodaemon", "--pidfile=", "canvas-collab"],
        cwd=elsewhere,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    assert ended.returncode == 1
    [sentence] = ended.stdout.splitlines()
    assert sentence.startswith("canvas-collab cannot start: Set DATABASE_URL, or install the embedded database")
