"""Checks of the connection to PostgreSQL, and of the server."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from canvas_collab.cli.doctor.finding import Finding, ok, problem, warning
from canvas_collab.config.database_url import libpq_url
from canvas_collab.database.schemas import Schemas, find_schemas

#: The oldest major version that the migrations can be applied to, and the oldest that PostgreSQL's authors maintain.
OLDEST_VERSION = 12
OLDEST_MAINTAINED = 14

#: How far the clocks of this machine and of the database may be apart, in seconds.
MAX_CLOCK_SKEW = 2.0

#: How many connections the daemon makes besides those of its pool: one appends to the log, and one listens.
CONNECTIONS_OUTSIDE_POOL = 2

_ESCAPE = "Percent-encode what is special in the user name or password: %40 for @, %23 for #, %2F for /, %25 for %."

#: What PostgreSQL or libpq says, and what to do about it.
_REMEDIES = (
    (r"password authentication failed", f"Correct the password in DATABASE_URL. {_ESCAPE}"),
    (r"no password supplied", "Add the password to DATABASE_URL: postgresql://user:password@host/name."),
    (r"Peer authentication failed", "Connect over TCP (host 127.0.0.1) with a password, or as the same system user."),
    (r"database .* does not exist", "Correct the name at the end of DATABASE_URL; `psql -l` lists the databases."),
    (
        r"role .* does not exist",
        "Create the role, or correct the user name in DATABASE_URL; `\\du` in psql lists roles.",
    ),
    (r"could not translate host name", f"Correct the host in DATABASE_URL. {_ESCAPE}"),
    (r"connection refused", "Start PostgreSQL, or correct host and port in DATABASE_URL."),
    (r"no such file or directory", "Start PostgreSQL, or correct the directory of its socket in DATABASE_URL."),
    (r"invalid (integer value|port)", _ESCAPE),
    (r"timeout expired|timed out", "Check the firewall between this machine and the database, and the host's address."),
    (r"no pg_hba\.conf entry", "Allow this machine and role in pg_hba.conf; if it demands TLS, add ?sslmode=require."),
    (r"does not support SSL", "Remove sslmode from DATABASE_URL, or turn on ssl in postgresql.conf."),
    (r"certificate", "Set sslrootcert in DATABASE_URL to the certificate of the database's authority."),
    (r"too many (clients|connections)|connection slots", "Raise max_connections of PostgreSQL, or end other clients."),
    (r"starting up|shutting down", "Wait until PostgreSQL has started."),
)


def connect(url: str) -> tuple[Connection | None, Finding]:
    """Connect to the database, in autocommit mode; return None for the connection if that fails."""
    check = "database"
    try:
        connection = psycopg2.connect(libpq_url(url), connect_timeout=10, application_name="canvas-collab doctor")
    except psycopg2.OperationalError as error:
        reason = " ".join(str(error).split())
        remedy = next((each for pattern, each in _REMEDIES if re.search(pattern, reason, re.IGNORECASE)), None)
        return None, problem(
            check,
            f"The database cannot be reached: {without_password(reason, url)}.",
            remedy or 'Correct DATABASE_URL until `psql "$DATABASE_URL"` connects.',
        )
    except psycopg2.Error:
        # libpq quotes the URL, or a part of it.
        return None, problem(check, "DATABASE_URL is not a valid URL of a database.", _ESCAPE)
    connection.autocommit = True
    return connection, ok(check, f"The database {connection.info.dbname} can be reached as {connection.info.user}.")


def use_schemas(connection: Connection, url: str, preferred: str) -> Schemas:
    """Return the schemas of the tables, and look tables up in these from now on.

    :raises UnsuitableDatabase: if it cannot be told which schema is the daemon's.
    """
    schemas = find_schemas(connection, url, preferred)
    path = sql.SQL(", ").join(map(sql.Identifier, schemas.for_migrations))
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("SET search_path = {}").format(path))
    return schemas


def without_password(reason: str, url: str) -> str:
    """Return an error's text, or a substitute if it has a part of the password in a URL."""
    # A password with an unescaped "@" ends at the last one.
    password = url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    parts = [part for part in re.split(r"[^A-Za-z0-9]+", password) if len(part) >= 3]
    if any(part in reason for part in parts):
        return "the reason is not shown, since it has a part of the password"
    return reason.rstrip(".")


def rows(connection: Connection, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Run a statement, and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def check_server(connection: Connection, pool_size: int) -> Iterator[Finding]:
    """Check the server's version and settings, and whether it accepts as many connections as the daemon makes."""
    check = "server"
    yield version_finding(connection.server_version)
    [(encoding, standby, read_only, fsync, commit, limit)] = rows(
        connection,
        """
        SELECT current_setting('server_encoding'), pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
               current_setting('fsync'), current_setting('synchronous_commit'),
               (SELECT min(number) FROM (
                    SELECT rolconnlimit AS number FROM pg_roles WHERE rolname = current_user
                    UNION ALL SELECT datconnlimit FROM pg_database WHERE datname = current_database()
                    UNION ALL SELECT current_setting('max_connections')::integer
                ) AS limits WHERE number >= 0)
        """,
    )
    if encoding != "UTF8":
        yield problem(
            check,
            f"The database's encoding is {encoding}: names and documents cannot be stored in it.",
            "Move the application to a database that was created with ENCODING 'UTF8'.",
        )
    if standby or read_only:
        yield problem(
            check,
            "The database is a standby server." if standby else "Transactions of this role are read-only by default.",
            "Let DATABASE_URL lead to the primary server (several hosts and target_session_attrs=read-write)."
            if standby
            else "Run `ALTER ROLE … RESET default_transaction_read_only`, and likewise for the database.",
        )
    if "off" in (fsync, commit):
        yield warning(
            check,
            f"PostgreSQL has fsync={fsync} and synchronous_commit={commit}: saved edits may be lost when it fails.",
            "Set both to on, in postgresql.conf or for the role.",
        )
    needed = pool_size + CONNECTIONS_OUTSIDE_POOL
    if isinstance(limit, int) and limit < needed:
        yield problem(
            check,
            f"The role, the database or the server accepts {limit} connections, and the daemon makes {needed}.",
            "Raise the limit (ALTER ROLE … CONNECTION LIMIT), or lower DATABASE_POOL_SIZE.",
        )


def version_finding(number: int) -> Finding:
    """Return a finding for a version, as libpq has it: 160004 is 16.4."""
    major = number // 10_000
    if major < OLDEST_VERSION:
        return problem(
            "server", f"PostgreSQL {major} is too old.", f"Upgrade the server to {OLDEST_MAINTAINED} or newer."
        )
    if major < OLDEST_MAINTAINED:
        return warning(
            "server", f"PostgreSQL {major} gets no fixes any more.", f"Upgrade to {OLDEST_MAINTAINED} or newer."
        )
    return ok("server", f"The server is PostgreSQL {major}.")


def check_pooler(url: str) -> Finding:
    """Check whether there is a connection pooler that runs each transaction on another connection.

    Such a pooler lends the server's connection that an idle client has used last to the next one.
    """
    first, second = (psycopg2.connect(libpq_url(url), connect_timeout=10) for _ in range(2))
    try:
        first.autocommit = True
        [(before,)] = rows(first, "SELECT pg_backend_pid()")
        [(other,)] = rows(second, "SELECT pg_backend_pid()")
        [(after,)] = rows(first, "SELECT pg_backend_pid()")
        has_pooler = first.info.backend_pid != before
    finally:
        first.close()
        second.close()
    if before == other or before != after:
        return warning(
            "pooler",
            "There is a connection pooler in transaction mode: no notifications arrive, and the daemon polls instead.",
            "Set DATABASE_LISTEN_URL to a direct connection: docs/operating.md, Connection poolers.",
        )
    return ok("pooler", "There is a connection pooler in session mode." if has_pooler else "There is no pooler.")


def check_clock(connection: Connection) -> Finding:
    """Compare the clocks of this machine and of the database."""
    before = time.time()
    [(there,)] = rows(connection, "SELECT extract(epoch FROM clock_timestamp())::float8")
    after = time.time()
    assert isinstance(there, float), "the cast makes it one"
    return clock_finding(max(before - there, there - after, 0))


def clock_finding(skew: float) -> Finding:
    """Return a finding for clocks that are `skew` seconds apart."""
    if skew > MAX_CLOCK_SKEW:
        return warning(
            "clock",
            f"The clocks of this machine and of the database are {skew:.0f} s apart: times in logs and history differ.",
            "Run chrony or systemd-timesyncd on both.",
        )
    return ok("clock", "The clocks of this machine and of the database agree.")
