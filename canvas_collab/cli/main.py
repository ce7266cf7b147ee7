"""The entry point of ``canvas-collab``: importing a module of commands adds them to the group."""

from __future__ import annotations

import sys

from canvas_collab.cli import backup, completion, control, edit, import_all, inspect, rebuild
from canvas_collab.cli.doctor import command as doctor
from canvas_collab.cli.group import cli

__all__ = ["backup", "cli", "completion", "control", "doctor", "edit", "import_all", "inspect", "main", "rebuild"]


def main() -> None:
    """Run the command that ``sys.argv`` names, and exit with its status."""
    sys.exit(cli(prog_name="canvas-collab"))
