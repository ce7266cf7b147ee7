"""``make run`` starts a daemon with an embedded database, and explains it if it cannot.

The checkouts here are made of links to this one, and their virtual environments lead to the Python that runs the tests,
so that nothing has to be installed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pycrdt import Doc, Text

from tests.support.clients import Client
from tests.support.daemons import PATIENCE, ROOT, daemon_environment
from tests.support.databases import User

NOBODY = 65534

#: The Python that runs the tests, quoted for a shell.
PYTHON = shlex.quote(sys.executable)


@pytest.fixture
def directory() -> Iterator[Path]:
    """An empty directory that other users can access, as the embedded database does when root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="checkout-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
def empty_checkout(directory: Path) -> Path:
    """The files of a checkout that `make` needs before it has made a virtual environment."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, directory)
    return directory


@pytest.fixture
def checkout(empty_checkout: Path) -> Path:
    """A checkout in which everything is installed."""
    for name in ("canvas_collab", "sql", "tests", "twisted"):
        (empty_checkout / name).symlink_to(ROOT / name)
    write_script(empty_checkout / ".venv/bin/twistd", f'exec {PYTHON} -m tests.support.twistd "$@"')
    for stamp in (".created", ".run"):
        (empty_checkout / ".venv" / stamp).touch()
    return empty_checkout


def write_script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def environment(**settings: object) -> dict[str, str]:
    """Return the environment variables of a developer who has set nothing but these, with free ports."""
    return daemon_environment(None, BETTER_AUTH_SECRET="", BETTER_AUTH_URL="", **settings)


def failure(directory: Path, *arguments: str, user: int | None = None, **settings: object) -> str:
    """Run `make`, which must fail; return its output without its own last line."""
    ended = subprocess.run(
        ["make", *arguments],
        cwd=directory,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=4 * PATIENCE,
        user=user,
    )
    assert ended.returncode, ended.stdout
    assert "Traceback" not in ended.stdout
    output = [line for line in ended.stdout.splitlines() if not line.startswith("make")]
    return "\n".join(output)


class Run:
    """A ``make run`` as in a terminal; creating one waits until the daemon serves."""

    def __init__(self, checkout: Path, **settings: object) -> None:
        self._environment = environment(**settings)
        self._output = checkout / "output"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                ["make", "run"],
                cwd=checkout,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait(lambda: "provider.once" in self.output)
        except BaseException:
            self.interrupt()
            raise

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_error: object) -> None:
        self.interrupt()

    @property
    def output(self) -> str:
        return self._output.read_text(encoding="utf-8")

    @property
    def tokens(self) -> dict[str, str]:
        """The printed tokens, by the roles of their users."""
        return dict(re.findall(r"\((\w+)\)  token (\S+)", self.output))

    @property
    def snippet(self) -> str:
        """The printed JavaScript."""
        lines = self.output.splitlines()
        start = next(number for number, line in enumerate(lines) if line.startswith("  import"))
        end = next(number for number in range(start, len(lines)) if not lines[number].strip())
        return "\n".join(line.removeprefix("  ") for line in lines[start:end]) + "\n"

    def url(self, what: str) -> str:
        """Return a printed URL."""
        found = re.search(rf"^  {what} +(\S+)$", self.output, re.MULTILINE)
        assert found, self.output
        return found[1]

    def connect(self, role: str) -> Client:
        """Connect as the demo user with that role to the demo diagram."""
        server, _, room = self.url("WebSocket").rpartition("/diagram-")
        return Client(SimpleNamespace(ws_url=server), room, User("", role, self.tokens[role]))

    def interrupt(self) -> None:
        """Press Ctrl-C, and wait for the end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGINT)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            raise

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 2 * PATIENCE
        while not condition():
            assert self._process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            # Nothing announces writes to a file.
            threading.Event().wait(0.05)


def run_snippet(node: str, packages: Path, directory: Path, snippet: str) -> str:
    """Run the snippet with the packages that it asks for, and return the first line that it prints."""
    modules = directory / "node_modules"
    modules.mkdir(exist_ok=True)
    for name, installed in (("yjs", "yjs"), ("ws", "ws"), ("y-websocket", "y-websocket-3")):
        link = modules / name
        if not link.is_symlink():
            link.symlink_to(packages / "node_modules" / installed)
    program = directory / "snippet.mjs"
    program.write_text(snippet, encoding="utf-8")
    with subprocess.Popen([node, program], stdout=subprocess.PIPE, text=True) as running:
        timer = threading.Timer(PATIENCE, running.kill)
        timer.start()
        try:
            assert running.stdout is not None
            return running.stdout.readline()
        finally:
            timer.cancel()
            running.kill()


def test_the_printed_instructions_work_and_documents_are_kept_until_the_next_run(
    checkout: Path, node_path: Path, node_executable: str
) -> None:
    with Run(checkout) as run:
        with urllib.request.urlopen(run.url("Health"), timeout=10) as response:
            assert response.status == 200
        assert run_snippet(node_executable, node_path, checkout, run.snippet) == "Hello! \n"
        with run.connect("editor") as editor, run.connect("viewer") as viewer:
            drawing: Doc[Any] = Doc()
            drawing["text"] = Text("drawn")
            editor.edit(drawing.get_update())
            viewer.wait_for("drawn")
        tokens = run.tokens
    began = time.monotonic()
    with Run(checkout) as run:
        assert time.monotonic() - began < 10
        assert run.tokens == tokens
        assert run_snippet(node_executable, node_path, checkout, run.snippet) == "Hello! Hello! \n"
        with run.connect("viewer") as viewer:
            assert viewer.text == "drawn"


@pytest.mark.parametrize("what", ["WS_PORT", "HEALTH_PORT"])
def test_a_busy_port_is_one_sentence(checkout: Path, what: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        output = failure(checkout, "run", **{what: port})
    assert f"{what}: nothing can listen on 127.0.0.1 port {port}" in output
    assert not (checkout / ".canvas-collab").exists()


def test_a_data_directory_that_cannot_be_written_is_one_sentence(checkout: Path) -> None:
    output = failure(checkout, "run", DATA_DIR="/dev/null/data")
    assert "DATA_DIR, /dev/null/data, cannot be used" in output


def test_a_checkout_that_cannot_be_written_is_one_sentence(empty_checkout: Path) -> None:
    python = write_script(empty_checkout / "python", "exit 0")
    empty_checkout.chmod(0o555)
    # Permissions do not restrict root.
    user = NOBODY if os.geteuid() == 0 else None
    output = failure(empty_checkout, "run", f"PYTHON={python}", user=user)
    assert output == (
        f"The directory {empty_checkout} cannot be written: change its permissions, or work in a copy of this one."
    )


def test_without_a_python_that_is_new_enough_there_is_one_sentence(empty_checkout: Path) -> None:
    old = write_script(empty_checkout / "old", "exit 1")
    output = failure(empty_checkout, "run", f"PYTHON={old} no-such-python")
    assert output == (
        f"Canvas Collab needs Python 3.10 or newer, and there is none among: {old} no-such-python. "
        "Name one: make PYTHON=/path/to/python3"
    )
    assert not (empty_checkout / ".venv").exists()


def test_without_the_venv_module_there_is_one_sentence(empty_checkout: Path) -> None:
    bare = write_script(empty_checkout / "bare", f'case "$*" in *ensurepip*) exit 1 ;; esac; exec {PYTHON} "$@"')
    output = failure(empty_checkout, "run", f"PYTHON={bare}")
    assert output == (
        f"{bare} cannot make virtual environments: install its venv module "
        "(on Debian and Ubuntu the package python3-venv)."
    )


def test_the_first_python_that_is_new_enough_makes_the_virtual_environment(empty_checkout: Path) -> None:
    old = write_script(empty_checkout / "old", "exit 1")
    good = write_script(empty_checkout / "good", f'exec {PYTHON} "$@"')
    subprocess.run(
        ["make", f"PYTHON={old} {good}", ".venv/.created"],
        cwd=empty_checkout,
        env=environment(),
        check=True,
        timeout=4 * PATIENCE,
    )
    version = subprocess.run(
        [empty_checkout / ".venv/bin/python", "-c", "import sys; print(sys.version)"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    assert version.strip() == sys.version


def test_a_file_of_settings_is_read_and_the_environment_counts_more(checkout: Path) -> None:
    write_script(checkout / ".venv/bin/twistd", 'echo "$LOG_LEVEL, $BETTER_AUTH_URL, $ROOM_PREFIX"')
    (checkout / ".env").write_text('LOG_LEVEL=warn\nROOM_PREFIX="a room"\n#WS_PORT=1\n', encoding="utf-8")
    shown = subprocess.run(
        ["make", "run"],
        cwd=checkout,
        env={**environment(LOG_LEVEL="debug"), "BETTER_AUTH_URL": "http://it's"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
    ).stdout
    assert shown == "debug, http://it's, a room\n"
