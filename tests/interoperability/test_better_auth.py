"""Sessions of a real Better Auth are accepted, or refused, by the daemon."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pycrdt import Doc, Text

from tests.support.better_auth import SITE, Application, BetterAuth, Person
from tests.support.daemons import Daemon
from tests.support.databases import SECRET, TestDatabase
from tests.support.handshakes import (
    OPEN,
    Answer,
    close_code,
    denial_code,
    open_connection,
    request_step_2,
    try_handshake,
)

MakeApplication = Callable[..., Application]
Serve = Callable[..., Daemon]

BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


@pytest.fixture(scope="module")
def better_auth(node_executable: str, node_path: Path) -> Iterator[BetterAuth]:
    process = BetterAuth(node_executable, node_path / "better_auth.mjs")
    yield process
    process.stop()


@pytest.fixture
def application(better_auth: BetterAuth, empty_database: TestDatabase) -> Iterator[MakeApplication]:
    made: list[Application] = []

    def make(**options: Any) -> Application:
        made.append(Application(better_auth, empty_database, **options))
        return made[-1]

    yield make
    for application in made:
        application.close()


@pytest.fixture
def serve(start_daemon: Serve) -> Serve:
    def serve(application: Application, **settings: str) -> Daemon:
        return start_daemon(application.database, **{"BETTER_AUTH_URL": SITE, **settings})

    return serve


def daemon_and_owner(application: Application, serve: Serve, **settings: str) -> tuple[Daemon, Person]:
    """Start a daemon, and sign up a user who owns the diagram "sketch"."""
    daemon = serve(application, **settings)
    ada = application.sign_up("ada")
    application.database.add_diagram("sketch", ada.user)
    return daemon, ada


def test_the_set_cookie_of_a_sign_up_opens_the_room(application: MakeApplication, serve: Serve) -> None:
    app = application()
    daemon, ada = daemon_and_owner(app, serve)
    assert try_handshake(daemon, cookie=ada.cookie, origin=SITE) == Answer(OPEN)
    others = f"theme=dark; {ada.cookie}; better-auth.session_data=eyJhIjoxfQ; better-auth.dont_remember=true.abc"
    assert try_handshake(daemon, cookie=others, origin=SITE) == Answer(OPEN)
    assert try_handshake(daemon, cookie=app.sign_in("ada", remember=False).cookie, origin=SITE) == Answer(OPEN)


def test_the_bearer_token_opens_the_room_in_the_header_and_in_the_query(
    application: MakeApplication, serve: Serve
) -> None:
    daemon, ada = daemon_and_owner(application(), serve)
    for token in (ada.set_auth_token, ada.cookie_value, ada.token):
        assert try_handshake(daemon, authorization=f"Bearer {token}") == Answer(OPEN), token
        assert try_handshake(daemon, authorization=f"bearer {token}") == Answer(OPEN), token
        assert try_handshake(daemon, f"/diagram-sketch?token={quote(token, safe='')}") == Answer(OPEN), token
    assert try_handshake(daemon, f"/diagram-sketch?token={ada.set_auth_token}") == Answer(OPEN)


def test_after_sign_out_the_session_is_refused_and_other_sessions_are_not(
    application: MakeApplication, serve: Serve
) -> None:
    app = application()
    daemon, ada = daemon_and_owner(app, serve)
    elsewhere = app.sign_in("ada")
    assert try_handshake(daemon, cookie=ada.cookie).status == OPEN
    app.sign_out(ada)
    assert try_handshake(daemon, cookie=ada.cookie).status == 401
    for token in (ada.set_auth_token, ada.token):
        assert try_handshake(daemon, authorization=f"Bearer {token}").status == 401
        assert try_handshake(daemon, f"/diagram-sketch?token={quote(token, safe='')}").status == 401
    assert try_handshake(daemon, cookie=elsewhere.cookie).status == OPEN


def test_an_expired_session_is_refused(application: MakeApplication, serve: Serve) -> None:
    app = application()
    daemon, ada = daemon_and_owner(app, serve)
    app.database.query("UPDATE session SET \"expiresAt\" = now() - interval '1 second' RETURNING 1")
    assert try_handshake(daemon, cookie=ada.cookie).status == 401
    assert try_handshake(daemon, authorization=f"Bearer {ada.token}").status == 401


def altered(value: str) -> Iterator[str]:
    """Yield the value with another character, for each of its characters."""
    for at, character in enumerate(value):
        known = BASE64.find(character)
        yield value[:at] + (BASE64[known ^ 1] if known >= 0 else "A") + value[at + 1 :]


def test_a_token_or_signature_with_any_altered_byte_is_refused(application: MakeApplication, serve: Serve) -> None:
    daemon, ada = daemon_and_owner(application(), serve)
    for wrong in altered(ada.set_auth_token):
        assert try_handshake(daemon, cookie=f"{ada.cookie_name}={quote(wrong, safe='')}").status == 401, wrong
        assert try_handshake(daemon, authorization=f"Bearer {wrong}").status == 401, wrong
        assert try_handshake(daemon, f"/diagram-sketch?token={quote(wrong, safe='')}").status == 401, wrong
    for wrong in altered(ada.token):
        assert try_handshake(daemon, authorization=f"Bearer {wrong}").status == 401, wrong


def test_a_cookie_without_its_whole_signature_is_refused(application: MakeApplication, serve: Serve) -> None:
    app = application()
    daemon, ada = daemon_and_owner(app, serve)
    for value in (
        "",
        ".",
        ada.token,
        f"{ada.token}.",
        f".{ada.signature}",
        ada.set_auth_token.rstrip("="),
        "%",
        "%FF.%FF",
    ):
        assert try_handshake(daemon, cookie=f"{ada.cookie_name}={value}").status == 401, value
    session_id = app.database.query("SELECT id FROM session")[0][0]
    for token in ("", ".", f"{ada.token}.", f"{ada.token}.x", str(session_id), "\x7f", "a" * 5000):
        assert try_handshake(daemon, f"/diagram-sketch?token={quote(token, safe='')}").status == 401, token
    assert try_handshake(daemon).status == 401


def test_a_session_signed_with_another_secret_is_refused(application: MakeApplication, serve: Serve) -> None:
    daemon, ada = daemon_and_owner(application(secret="x" + SECRET), serve)
    assert try_handshake(daemon, cookie=ada.cookie).status == 401
    assert try_handshake(daemon, authorization=f"Bearer {ada.set_auth_token}").status == 401


@pytest.mark.parametrize("time_zone", ["America/New_York", "Asia/Tokyo"])
def test_a_session_in_drizzles_schema_opens_the_room_until_it_expires(
    application: MakeApplication, serve: Serve, time_zone: str
) -> None:
    app = application(drizzle=True)
    name = app.database.query("SELECT current_database()")[0][0]
    with app.database.connect().cursor() as cursor:
        cursor.execute(f"ALTER DATABASE \"{name}\" SET timezone TO '{time_zone}'")
    daemon, ada = daemon_and_owner(app, serve)
    assert try_handshake(daemon, cookie=ada.cookie).status == OPEN
    assert try_handshake(daemon, authorization=f"Bearer {ada.set_auth_token}").status == OPEN
    remaining = "UPDATE session SET expires_at = (now() AT TIME ZONE 'utc') + %s::interval RETURNING 1"
    app.database.query(remaining, ("1 minute",))
    assert try_handshake(daemon, cookie=ada.cookie).status == OPEN
    app.database.query(remaining, ("-1 minute",))
    assert try_handshake(daemon, cookie=ada.cookie).status == 401


def test_the_log_entry_of_an_edit_has_better_auths_user_whatever_the_type_of_user_ids(
    application: MakeApplication, serve: Serve
) -> None:
    app = application(generateId="uuid")
    daemon, ada = daemon_and_owner(app, serve)
    drawing: Doc[Any] = Doc()
    drawing["title"] = Text("Harbour")
    update = drawing.get_update()
    assert len(update) < 128
    with open_connection(daemon, cookie=ada.cookie, origin=SITE) as connection:
        connection.send(b"\x00\x02" + bytes([len(update)]) + update)
        assert update in request_step_2(connection)
    daemon.stop()
    assert app.database.query("SELECT user_id::text FROM yjs_update_log") == [(ada.user.id,)]


def test_the_cookie_of_a_site_on_https_opens_the_room(application: MakeApplication, serve: Serve) -> None:
    site = "https://draw.example.org"
    daemon, ada = daemon_and_owner(application(baseURL=site), serve, BETTER_AUTH_URL=site)
    assert ada.cookie_name == "__Secure-better-auth.session_token"
    assert try_handshake(daemon, cookie=ada.cookie, origin=site).status == OPEN


def test_a_cookie_prefix_of_the_applications_own_is_the_only_one_that_counts(
    application: MakeApplication, serve: Serve
) -> None:
    daemon, ada = daemon_and_owner(application(cookiePrefix="drawings"), serve, BETTER_AUTH_COOKIE_PREFIX="drawings")
    assert ada.cookie_name == "drawings.session_token"
    assert try_handshake(daemon, cookie=ada.cookie).status == OPEN
    assert try_handshake(daemon, cookie=f"__Secure-{ada.cookie}").status == OPEN
    assert try_handshake(daemon, cookie=f"better-auth.session_token={ada.cookie_value}").status == 401


def test_a_cookie_from_a_foreign_origin_is_refused_and_a_token_is_not(
    application: MakeApplication, serve: Serve
) -> None:
    daemon, ada = daemon_and_owner(
        application(), serve, APP_ENV="production", ALLOWED_ORIGINS=f"{SITE},https://draw.example.org"
    )
    for origin in (SITE, "https://draw.example.org"):
        assert try_handshake(daemon, cookie=ada.cookie, origin=origin).status == OPEN
    for origin in (
        "https://evil.example",
        "http://draw.example.org",
        "https://draw.example.org.evil.example",
        "https://draw.example.org:8443",
        "http://localhost:5173",
        "null",
    ):
        assert try_handshake(daemon, cookie=ada.cookie, origin=origin).status == 403, origin
        token = quote(ada.set_auth_token, safe="")
        assert try_handshake(daemon, f"/diagram-sketch?token={token}", origin=origin).status == OPEN, origin


def test_a_diagram_without_a_role_and_no_diagram_at_all_get_the_same_refusal(
    application: MakeApplication, serve: Serve
) -> None:
    app = application()
    daemon, _ = daemon_and_owner(app, serve)
    eve = app.sign_up("eve")

    def refusals(*paths: str) -> set[Answer]:
        return {try_handshake(daemon, path, cookie=eve.cookie, origin=SITE) for path in paths}

    [refusal] = refusals("/diagram-sketch", "/diagram-nowhere", "/diagram-a%2Fb")
    assert (refusal.status, refusal.reason) == (403, "forbidden")
    # The names of these rooms are not those of diagrams.
    for refusal in refusals("/diagram-", "/sketch", "/diagram-%00"):
        assert refusal.status == 403
        assert refusal.reason.startswith("forbidden: ")
    app.database.grant("sketch", eve.user, "viewer")
    assert try_handshake(daemon, cookie=eve.cookie, origin=SITE).status == OPEN


def test_with_reject_with_close_a_refusal_is_a_close_code(application: MakeApplication, serve: Serve) -> None:
    app = application()
    daemon, ada = daemon_and_owner(app, serve, REJECT_WITH="close")
    eve = app.sign_up("eve")
    assert denial_code(daemon) == 4401
    assert denial_code(daemon, cookie=f"{ada.cookie}x") == 4401
    assert denial_code(daemon, cookie=eve.cookie) == 4403
    assert denial_code(daemon, cookie=ada.cookie, origin="https://evil.example") == 4403
    assert try_handshake(daemon, cookie=ada.cookie).status == OPEN


def test_a_refusal_is_one_log_event_and_no_log_event_holds_a_token(application: MakeApplication, serve: Serve) -> None:
    app = application()
    daemon, ada = daemon_and_owner(app, serve, LOG_LEVEL="debug")
    eve = app.sign_up("eve")
    query = quote(eve.set_auth_token, safe="")
    refused = [
        try_handshake(daemon, f"/diagram-sketch?token={query}"),
        try_handshake(daemon, "/diagram-sketch?token=" + query[:-4]),
        try_handshake(daemon, cookie=ada.cookie, origin="https://evil.example"),
    ]
    assert [answer.status for answer in refused] == [403, 401, 403]
    assert try_handshake(daemon, f"/diagram-sketch?token={quote(ada.set_auth_token, safe='')}").status == OPEN
    daemon.stop()
    denials = daemon.events("connection denied")
    assert [event["room"] for event in denials] == ["diagram-sketch"] * 3
    assert denials[0]["user"] == eve.user.id
    assert not denials[1].get("user")
    assert all(event["reason"] and "127.0.0.1" in event["client"] for event in denials)
    assert len({event["reason"] for event in denials}) == 3
    for secret in (ada.token, ada.signature, quote(ada.signature, safe=""), eve.token, eve.signature, SECRET):
        assert secret not in daemon.output


def test_an_open_connection_is_closed_after_sign_out_and_kept_by_a_renewed_session(
    application: MakeApplication, serve: Serve
) -> None:
    app = application()
    daemon, ada = daemon_and_owner(app, serve, SESSION_RECHECK="1")
    elsewhere = app.sign_in("ada")
    renew = "UPDATE session SET \"expiresAt\" = now() + interval '1 hour' WHERE token = %s RETURNING 1"
    app.database.query(renew.replace("1 hour", "2 seconds"), (elsewhere.token,))
    with (
        open_connection(daemon, cookie=ada.cookie) as leaving,
        open_connection(daemon, cookie=elsewhere.cookie) as staying,
    ):
        app.database.query(renew, (elsewhere.token,))
        app.sign_out(ada)
        assert close_code(leaving) == 4401
        request_step_2(staying)
