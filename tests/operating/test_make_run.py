"""``make run`` starts a daemon with an embedded database, and explains it if it cannot."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc, Text

from tests.support.checkouts import NOBODY, PYTHON, Run, environment, failure, write_script
from tests.support.daemons import PATIENCE


def run_snippet(run: Run, node: str, packages: Path, directory: Path) -> str:
    """Follow the printed instructions, with installed packages in place of npm; return what the program prints."""
    install, start = run.snippet_commands
    assert install[:2] == ["npm", "install"]
    modules = directory / "node_modules"
    modules.mkdir(exist_ok=True)
    for name in install[2:]:
        link = modules / name
        if not link.is_symlink():
            link.symlink_to(packages / "node_modules" / ("y-websocket-3" if name == "y-websocket" else name))
    (directory / run.snippet_file).write_text(run.snippet, encoding="utf-8")
    assert start[0] == "node"
    return subprocess.run(
        [node, *start[1:]], cwd=directory, check=True, stdout=subprocess.PIPE, text=True, timeout=PATIENCE
    ).stdout


def test_the_printed_instructions_work_and_documents_are_kept_until_the_next_run(
    checkout: Path, node_path: Path, node_executable: str
) -> None:
    with Run(checkout) as run:
        with urllib.request.urlopen(run.url("Health"), timeout=10) as response:
            assert response.status == 200
        assert run_snippet(run, node_executable, node_path, checkout) == "The viewer sees: Hello! \n"
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
        assert run_snippet(run, node_executable, node_path, checkout) == "The viewer sees: Hello! Hello! \n"
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
