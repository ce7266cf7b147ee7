"""The command group ``canvas-collab``; each command is added to it by its decorator."""

from __future__ import annotations

import os

import click
import psycopg2

from canvas_collab import __version__, compilation
from canvas_collab.cli.context import Context
from canvas_collab.cli.errors import CommandError
from canvas_collab.config.settings import ConfigurationError
from canvas_collab.database.errors import UnsuitableDatabase
from canvas_collab.development import DevelopmentError
from canvas_collab.document.budget import BudgetExceeded


class _Group(click.Group):
    """A group whose commands end with a sentence and the status 1 on expected errors."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; turn expected errors into messages without a traceback."""
        try:
            return super().invoke(ctx)
        except (UnsuitableDatabase, ConfigurationError) as error:
            raise click.ClickException("\n".join(error.problems)) from error
        except BudgetExceeded as error:
            raise click.ClickException(
                f"The document takes too much work: {error}. `rebuild` can remove the cause."
            ) from error
        except (CommandError, DevelopmentError) as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            raise click.ClickException(f"{error.filename or 'A file'}: {error.strerror or error}.") from error
        except psycopg2.Error as error:
            raise click.ClickException(f"PostgreSQL: {' '.join(str(error).split())}") from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message=f"canvas-collab, version %(version)s, {compilation.description()}")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Look after the documents of Canvas Collab.

    The settings are those of the daemon, from the environment: DATABASE_URL above all. A ROOM is a room's name, such as
    diagram-42, or just the id of the diagram. Everything here is safe beside a running daemon.
    """
    ctx.obj = Context(os.environ)
