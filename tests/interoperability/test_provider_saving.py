"""What is confirmed to a provider as saved is in the database, whatever happens next."""

from __future__ import annotations

import pytest

from tests.conftest import StartDaemon
from tests.support.databases import TestDatabase
from tests.support.diagrams import Diagram
from tests.support.hocuspocus_providers import (
    PROVIDER_VERSIONS,
    VERSIONS_THAT_REOPEN,
    Provider,
    Providers,
    ProviderVersion,
)
from tests.support.stalling_proxy import StallingProxy

every_version = pytest.mark.parametrize("version", PROVIDER_VERSIONS)


def expect_unsaved(diagram: Diagram, count: int) -> None:
    """Assert that ``/health`` reports a failing database, and so many updates that are not saved."""
    status, health = diagram.daemon.get("/health")
    assert (status, health["unsaved_updates"]) == (503, count)


def wait_for_messages(one: Provider, other: Provider, mark: str) -> None:
    """Wait until `one` has received everything that was sent before; `mark` is a state of `other` that shows it."""
    other.set_awareness({"mark": mark})
    one.wait_awareness({}, {"mark": mark})


@every_version
def test_an_edit_is_shared_at_once_and_unsynced_until_the_database_has_it(
    stalling: Diagram, proxy: StallingProxy, providers: Providers, version: ProviderVersion
) -> None:
    writer = stalling.provide(providers, "writer", version=version)
    witness = stalling.provide(providers, "witness", version=version)
    writer.wait_saved()

    proxy.pause()
    writer.insert_text("text", 0, "shared ")
    writer.insert_text("text", 7, "at once")
    witness.wait_content({"text": [{"insert": "shared at once"}]})
    wait_for_messages(writer, witness, "soon after")
    assert writer.unsynced == 2
    expect_unsaved(stalling, 2)
    wait_for_messages(writer, witness, "a while after")
    assert writer.unsynced == 2

    proxy.resume()
    writer.wait_saved()
    assert len(stalling.log()) == 2
    assert [event["number"] for event in writer.events("unsyncedChanges")][-4:] == [1, 2, 1, 0]


@every_version
def test_a_sync_with_nothing_new_does_not_confirm_an_earlier_edit_as_saved(
    stalling: Diagram, proxy: StallingProxy, providers: Providers, version: ProviderVersion
) -> None:
    witness = stalling.provide(providers, "witness", version=version)
    writer = stalling.provide(providers, "writer", version=version)
    writer.wait_saved()

    proxy.pause()
    writer.insert_text("text", 0, "edited")
    witness.wait_content({"text": [{"insert": "edited"}]})
    writer.force_sync()
    wait_for_messages(writer, witness, "after its step 2")
    assert writer.report()["hasUnsyncedChanges"] is True

    proxy.resume()
    writer.wait_saved()
    assert len(stalling.log()) == 1


@every_version
def test_acknowledgements_never_overtake_the_commit(
    database: TestDatabase, start_daemon: StartDaemon, providers: Providers, version: ProviderVersion
) -> None:
    diagram = Diagram(database, start_daemon, JOURNAL_INTERVAL_MS=200)
    writer = diagram.provide(providers, "writer", version=version)
    writer.wait_saved()
    for number in range(1, 6):
        writer.insert_text("text", 0, f"{number} ")
        writer.insert_text("text", 0, f"{number} ")
        writer.wait_saved()
        assert len(diagram.log()) == 2 * number


@every_version
def test_what_was_told_to_be_saved_survives_the_daemon_being_killed(
    stalling: Diagram,
    database: TestDatabase,
    proxy: StallingProxy,
    providers: Providers,
    version: ProviderVersion,
) -> None:
    writer = stalling.provide(providers, "writer", version=version)
    witness = stalling.provide(providers, "witness", version=version)
    writer.wait_saved()
    for number in range(20):
        writer.set_key("map", str(number), number)
    writer.wait_saved()
    for number in range(20, 40):
        writer.set_key("map", str(number), number)
    proxy.pause()
    for number in range(40, 45):
        writer.set_key("map", str(number), number)
    witness.wait_content({"map": {str(number): number for number in range(45)}})
    stalling.daemon.kill()
    writer.wait_closed()
    saved = 45 - writer.unsynced
    assert 20 <= saved <= 40
    for provider in (writer, witness):
        provider.destroy()
    proxy.cut()

    stalling.start(DATABASE_URL=database.url)
    kept = stalling.provide(providers, "newcomer", version=version).content["map"]
    assert len(stalling.log()) >= saved
    assert {str(number) for number in range(saved)} <= kept.keys()


@every_version
def test_a_provider_brings_back_what_had_not_been_saved_when_the_daemon_was_killed(
    stalling: Diagram,
    database: TestDatabase,
    proxy: StallingProxy,
    providers: Providers,
    version: ProviderVersion,
) -> None:
    writer = stalling.provide(providers, "writer", version=version)
    writer.wait_saved()
    proxy.pause()
    writer.insert_text("text", 0, "not on disk")
    expect_unsaved(stalling, 1)
    stalling.daemon.kill()
    writer.wait_closed()
    assert writer.unsynced == 1
    proxy.cut()

    stalling.start(DATABASE_URL=database.url, WS_PORT=stalling.daemon.ws_port)
    writer.wait_synced()
    if version in VERSIONS_THAT_REOPEN:
        writer.wait_saved()
    stalling.daemon.wait_until(lambda: len(stalling.log()) == 1)
    newcomer = stalling.provide(providers, "newcomer", version=version)
    assert newcomer.content == {"text": [{"insert": "not on disk"}]}
