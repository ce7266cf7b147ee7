"""The command ``completion``: prints a script by which a shell completes the names of commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from canvas_collab.cli.group import cli

PROGRAM = "canvas-collab"

#: The variable by which click's scripts call the command; click derives it from the name in the same way.
VARIABLE = "_CANVAS_COLLAB_COMPLETE"


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script for SHELL that completes the names of commands and options with the tab key."""
    made = get_completion_class(shell)
    assert made is not None, "click has all of these"
    # The bash script of click needs version 4.4, which source() checks by running bash: it may be for another machine.
    completer = made(cli, {}, PROGRAM, VARIABLE)
    click.echo(completer.source_template % completer.source_vars())
