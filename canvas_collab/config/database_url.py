"""URLs of PostgreSQL databases, as applications write them.

Applications in JavaScript use the same variable ``DATABASE_URL``.  Their clients accept passwords with characters that
a URL must have percent-encoded, and parameters that libpq does not know.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote, unquote

import psycopg2
from psycopg2.extensions import parse_dsn

#: Parameters of Prisma and of node-postgres about their own pools and caches: they mean nothing to the daemon.
IGNORED_PARAMETERS = frozenset(
    {
        "connection_limit",
        "max_connection_lifetime",
        "max_idle_connection_lifetime",
        "pgbouncer",
        "pool_timeout",
        "single_use_connections",
        "socket_timeout",
        "statement_cache_size",
        "uselibpqcompat",
    }
)

_SHAPE = "must be a URL such as postgresql://user:password@host:5432/name"
_ENCODE = "with %25, %40, %23, %2F and %3F for the characters % @ # / ? in the password"

#: A user name, a password that may contain anything, and what follows the last ``@``.
_WITH_PASSWORD = re.compile(r"(?P<scheme>\w+://)(?P<user>[^:@/?#]*):(?P<password>.*)@(?P<rest>[^@]*)", re.DOTALL)

#: Hosts with their ports, or a user, a password and those.
_HOST = r"(?:\[[^\]@]*\]|[^:@\[\]#,]*)(?::\d*)?"
_AUTHORITY = re.compile(rf"(?:[^@]*@)?{_HOST}(?:,{_HOST})*")


def database_url(value: str) -> str:
    """Return the URL of a PostgreSQL database, with the characters of the password encoded where that is necessary.

    :raises ValueError: with what it must be.  The text has no part of the password.
    """
    if not value.lower().startswith(("postgres://", "postgresql://")):
        raise ValueError("must be a URL that begins with postgresql://")
    problem = ""
    for candidate in (value, _with_encoded_password(value)):
        # Only of the last one: what looks like a parameter in the text as it is may be a part of the password.
        problem = f"{_SHAPE}, {_ENCODE}"
        if not _AUTHORITY.fullmatch(re.split(r"[/?]", candidate.partition("://")[2], maxsplit=1)[0]):
            continue
        if unknown := _select_parameters(candidate, lambda name: name != "schema" and not _is_known(name)):
            names = ", ".join(part.partition("=")[0] for part in unknown)
            problem = f"has the parameter {names}, which PostgreSQL's client library does not know: remove it"
        elif _is_readable(candidate):
            return candidate
    raise ValueError(problem)


def libpq_url(url: str) -> str:
    """Return a URL without the parameters that libpq does not know."""
    base = url.partition("?")[0]
    known = _select_parameters(url, lambda name: name not in IGNORED_PARAMETERS and name != "schema")
    return f"{base}?{'&'.join(known)}" if known else base


def application_schema(url: str) -> str | None:
    """Return the schema of the application's tables that Prisma's parameter ``schema`` names, or None."""
    [*_, last] = ["", *_select_parameters(url, lambda name: name == "schema")]
    return unquote(last.partition("=")[2]) or None


def _select_parameters(url: str, is_selected: Callable[[str], bool]) -> list[str]:
    """Return the ``name=value`` parts of a URL's query whose names are selected."""
    parts = url.partition("?")[2].split("&")
    return [part for part in parts if part and is_selected(part.partition("=")[0])]


def _is_known(name: str) -> bool:
    if name in IGNORED_PARAMETERS:
        return True
    try:
        parse_dsn(f"postgresql://?{name}={'true' if name == 'ssl' else ''}")
    except psycopg2.Error:
        return False
    return True


def _with_encoded_password(url: str) -> str:
    match = _WITH_PASSWORD.fullmatch(url)
    if match is None:
        return url
    # What is encoded already stays as it is: unquote leaves a % that encodes nothing.
    password = quote(unquote(match["password"]), safe="")
    return f"{match['scheme']}{match['user']}:{password}@{match['rest']}"


def _is_readable(url: str) -> bool:
    try:
        parts = parse_dsn(libpq_url(url))
    except psycopg2.Error:
        return False
    return "@" not in parts.get("dbname", "")
