"""Sessions that end and roles that change while a Hocuspocus provider has a document open."""

from __future__ import annotations

import secrets

import pytest

from tests.conftest import StartDaemon
from tests.support.databases import TestDatabase, User
from tests.support.diagrams import Diagram
from tests.support.hocuspocus_providers import (
    PROVIDER_VERSIONS,
    VERSIONS_THAT_REOPEN,
    Provider,
    Providers,
    ProviderVersion,
)

every_version = pytest.mark.parametrize("version", PROVIDER_VERSIONS)

#: The versions that send a new token when the daemon asks for one, and those that do not.
newer_versions = pytest.mark.parametrize("version", [version for version in PROVIDER_VERSIONS if version >= "3"])
older_versions = pytest.mark.parametrize("version", [version for version in VERSIONS_THAT_REOPEN if version < "3"])

SYNC_STATUS = 8

#: How long sessions last by default, in seconds, so that a new token is asked for at every check.
SESSION_LIFETIME = 86400


@pytest.fixture
def diagram(database: TestDatabase, start_daemon: StartDaemon) -> Diagram:
    """A diagram whose daemon checks sessions and roles every second, and asks for new tokens early."""
    return Diagram(database, start_daemon, SESSION_RECHECK=1, TOKEN_RENEWAL=SESSION_LIFETIME)


def add_editor(diagram: Diagram, lifetime: str = "1 day") -> User:
    """Add another editor, with a session of that length."""
    user = diagram.database.add_user("guest", lifetime)
    diagram.database.grant("sketch", user, "editor")
    return user


def add_session(diagram: Diagram, user: User, lifetime: str = "1 day") -> str:
    """Add a session for a user, and return its token."""
    token = secrets.token_hex(16)
    diagram.database.query(
        'INSERT INTO session (id, token, "userId", "expiresAt", "updatedAt") '
        "VALUES (%s, %s, %s, now() + %s::interval, now())",
        (f"session-{token}", token, user.id, lifetime),
    )
    return token


def expect_close(provider: Provider, version: ProviderVersion, reason: str) -> None:
    """Wait until a document is closed; only a provider that sends its version gets the message and its reason."""
    if version == "4.8.0":
        provider.wait_event("close", reason=reason)
        assert list(provider.awareness) == [provider.client_id]
    else:
        assert provider.events("close") == []


@newer_versions
def test_a_provider_is_asked_for_a_new_token_and_stays_when_the_old_session_ends(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    guest = add_editor(diagram, "4 seconds")
    socket = diagram.socket(providers, "socket", version)
    provider = diagram.provide(providers, "provider", guest, at=socket, token_kind="promise")
    witness = diagram.provide(providers, "witness", guest, version=version)
    provider.set_token(add_session(diagram, guest))

    provider.wait_asked(2)
    assert witness.wait_denied() == "unauthorized: expired session"
    asked = provider.report()["tokensGiven"]
    provider.wait_asked(asked + 1)
    provider.insert_text("text", 0, "still here")
    provider.wait_saved()
    assert provider.events("authenticationFailed") == []
    socket.expect_never_closed()


@newer_versions
def test_a_provider_may_send_a_new_token_unasked(
    database: TestDatabase, start_daemon: StartDaemon, providers: Providers, version: ProviderVersion
) -> None:
    diagram = Diagram(database, start_daemon, SESSION_RECHECK=1, TOKEN_RENEWAL=0)
    guest = add_editor(diagram)
    provider = diagram.provide(providers, "provider", guest, version=version)
    witness = diagram.provide(providers, "witness", guest, version=version)
    provider.set_token(add_session(diagram, guest))
    provider.send_token()
    provider.wait_event("authenticated", 2, scope="read-write")

    database.query("DELETE FROM session WHERE token = %s", (guest.token,))
    assert witness.wait_denied() == "unauthorized: unknown session"
    provider.insert_text("text", 0, "still here")
    provider.wait_saved()
    assert provider.events("authenticationFailed") == []


@newer_versions
@pytest.mark.parametrize("kind", ["unknown", "another user's"])
def test_a_bad_new_token_closes_the_document_and_no_other(
    diagram: Diagram, providers: Providers, version: ProviderVersion, kind: str
) -> None:
    socket = diagram.socket(providers, "socket", version)
    other = diagram.provide(providers, "other", at=socket, room=diagram.add_room("other"))
    provider = diagram.provide(providers, "provider", at=socket, token_kind="function")
    provider.set_token("nonsense" if kind == "unknown" else diagram.owner.token)

    reason = "unauthorized: " + ("unknown session" if kind == "unknown" else "another user's token")
    assert provider.wait_denied() == reason
    expect_close(provider, version, reason)
    provider.wait_state(authenticated=False, synced=False)
    other.insert_text("text", 0, "undisturbed")
    other.wait_saved()
    provider.insert_text("text", 0, "nobody hears that")
    assert diagram.provide(providers, "late", version=version).content == {}

    provider.set_token(diagram.editor.token)
    provider.retry()
    provider.wait_synced()
    provider.wait_saved()
    assert diagram.provide(providers, "later", version=version).content == {"text": [{"insert": "nobody hears that"}]}
    socket.expect_never_closed()


@older_versions
def test_older_providers_are_denied_when_their_session_ends_and_keep_their_other_documents(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    guest = add_editor(diagram, "3 seconds")
    socket = diagram.socket(providers, "socket", version)
    other = diagram.provide(providers, "other", at=socket, room=diagram.add_room("other"))
    provider = diagram.provide(providers, "provider", guest, at=socket)

    assert provider.wait_denied() == "unauthorized: expired session"
    provider.wait_state(authenticated=False, synced=False)
    other.insert_text("text", 0, "undisturbed")
    other.wait_saved()

    provider.set_token(add_session(diagram, guest))
    provider.attach()
    provider.wait_synced()
    provider.insert_text("text", 0, "signed in again")
    provider.wait_saved()
    assert len(provider.events("authenticationFailed")) == 1
    socket.expect_never_closed()


@every_version
def test_a_revoked_role_closes_the_document_and_not_the_socket(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    socket = diagram.socket(providers, "socket", version)
    other = diagram.provide(providers, "other", at=socket, room=diagram.add_room("other"))
    provider = diagram.provide(providers, "provider", at=socket)
    owner = diagram.provide(providers, "owner", diagram.owner, version=version)
    owner.set_awareness({"name": "owner"})
    provider.set_awareness({"name": "provider"})
    owner.wait_awareness({"name": "owner"}, {"name": "provider"})

    diagram.database.revoke("sketch", diagram.editor)
    assert provider.wait_denied() == "forbidden: no role in this room"
    expect_close(provider, version, "forbidden: no role in this room")
    owner.wait_awareness({"name": "owner"})
    owner.insert_text("text", 0, "not for them")
    owner.wait_saved()
    other.insert_text("text", 0, "undisturbed")
    other.wait_saved()
    assert provider.content == {}
    socket.expect_never_closed()


@every_version
def test_a_changed_role_is_announced_and_applies_from_then_on(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    socket = diagram.socket(providers, "socket", version)
    provider = diagram.provide(providers, "provider", at=socket)
    provider.insert_text("text", 0, "may write")
    provider.wait_saved()

    diagram.database.grant("sketch", diagram.editor, "viewer")
    provider.wait_event("authenticated", scope="readonly")
    answered = sum(event["type"] == SYNC_STATUS for event in provider.events("message"))
    provider.insert_text("text", 0, "may not ")
    provider.wait_event("message", answered + 1, type=SYNC_STATUS)
    diagram.database.grant("sketch", diagram.editor, "editor")
    provider.wait_state(scope="read-write")
    if version != "2.4.0":
        # That one syncs anew by itself when it is told.
        assert provider.unsynced == 1
        assert len(diagram.log()) == 1

    # The refused update is requested again, and accepted now.
    provider.force_sync()
    if version == "2.4.0":
        # It counts the edit twice if the sync that it begins by itself is still in progress when the edit is made.
        diagram.daemon.wait_until(lambda: len(diagram.log()) == 2)
    else:
        provider.wait_saved()
    assert diagram.provide(providers, "late", version=version).content == {"text": [{"insert": "may not may write"}]}
    socket.expect_never_closed()
