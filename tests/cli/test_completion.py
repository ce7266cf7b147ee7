"""Completion by the tab key, in the shells that are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import run
from tests.support.daemons import ROOT


def completed(*words: str) -> set[str]:
    """Return what a shell would be offered for the last of these words."""
    done = run(_CANVAS_COLLAB_COMPLETE="bash_complete", COMP_WORDS=" ".join(words), COMP_CWORD=str(len(words) - 1))
    return {line.partition(",")[2] for line in done.stdout.decode().splitlines()}


def test_commands_and_options_are_completed_without_any_setting() -> None:
    assert {"repair", "restore", "restore-backup", "rebuild"} <= completed("canvas-collab", "re")
    assert {"--cookie", "--url"} <= completed("canvas-collab", "doctor", "--")
    assert completed("canvas-collab", "completion", "z") == {"zsh"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_valid_and_names_the_command(shell: str, tmp_path: Path) -> None:
    done = run("completion", shell)
    script = done.stdout.decode()
    assert done.returncode == 0
    assert "canvas-collab" in script
    assert "_CANVAS_COLLAB_COMPLETE" in script
    if executable := shutil.which(shell):
        path = tmp_path / "script"
        path.write_text(script)
        subprocess.run([executable, "-n", path], check=True)


def test_bash_completes_with_the_script(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    command = tmp_path / "canvas-collab"
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m canvas_collab "$@"\n')
    command.chmod(0o755)
    (tmp_path / "script").write_text(run("completion", "bash").stdout.decode())
    steps = (
        f'PATH="{tmp_path}:$PATH"; . "{tmp_path}/script"; COMP_WORDS=(canvas-collab dra); COMP_CWORD=1; '
        '_canvas_collab_completion canvas-collab; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run([bash, "--norc", "-c", steps], capture_output=True, text=True, timeout=60)
    assert done.stdout == "drain\n", done.stderr
