"""Checks of one session and of one user's role, with what the operator has pasted or named."""

from __future__ import annotations

import psycopg2
from psycopg2.extensions import connection as Connection

from canvas_collab.access.authentication import Credential, Source, Unauthenticated, find_credential, verified_token
from canvas_collab.access.roles import ROLES, Access, diagram_of, room_name_problem
from canvas_collab.cli.doctor.finding import Finding, ok, problem
from canvas_collab.config.application import AuthSettings
from canvas_collab.database.catalogue import Catalogue

CHECK = "session"

#: The name of the session cookie, without the prefix.
_COOKIE = ".session_token"

_REMEDIES = {
    "bad signature": (
        "The session was not signed with this BETTER_AUTH_SECRET.",
        "Copy BETTER_AUTH_SECRET from the environment of the application that set the cookie.",
    ),
    "unsigned cookie": (
        "The cookie has no signature.",
        "Copy the whole value of the cookie, with the dot and what follows it.",
    ),
    "malformed token": (
        "This is neither a session cookie nor a session token.",
        "Copy the cookie better-auth.session_token from the browser's developer tools.",
    ),
    "unknown session": (
        "There is no such session in the database.",
        "Sign in again; if that does not help, DATABASE_URL leads to another database than the application's.",
    ),
    "expired session": ("The session has expired.", "Sign in again, and paste the new cookie."),
}


def parse_pasted(text: str, cookie_prefix: str) -> Credential | str:
    """Return the credential in what was pasted: a ``Cookie`` header, a cookie, its value or a token.

    If there are only cookies with other names, return the name of the one that looks like Better Auth's, or an empty
    string.
    """
    text = text.strip()
    if text.lower().startswith("cookie:"):
        text = text.partition(":")[2].strip()
    names = [pair.partition("=")[0].strip() for pair in text.split(";")]
    if not any(name.endswith("session_token") for name in names):
        return "" if ";" in text else Credential(text, Source.MESSAGE)
    credential = find_credential({"cookie": text}, {}, cookie_prefix)
    return credential or next(name for name in names if name.endswith("session_token"))


def check_signature(auth: AuthSettings, pasted: str) -> tuple[str | None, Finding]:
    """Check the signature of a pasted cookie or token; return the session's token as well, or None."""
    credential = parse_pasted(pasted, auth.cookie_prefix)
    if isinstance(credential, str):
        if not credential:
            return None, problem(CHECK, *_REMEDIES["malformed token"])
        prefix = credential.removeprefix("__Secure-").removesuffix("session_token").rstrip("._-")
        return None, problem(
            CHECK,
            f"The cookie's name is {credential}, and the daemon looks for {auth.cookie_prefix}{_COOKIE}.",
            f"Set BETTER_AUTH_COOKIE_PREFIX={prefix}."
            if credential.endswith(_COOKIE)
            else "Remove cookies.session_token.name from the application's options, and set cookiePrefix instead.",
        )
    if credential.text.startswith("eyJ"):
        return None, problem(
            CHECK,
            "This is a JSON web token or the cookie session_data, and not a session's token.",
            "Copy the cookie better-auth.session_token; pages pass the session's token, not one of the plugin jwt.",
        )
    if "." in credential.text and not auth.secret:
        remedy = _REMEDIES["bad signature"][1]
        return None, problem(CHECK, "There is no BETTER_AUTH_SECRET to check the cookie with.", remedy)
    try:
        token = verified_token(credential, auth.secret)
    except Unauthenticated as error:
        return None, problem(CHECK, *_REMEDIES[error.reason])
    if token == credential.text:
        return token, ok(CHECK, "A token without a signature was given: the secret is not checked.")
    return token, ok(CHECK, "The session was signed with this BETTER_AUTH_SECRET.")


def check_session(connection: Connection, catalogue: Catalogue, token: str) -> tuple[str | None, Finding]:
    """Look a session up as the daemon does; return the user's id as well, or None."""
    with connection.cursor() as cursor:
        cursor.execute(catalogue.session_query, (token,))
        found = cursor.fetchall()
    if not found:
        return None, problem(CHECK, *_REMEDIES["unknown session"])
    [(user_id, expires_in)] = found
    if not expires_in > 0:
        return None, problem(CHECK, *_REMEDIES["expired session"])
    return str(user_id), ok(CHECK, f"The session is the user {user_id}'s, for another {expires_in / 3600:.1f} hours.")


def check_role(connection: Connection, catalogue: Catalogue, prefix: str, user: str, room: str) -> Finding:
    """Check what a user may do in a room.

    :param prefix: what the names of rooms begin with.
    """
    check = "role"
    if name_problem := room_name_problem(room, prefix):
        return problem(check, f"{room} cannot be a room: {name_problem}.", "Correct --room, or ROOM_PREFIX.")
    with connection.cursor() as cursor:
        try:
            cursor.execute(f"SELECT 1 FROM {catalogue.user_table} WHERE id::text = %s", (user,))
            if not cursor.fetchall():
                return problem(
                    check, f"There is no user {user}.", "Name the id of a user, not the name or the address."
                )
            cursor.execute(catalogue.role_query, {"diagram": diagram_of(room, prefix), "user": user})
            roles = sorted({str(role) for (role,) in cursor.fetchall()})
        except psycopg2.DataError:
            roles = []
    access = max((ROLES.get(role, Access.NONE) for role in roles), default=Access.NONE)
    if access is Access.NONE:
        return problem(
            check,
            f"The user {user} has no role in {room}: the daemon answers 403.",
            "Check that the view collab_access has a row with this user's id and the diagram's, and a known role.",
        )
    return ok(check, f"The user {user} may {access.name.lower()} in {room}, as {' and '.join(roles)}.")
