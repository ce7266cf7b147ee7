"""The command ``doctor``: runs the checks in order, and prints what they found."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator

import attrs
import click
import psycopg2
from psycopg2.extensions import connection as Connection

from canvas_collab.cli.context import Context, as_json, pass_context, room_name
from canvas_collab.cli.doctor import access, database, environment, machine, plans, public_url, schema, server
from canvas_collab.cli.doctor.finding import Finding, Level, ok, problem
from canvas_collab.cli.formatting import plural
from canvas_collab.cli.group import cli
from canvas_collab.config.settings import Settings
from canvas_collab.database.errors import UnsuitableDatabase
from canvas_collab.database.schemas import Schemas

#: How many characters of a pasted cookie or token are read.
MAX_PASTED = 16 * 1024

_MARKS = {Level.OK: "ok", Level.WARNING: "warning", Level.PROBLEM: "PROBLEM"}


@cli.command()
@click.option("--cookie", is_flag=True, help="Check a session cookie or token, asked for or read from standard input.")
@click.option("--user", metavar="ID", help="Check the role of this user; default: the user of --cookie.")
@click.option("--room", help="The room, or the id of the diagram, for --user and --cookie.")
@click.option("--url", help="Check the URL that clients connect to, such as wss://app.example.com/collab.")
@as_json
@pass_context
def doctor(context: Context, cookie: bool, user: str | None, room: str | None, url: str | None, as_json: bool) -> None:
    """Check the deployment: settings, database, rights, sessions, roles, ports, proxy, clock, files and disk.

    Each finding says what is wrong and what to do. The exit status is 1 if there is a problem. Nothing is changed.
    """
    pasted = _read_pasted() if cookie else ""
    findings = []
    for finding in _all_findings(context, pasted, user, room, url):
        findings.append(finding)
        if not as_json:
            _print(finding)
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    if as_json:
        listed = [{**attrs.asdict(finding), "level": finding.level.value} for finding in findings]
        click.echo(json.dumps({"problems": counts[Level.PROBLEM], "findings": listed}, indent=2))
    else:
        problems = plural(counts[Level.PROBLEM], "problem", "problems")
        click.echo(f"\n{problems}, {plural(counts[Level.WARNING], 'warning', 'warnings')}.")
    if counts[Level.PROBLEM]:
        sys.exit(1)


def _read_pasted() -> str:
    """Return what was pasted, which is neither shown nor in the history of the shell."""
    if sys.stdin.isatty():
        return str(click.prompt("Cookie or token", hide_input=True, err=True))
    return sys.stdin.read(MAX_PASTED)


def _print(finding: Finding) -> None:
    color = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}[finding.level]
    click.echo(f"{click.style(f'{_MARKS[finding.level]:<9}', fg=color)} {finding.check}: {finding.text}")
    if finding.remedy:
        click.echo(f"          {finding.remedy}")


def _all_findings(
    context: Context, pasted: str, user: str | None, room: str | None, url: str | None
) -> Iterator[Finding]:
    settings, _ = Settings.read(context.environment)
    yield from environment.check_environment(context.environment)
    name = room_name(room, settings.routing.room_prefix) if room else None
    token = None
    if pasted:
        token, found = access.check_signature(settings.auth, pasted)
        yield found
    if settings.database.url:
        yield from _database_findings(settings, token, user, name)
    else:
        yield ok("database", "Without DATABASE_URL the daemon has its embedded database, which is not checked.")
    for check in (
        lambda: server.check_ports(settings.listen, settings.routing),
        lambda: server.check_daemon(settings.listen),
        lambda: [machine.check_open_files(settings.websocket.max_connections)],
        # With DATABASE_URL there is no embedded database, and nothing is written to DATA_DIR.
        lambda: [] if settings.database.url else [machine.check_disk(settings.process.data_dir)],
    ):
        yield from _guarded(check)
    if url:
        yield from _guarded(
            lambda: public_url.check_public_url(
                url, settings.routing, settings.websocket.trusted_proxies, name or "", token or ""
            )
        )


def _database_findings(settings: Settings, token: str | None, user: str | None, room: str | None) -> Iterator[Finding]:
    connection, found = database.connect(settings.database.url)
    yield found
    if connection is None:
        return
    try:
        try:
            schemas = database.use_schemas(connection, settings.database.url, settings.database.schema)
        except UnsuitableDatabase as error:
            yield from (problem("schema", text, "Set DATABASE_SCHEMA to the right one.") for text in error.problems)
            return
        for check in (
            lambda: database.check_server(connection, settings.database.pool_size),
            lambda: [database.check_pooler(settings.database.url)],
            lambda: [database.check_clock(connection)],
            lambda: schema.check_auth_tables(connection, schemas),
            lambda: [schema.check_migrations(connection, schemas, settings.database.migrate)],
            lambda: schema.check_rights(connection, schemas),
            lambda: plans.check_plans(connection, schemas),
        ):
            yield from _guarded(check)
        yield from _guarded(
            lambda: _access_findings(connection, schemas, settings.routing.room_prefix, token, user, room)
        )
    finally:
        connection.close()


def _access_findings(
    connection: Connection, schemas: Schemas, prefix: str, token: str | None, user: str | None, room: str | None
) -> Iterator[Finding]:
    catalogue, findings = schema.check_access_view(connection, schemas)
    yield from findings
    if catalogue is None:
        return
    if token is not None:
        owner, found = access.check_session(connection, catalogue, token)
        yield found
        user = user or owner
    if user and room:
        yield access.check_role(connection, catalogue, prefix, user, room)


def _guarded(check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Run a check; what stops it is a problem as well."""
    try:
        yield from check()
    except (psycopg2.Error, OSError) as error:
        primary = error.diag.message_primary if isinstance(error, psycopg2.Error) else str(error)
        reason = " ".join((primary or str(error)).split())
        yield problem("checks", f"A check could not be made: {reason}.", "Solve the problems above, and run it again.")
