"""The context of the commands: the settings, the database, and the stored documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import click
from attrs import field, frozen

from canvas_collab.cli.errors import CommandError
from canvas_collab.cli.repository import DocumentRepository, open_repository
from canvas_collab.config.settings import Settings
from canvas_collab.development import start_embedded_database


@frozen
class Context:
    """What every command is given, as click's context object."""

    environment: Mapping[str, str] = field(repr=False)

    @property
    def settings(self) -> Settings:
        """The settings of the environment; those that only the daemon needs may be missing.

        :raises ConfigurationError: if a variable cannot be used.
        """
        return Settings.from_environment(self.environment, for_daemon=False)

    @contextmanager
    def database_url(self) -> Iterator[str]:
        """Give the URL of the database; without ``DATABASE_URL``, start the embedded one for as long as it is needed.

        :raises CommandError: if there is neither.
        """
        settings = self.settings
        if settings.database.url:
            yield settings.database.url
            return
        if not (settings.process.data_dir / "postgres").is_dir():
            raise CommandError("Set DATABASE_URL: there is no embedded database either.")
        settings, server = start_embedded_database(settings)
        try:
            yield settings.database.url
        finally:
            server.release()

    @contextmanager
    def repository(self) -> Iterator[DocumentRepository]:
        """Open the repository of stored documents."""
        with self.database_url() as url, open_repository(url, self.settings.database.schema) as repository:
            yield repository

    def room(self, name: str) -> str:
        """Return the name of a room, given that name or the id of a diagram."""
        return room_name(name, self.settings.routing.room_prefix)


def room_name(name: str, prefix: str) -> str:
    """Return the name of a room, given that name or the id of a diagram."""
    return name if name.startswith(prefix) else prefix + name


pass_context = click.make_pass_decorator(Context)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
