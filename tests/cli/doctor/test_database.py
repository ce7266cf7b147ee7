"""Misconfigurations of the environment, and of the database that it names; each is named with its remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from canvas_collab.cli.doctor.database import clock_finding, version_finding, without_password
from canvas_collab.cli.doctor.finding import Level
from tests.cli.doctor.conftest import Doctor, required
from tests.operating.test_database_rights import documented_grants
from tests.support.databases import SECRET, TestDatabase, User
from tests.support.pooler import PgBouncer, find_pgbouncer


@pytest.fixture
def role(database: TestDatabase) -> Iterator[Callable[..., str]]:
    """A function that creates the role "limited" by running statements, and returns its URL."""
    created = []

    def create(*statements: str) -> str:
        database.query("CREATE ROLE limited LOGIN")
        created.append(True)
        for statement in statements:
            database.query(statement)
        return database.url.replace("//postgres:", "//limited:", 1)

    yield create
    if created:
        database.query("DROP OWNED BY limited CASCADE; DROP ROLE limited")


ALL_RIGHTS = (
    "GRANT USAGE ON SCHEMA collab TO limited; "
    "GRANT ALL ON ALL TABLES IN SCHEMA public, collab TO limited; "
    "GRANT ALL ON ALL SEQUENCES IN SCHEMA public, collab TO limited"
)

# The environment


def test_a_setting_that_cannot_be_used_is_named(doctor: Doctor) -> None:
    found = doctor(HEALTH_PORT="http", SESSION_RECHECK=0)
    found.one("environment", "problem", "HEALTH_PORT must be a whole number", "docs/configuration.md")
    found.one("environment", "problem", "SESSION_RECHECK must be", "docs/configuration.md")


def test_a_misspelled_setting_is_named(doctor: Doctor) -> None:
    doctor(TRUSTED_PROXYS=1).one("environment", "warning", "TRUSTED_PROXYS is not a setting", "TRUSTED_PROXIES")


def test_a_missing_secret_and_url_are_named(doctor: Doctor) -> None:
    found = doctor(BETTER_AUTH_SECRET="", BETTER_AUTH_URL="")
    found.one("environment", "problem", "BETTER_AUTH_SECRET must be", "application's environment")
    found.one("environment", "problem", "BETTER_AUTH_URL must be", "https://app.example.com")


def test_a_secret_that_everybody_knows_is_a_problem(doctor: Doctor) -> None:
    secret = "better-auth-secret-12345678901234567890"
    doctor(BETTER_AUTH_SECRET=secret).one("environment", "problem", "everybody knows", "openssl rand")


def test_a_secret_with_quotation_marks_is_a_problem(doctor: Doctor) -> None:
    doctor(BETTER_AUTH_SECRET=f'"{SECRET}"').one("environment", "problem", "quotation mark", "Remove")


def test_a_file_with_a_secret_that_everybody_can_read_is_named(doctor: Doctor, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    path.chmod(0o644)
    found = doctor(BETTER_AUTH_SECRET="", BETTER_AUTH_SECRET_FILE=path)
    found.one("environment", "warning", "Every user of this machine can read", f"chmod o-rwx {path}")


def test_development_beside_a_database_is_a_warning(doctor: Doctor) -> None:
    doctor(APP_ENV="development").one("environment", "warning", "APP_ENV is development", "APP_ENV=production")


def test_without_a_database_in_development_the_embedded_one_is_not_checked(doctor: Doctor) -> None:
    found = doctor(APP_ENV="development", DATABASE_URL="")
    assert found.status == 0
    assert "embedded database" in found.output


# The connection


@pytest.mark.parametrize(
    ("url", "text", "remedy"),
    [
        ("postgresql://app:hush-hush@127.0.0.1:1/app", "refused", "Start PostgreSQL"),
        ("postgresql://app:hush-hush@database.invalid/app", "cannot be reached", "Correct the host"),
        ("postgresql://app:hush-hush@x@127.0.0.1:1/app", "", ""),
        ("postgresql://app:hush-hush/x@127.0.0.1:1/app", "", ""),
        ("postgresql://app:hush-hush%zz@127.0.0.1:1/app", "", ""),
    ],
)
def test_a_database_that_cannot_be_reached_is_named_without_the_password(
    doctor: Doctor, url: str, text: str, remedy: str
) -> None:
    found = doctor(DATABASE_URL=url)
    found.one("database", "problem", text, remedy)
    assert "hush" not in found.output


@pytest.mark.parametrize(
    ("old", "new", "text", "remedy"),
    [
        ("/test_", "/nowhere_", "does not exist", "psql -l"),
        ("//postgres:", "//nobody:", "does not exist", "Create the role"),
        ("?host=/", "?host=/nowhere/", "No such file or directory", "Start PostgreSQL"),
    ],
)
def test_a_wrong_name_in_the_url_is_named(
    doctor: Doctor, database: TestDatabase, old: str, new: str, text: str, remedy: str
) -> None:
    assert old in database.url
    doctor(DATABASE_URL=database.url.replace(old, new, 1)).one("database", "problem", text, remedy)


def test_a_transaction_pooler_is_named(doctor: Doctor, database: TestDatabase) -> None:
    executable = required(find_pgbouncer(), "pgbouncer")
    with PgBouncer(executable, database.url, "transaction") as pooler:
        doctor(DATABASE_URL=pooler.url).one("pooler", "warning", "transaction mode", "direct connection")
    with PgBouncer(executable, database.url, "session") as pooler:
        found = doctor(DATABASE_URL=pooler.url)
        assert not found.of("pooler")
        assert "session mode" in found.output


# The server


def test_a_role_that_may_not_write_is_named(doctor: Doctor, role: Callable[..., str]) -> None:
    url = role(ALL_RIGHTS, "ALTER ROLE limited SET default_transaction_read_only = on")
    doctor(DATABASE_URL=url).one("server", "problem", "read-only", "RESET default_transaction_read_only")


def test_a_limit_of_connections_below_the_pool_is_named(doctor: Doctor, role: Callable[..., str]) -> None:
    url = role(ALL_RIGHTS, "ALTER ROLE limited CONNECTION LIMIT 4")
    doctor(DATABASE_URL=url).one("server", "problem", "accepts 4 connections", "DATABASE_POOL_SIZE")


def test_commits_that_do_not_wait_for_the_disk_are_named(doctor: Doctor, role: Callable[..., str]) -> None:
    url = role(ALL_RIGHTS, "ALTER ROLE limited SET synchronous_commit = off")
    doctor(DATABASE_URL=url).one("server", "warning", "synchronous_commit=off", "Set both to on")


def test_old_versions_are_named() -> None:
    assert [version_finding(number).level for number in (110022, 130001, 160004)] == [
        Level.PROBLEM,
        Level.WARNING,
        Level.OK,
    ]


def test_clocks_that_differ_are_named() -> None:
    assert clock_finding(0.2).level is Level.OK
    assert "chrony" in clock_finding(90).remedy


# Tables and rights


def test_another_database_than_better_auths_is_named(doctor: Doctor, database: TestDatabase) -> None:
    url = database.url.replace("/test_", "/postgres?x=", 1).split("?")[0] + "?" + database.url.split("?")[1]
    found = doctor(DATABASE_URL=url)
    found.one("Better Auth", "problem", 'There is no table "session"', "the database that Better Auth uses")


def test_sessions_that_are_kept_elsewhere_are_named(doctor: Doctor, database: TestDatabase) -> None:
    database.query("DELETE FROM session")
    doctor().one("Better Auth", "warning", "not a single session", "storeSessionInDatabase")


def test_missing_migrations_are_named(doctor: Doctor, database: TestDatabase) -> None:
    database.query("DELETE FROM collab_migration WHERE number = 4")
    doctor().one("migrations", "warning", "0004_reset", "Start the daemon")
    doctor(MIGRATE="off").one("migrations", "problem", "0004_reset", "canvas-collab migrate")


def test_a_newer_database_is_named(doctor: Doctor, database: TestDatabase) -> None:
    database.query("INSERT INTO collab_migration (number, name) VALUES (99, 'future')")
    doctor().one("migrations", "problem", "99", "Install the version")


def test_every_missing_right_is_named_with_its_grant(doctor: Doctor, role: Callable[..., str]) -> None:
    url = role(ALL_RIGHTS, "REVOKE DELETE ON yjs_update_log FROM limited; REVOKE SELECT ON session FROM limited")
    found = doctor(DATABASE_URL=url)
    found.one(
        "rights", "problem", "lacks DELETE on yjs_update_log", "GRANT DELETE ON collab.yjs_update_log TO limited;"
    )
    found.one("rights", "problem", "lacks SELECT on session", "GRANT SELECT")
    found.one("access view", "problem", "permission denied", "collab_access")


def test_the_documented_rights_are_all_that_is_needed(doctor: Doctor, role: Callable[..., str]) -> None:
    url = role(documented_grants().replace("collab;", "limited;"))
    found = doctor(DATABASE_URL=url, MIGRATE="off")
    assert found.status == 0, found.output
    assert not found.of("rights")


def test_a_table_of_the_other_name_that_is_not_used_needs_no_right(
    doctor: Doctor, database: TestDatabase, role: Callable[..., str]
) -> None:
    url = role(ALL_RIGHTS)
    database.query("CREATE TABLE public.sessions (sid text)")
    found = doctor(DATABASE_URL=url)
    assert not found.of("rights"), found.output


def test_row_level_security_is_named(doctor: Doctor, database: TestDatabase, role: Callable[..., str]) -> None:
    database.query("ALTER TABLE session ENABLE ROW LEVEL SECURITY")
    doctor(DATABASE_URL=role(ALL_RIGHTS)).one("rights", "warning", "Row-level security of session", "BYPASSRLS")


def test_a_check_that_fails_keeps_what_it_has_found(doctor: Doctor, database: TestDatabase, owner: User) -> None:
    database.query(
        "CREATE FUNCTION refuse() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$; "
        "CREATE OR REPLACE VIEW collab_access (diagram_id, user_id, role) AS "
        "SELECT id, owner_id, CASE WHEN current_query() LIKE '%%sample%%' THEN 'owner' ELSE refuse() END FROM diagram"
    )
    found = doctor("--user", owner.id, "--room", "one")
    found.one("checks", "problem", "not now", "run it again")
    assert "The view collab_access works" in found.output


def test_roles_that_are_unknown_are_named(doctor: Doctor, database: TestDatabase) -> None:
    database.query(
        "CREATE OR REPLACE VIEW collab_access (diagram_id, user_id, role) AS SELECT id, owner_id, 'admin' FROM diagram"
    )
    doctor().one("access view", "problem", "admin", "CASE")


def test_a_view_without_a_column_is_named(doctor: Doctor, database: TestDatabase) -> None:
    database.query("DROP VIEW collab_access; CREATE VIEW collab_access AS SELECT id AS diagram_id FROM diagram")
    doctor().one("access view", "problem", "has no column role", "docs/operating.md")


def test_a_part_of_the_password_is_never_quoted() -> None:
    url = "postgresql://app:pass#word1@db/app"
    assert "word1" not in without_password('invalid port: "word1"', url)
    assert without_password("connection refused.", url) == "connection refused"


def test_a_missing_right_is_one_on_the_view_that_the_daemon_uses(
    database: TestDatabase, doctor: Doctor, role: Callable[..., str]
) -> None:
    # The application's view takes precedence over the daemon's, which the role may read.
    database.query("CREATE VIEW public.collab_access AS SELECT * FROM collab.collab_access")
    url = role(ALL_RIGHTS, "REVOKE ALL ON public.collab_access FROM limited")
    remedy = "GRANT SELECT ON public.collab_access TO limited"
    doctor(DATABASE_URL=url).one("rights", "problem", "lacks SELECT on collab_access", remedy)


def test_the_disk_of_a_directory_that_is_not_used_is_not_checked(doctor: Doctor) -> None:
    assert "disk" not in [finding["check"] for finding in doctor()]
    assert "disk" in [finding["check"] for finding in doctor(DATABASE_URL="", APP_ENV="development")]
