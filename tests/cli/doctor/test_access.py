"""Sessions and roles that the operator asks about."""

from __future__ import annotations

from pathlib import Path

import pytest

from canvas_collab.access.authentication import Credential
from canvas_collab.cli.doctor.access import parse_pasted
from canvas_collab.cli.doctor.machine import disk_finding, open_files_finding
from tests.cli.doctor.conftest import Doctor
from tests.support.databases import TestDatabase, User


def test_a_right_deployment_has_no_problem(doctor: Doctor, owner: User) -> None:
    found = doctor("--cookie", "--room", "one", given=owner.cookie.encode())
    assert found.status == 0, found.output
    assert not found.of("session")
    assert not found.of("role")
    assert f"The user {owner.id} may write in diagram-one, as owner." in found.output


def test_a_secret_other_than_the_applications_is_named(doctor: Doctor, owner: User) -> None:
    found = doctor("--cookie", given=owner.cookie.encode(), BETTER_AUTH_SECRET="y" * 32)
    found.one("session", "problem", "not signed with this BETTER_AUTH_SECRET", "Copy BETTER_AUTH_SECRET")
    assert owner.signed_token not in found.output


def test_the_signature_is_checked_without_the_database(doctor: Doctor, owner: User) -> None:
    url = "postgresql://127.0.0.1:1/app"
    assert (
        "signed with this BETTER_AUTH_SECRET"
        in doctor("--cookie", given=owner.cookie.encode(), DATABASE_URL=url).output
    )
    found = doctor("--cookie", given=owner.cookie.encode(), DATABASE_URL=url, BETTER_AUTH_SECRET="y" * 32)
    found.one("session", "problem", "not signed with this BETTER_AUTH_SECRET", "Copy BETTER_AUTH_SECRET")


def test_another_prefix_of_the_cookie_is_named(doctor: Doctor, owner: User) -> None:
    pasted = f"Cookie: theme=dark; {owner.cookie.replace('better-auth', '__Secure-app')}"
    found = doctor("--cookie", given=pasted.encode())
    found.one("session", "problem", "__Secure-app.session_token", "BETTER_AUTH_COOKIE_PREFIX=app")


def test_a_session_of_another_database_is_named(doctor: Doctor, database: TestDatabase, owner: User) -> None:
    database.query("DELETE FROM session")
    found = doctor("--cookie", given=owner.signed_token.encode())
    found.one("session", "problem", "no such session", "another database")


def test_an_expired_session_is_named(doctor: Doctor, database: TestDatabase) -> None:
    late = database.add_user("late", lifetime="-1 hour")
    doctor("--cookie", given=late.token.encode()).one("session", "problem", "expired", "Sign in again")


@pytest.mark.parametrize(
    ("pasted", "text"),
    [
        ("eyJhbGciOiJIUzI1NiJ9.e30.c2ln", "JSON web token"),
        ("theme=dark; language=en", "neither a session cookie"),
        ("better-auth.session_token=abc", "no signature"),
    ],
)
def test_what_is_no_session_is_named(doctor: Doctor, pasted: str, text: str) -> None:
    doctor("--cookie", given=pasted.encode()).one("session", "problem", text, "Copy")


def test_a_user_without_a_role_is_named(doctor: Doctor, database: TestDatabase, owner: User) -> None:
    eve = database.add_user("eve")
    doctor("--user", eve.id, "--room", "one").one("role", "problem", "no role in diagram-one", "collab_access")
    doctor("--user", "nobody", "--room", "one").one("role", "problem", "no user nobody", "id of a user")
    assert not doctor("--user", owner.id, "--room", "diagram-one").of("role")


def test_pasted_headers_cookies_and_tokens_are_recognised(owner: User) -> None:
    for pasted in (f"Cookie: a=b; {owner.cookie}", owner.cookie, owner.signed_token, f" {owner.token}\n"):
        assert isinstance(parse_pasted(pasted, "better-auth"), Credential)
    assert parse_pasted("other.session_token=x", "better-auth") == "other.session_token"


def test_few_open_files_and_little_disk_are_named() -> None:
    assert "LimitNOFILE=10064" in open_files_finding(1024, 10_000).remedy
    assert open_files_finding(1024, 100).remedy == ""
    levels = [disk_finding(Path("data"), free).level.value for free in (10**7, 5 * 10**8, 10**10)]
    assert levels == ["problem", "warning", "ok"]
