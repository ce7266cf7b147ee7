"""Blocking connections to PostgreSQL: for commands, and for the daemon before its reactor runs."""

from __future__ import annotations

import psycopg2
from psycopg2.extensions import connection as Connection

from canvas_collab.config.database_url import libpq_url
from canvas_collab.database.errors import UnsuitableDatabase

#: For how many seconds a connection is attempted.
CONNECT_TIMEOUT = 10


def connect(url: str, application_name: str, variable: str = "DATABASE_URL") -> Connection:
    """Connect to a database.

    :param variable: the setting or option with the URL, which the error names.
    :raises UnsuitableDatabase: if the database cannot be reached.
    """
    try:
        return psycopg2.connect(libpq_url(url), connect_timeout=CONNECT_TIMEOUT, application_name=application_name)
    except psycopg2.OperationalError as error:
        reason = " ".join(str(error).split())
        raise UnsuitableDatabase([f"The database of {variable} cannot be reached: {reason}"]) from error
