"""What every command works with: the settings and the stored documents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from attrs import frozen

from canvas_collab.cli.repository import DocumentRepository, NotFound, open_repository
from canvas_collab.config.settings import Settings
from canvas_collab.development import start_embedded_database


@frozen
class Context:
    """What a command works with."""

    settings: Settings

    @contextmanager
    def database_url(self) -> Iterator[str]:
        """The database's URL; without ``DATABASE_URL``, in development, that of the embedded one.

        :raises NoSuchThing: if there is none.
        """
        if self.settings.database.url:
            yield self.settings.database.url
            return
        if not (self.settings.process.data_dir / "postgres").is_dir():
            raise NotFound("Set DATABASE_URL: there is no embedded database here either.")
        settings, service = start_embedded_database(self.settings)
        try:
            yield settings.database.url
        finally:
            service.stopService()

    @contextmanager
    def archive(self) -> Iterator[DocumentRepository]:
        """The stored documents."""
        with self.database_url() as url, open_repository(url) as archive:
            yield archive

    def room(self, name: str) -> str:
        """The room that a name stands for: a room's name, or the id of a diagram."""
        prefix = self.settings.routing.room_prefix
        return name if name.startswith(prefix) else prefix + name


pass_context = click.make_pass_decorator(Context)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
