"""URLs of databases: those that applications use, and what is wrong with others."""

from __future__ import annotations

import pytest
from psycopg2.extensions import parse_dsn

from canvas_collab.config.database_url import application_schema, database_url, libpq_url
from canvas_collab.config.settings import ConfigurationError, Settings


@pytest.mark.parametrize(
    ("written", "password"),
    [
        ("secret", "secret"),
        ("50%off", "50%off"),
        ("100%", "100%"),
        ("p%40ss", "p@ss"),
        ("p@ss", "p@ss"),
        ("p@ss:w@rd", "p@ss:w@rd"),
        ("p#ss", "p#ss"),
        ("p/ss", "p/ss"),
        ("12/ss", "12/ss"),
        ("p?ss", "p?ss"),
        ("p?a=b&c@d", "p?a=b&c@d"),
        ("%@#/?:", "%@#/?:"),
        ("p%25 s", "p% s"),
        ("päss", "päss"),
        ("[p]", "[p]"),
    ],
)
def test_a_password_may_have_any_characters(written: str, password: str) -> None:
    url = database_url(f"postgresql://app:{written}@db.example.com:5433/app?sslmode=require")
    assert parse_dsn(libpq_url(url)) == {
        "user": "app",
        "password": password,
        "host": "db.example.com",
        "port": "5433",
        "dbname": "app",
        "sslmode": "require",
    }


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgres:///app",
        "postgresql://app@db/app",
        "postgresql://app@/app?host=/run/postgresql",
        "postgresql://app:secret@[::1]:5432/app",
        "postgresql://app@one:5432,two:5433/app?target_session_attrs=read-write",
        "postgresql://%2Frun%2Fpostgresql/app",
        "postgresql://db/app?user=app@example.com&password=p%40ss",
    ],
)
def test_a_url_that_libpq_reads_stays_as_it_is(url: str) -> None:
    assert database_url(url) == libpq_url(url) == url
    assert application_schema(url) is None


def test_parameters_of_other_clients_are_not_passed_to_libpq() -> None:
    url = database_url("postgresql://app@db/app?schema=drawing%20app&connection_limit=5&sslmode=require&pgbouncer=true")
    assert libpq_url(url) == "postgresql://app@db/app?sslmode=require"
    assert application_schema(url) == "drawing app"
    assert libpq_url(database_url("postgresql://app@db/app?schema=public")) == "postgresql://app@db/app"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://app@db/app", "must be a URL that begins with postgresql://"),
        ("postgresql://app:secret@db/app?sslaccept=strict&x=1", "has the parameter sslaccept, x, which"),
        ("postgresql://app:secret@db:port/app", "must be a URL such as postgresql://user:password@host:5432/name"),
        ("postgresql://app:1?secret=x&y@db:port/app", "must be a URL such as"),
        ("postgresql://app:secret@[::1/app", "must be a URL such as"),
        ("postgresql://50%@db/app", "must be a URL such as"),
    ],
)
def test_any_other_url_is_a_problem_that_names_the_variable_and_not_the_password(url: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment({"DATABASE_URL": url, "BETTER_AUTH_SECRET": "x" * 32})
    [problem] = caught.value.problems
    assert problem.startswith(f"DATABASE_URL {sentence}")
    assert "secret" not in problem
