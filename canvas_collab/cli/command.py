"""The command itself: its settings, what all its parts share, and how it says that something is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
import psycopg2
from attrs import frozen

from canvas_collab import __version__
from canvas_collab.cli.archive import Archive, NoSuchThing, open_archive
from canvas_collab.config import ConfigurationError, Settings
from canvas_collab.database.catalogue import Unsuitable
from canvas_collab.development import DevelopmentError, start_embedded_database
from canvas_collab.document.budget import TooMuchWork


@frozen
class Context:
    """What a command works with."""

    settings: Settings

    @contextmanager
    def database_url(self) -> Iterator[str]:
        """The database's URL; without ``DATABASE_URL``, in development, that of the embedded one.

        :raises NoSuchThing: if there is none.
        """
        if self.settings.database_url:
            yield self.settings.database_url
            return
        if not (self.settings.data_dir / "postgres").is_dir():
            raise NoSuchThing("Set DATABASE_URL: there is no embedded database here either.")
        settings, service = start_embedded_database(self.settings)
        try:
            yield settings.database_url
        finally:
            service.stopService()

    @contextmanager
    def archive(self) -> Iterator[Archive]:
        """The stored documents."""
        with self.database_url() as url, open_archive(url) as archive:
            yield archive

    def room(self, name: str) -> str:
        """The room that a name stands for: a room's name, or the id of a diagram."""
        prefix = self.settings.room_prefix
        return name if name.startswith(prefix) else prefix + name


pass_context = click.make_pass_decorator(Context)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class _Group(click.Group):
    """Says in a sentence what is wrong, and ends with the status 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (Unsuitable, ConfigurationError) as error:
            raise click.ClickException("\n".join(error.problems)) from error
        except TooMuchWork as error:
            raise click.ClickException(f"It is too much: {error}. `rebuild` can take it out.") from error
        except (NoSuchThing, DevelopmentError) as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            raise click.ClickException(f"{error.filename or 'A file'}: {error.strerror or error}.") from error
        except psycopg2.Error as error:
            raise click.ClickException(f"The database says: {' '.join(str(error).split())}") from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="canvas-collab")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Look after the documents of Canvas Collab.

    The settings are those of the daemon, from the environment: DATABASE_URL above all. A ROOM is a room's name, such as
    diagram-42, or just the id of the diagram. Everything here is safe beside a running daemon.
    """
    ctx.obj = Context(Settings.from_environment(os.environ))


def main() -> None:
    """Run it."""
    from canvas_collab.cli import backups, changing, looking, rebuilding

    for module in (looking, changing, rebuilding, backups):
        for command in module.COMMANDS:
            cli.add_command(command)
    sys.exit(cli(prog_name="canvas-collab"))
