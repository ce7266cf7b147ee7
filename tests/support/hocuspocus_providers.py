"""Hocuspocus providers, in the same Node process as y-websocket clients, so that a test can use both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tests.support.yjs_clients import YjsClient, YjsClients
from tests.support.yjs_values import Json

ProviderVersion = Literal["2.4.0", "2.9.0", "2.13.5", "2.15.3", "3.4.4", "4.8.0"]
PROVIDER_VERSIONS: tuple[ProviderVersion, ...] = ("2.4.0", "2.9.0", "2.13.5", "2.15.3", "3.4.4", "4.8.0")

#: Versions that can open a document again on an open socket, and that count unsynced changes anew after a reconnect.
#: Older ones go on counting: changes that were not confirmed when a connection ended are shown as unsynced for ever,
#: although they are saved.
VERSIONS_THAT_REOPEN: tuple[ProviderVersion, ...] = PROVIDER_VERSIONS[2:]

#: Whether the token is a string, a function that returns it, or one that returns a promise of it.
TokenKind = Literal["string", "function", "promise"]


class Providers(YjsClients):
    """The Node process, with the commands for providers."""

    def __enter__(self) -> Providers:
        super().__enter__()
        return self

    def socket(
        self,
        name: str,
        url: str,
        *,
        version: ProviderVersion = "4.8.0",
        headers: Mapping[str, str] | None = None,
        **options: Json,
    ) -> ProviderSocket:
        """Make a socket that several providers can share; it connects by itself.

        :param options: further configuration of ``HocuspocusProviderWebsocket``.
        """
        headers = dict(headers or {})
        self.call("createSocket", name=name, url=url, version=version, headers=headers, socketOptions=options)
        return ProviderSocket(self, name, version)

    def provider(
        self,
        name: str,
        room: str,
        at: ProviderSocket | str,
        *,
        version: ProviderVersion = "4.8.0",
        token: str | None = None,
        token_kind: TokenKind = "string",
        headers: Mapping[str, str] | None = None,
        session_awareness: bool = False,
        wait: bool = True,
        offline: bool = False,
        edits_at_open: Sequence[Json] = (),
        **options: Json,
    ) -> Provider:
        """Make a provider, and wait until it is synced.

        :param at: a shared socket, or the URL for a socket of its own.
        :param wait: whether to wait.
        :param offline: whether it does not connect yet; then it is not waited for.
        :param edits_at_open: edits that are made when the socket opens, before the document does.
        :param options: further configuration of ``HocuspocusProvider``.
        """
        shared = at if isinstance(at, ProviderSocket) else None
        client_id: int = self.call(
            "createProvider",
            name=name,
            room=room,
            socket=shared.name if shared else None,
            url=None if shared else at,
            version=shared.version if shared else version,
            token=token,
            tokenKind=token_kind,
            headers=dict(headers or {}),
            sessionAwareness=session_awareness,
            connect=not offline,
            editsAtOpen=list(edits_at_open),
            providerOptions=options,
        )
        provider = Provider(self, name, client_id)
        if wait and not offline:
            provider.wait_synced()
        return provider


class ProviderSocket:
    """A socket that providers can share."""

    def __init__(self, providers: Providers, name: str, version: ProviderVersion) -> None:
        self._providers = providers
        self.name = name
        self.version = version

    def report(self) -> dict[str, Json]:
        """Return whether it is connected, how often it was opened, and the close codes and reasons."""
        report: dict[str, Json] = self._providers.call("socketReport", name=self.name)
        return report

    def expect_never_closed(self) -> None:
        """Assert that it was opened once and never closed."""
        report = self.report()
        assert (report["connected"], report["opened"], report["closes"]) == (True, 1, [])

    def drop(self) -> None:
        """End the connection without a close frame."""
        self._providers.call("dropSocket", name=self.name)

    def destroy(self) -> None:
        """Close it for good."""
        self._providers.call("destroySocket", name=self.name)


class Provider(YjsClient):
    """A provider and its document."""

    @property
    def state(self) -> dict[str, Any]:
        """Its state besides the document: `synced`, `scope`, `unsynced`, `closes`, and more."""
        return self.report()

    @property
    def unsynced(self) -> int:
        """How many of its changes were not confirmed as saved."""
        count: int = self.report()["unsynced"]
        return count

    def events(self, event: str) -> list[dict[str, Json]]:
        """Return all events of that name so far, with those of their fields that are JSON."""
        events: list[dict[str, Json]] = self._call("events", event=event)
        return events

    def wait_event(self, event: str, count: int = 1, timeout: float | None = None, **details: Json) -> None:
        """Wait until there were `count` events of that name with these details."""
        self._clients.wait("heard", self, event=event, count=count, details=details, timeout=timeout)

    def wait_state(self, timeout: float | None = None, **state: Json) -> None:
        """Wait until its state has all these values at once."""
        self._clients.wait("state", self, state=state, timeout=timeout)

    def wait_saved(self, timeout: float | None = None) -> None:
        """Wait until all its changes were confirmed as saved."""
        self.wait_state(timeout, hasUnsyncedChanges=False)

    def wait_denied(self, count: int = 1, timeout: float | None = None) -> str:
        """Wait until authentication failed `count` times, and return the last reason."""
        self.wait_event("authenticationFailed", count, timeout)
        reason: str = self.events("authenticationFailed")[count - 1]["reason"]
        return reason

    def wait_asked(self, count: int, timeout: float | None = None) -> None:
        """Wait until its token function was called `count` times."""
        self._clients.wait("tokensGiven", self, count=count, timeout=timeout)

    def set_token(self, token: str | None) -> None:
        """Set the token that is used from now on."""
        self._call("setToken", token=token)

    def send_token(self) -> None:
        """Send the present token, which versions before 3 cannot."""
        self._call("sendToken")

    def retry(self) -> None:
        """Open the document again on the open socket."""
        self.detach()
        self.attach()

    def attach(self) -> None:
        """Attach to the socket again."""
        self._call("attach")

    def detach(self) -> None:
        """Detach from the socket; versions before 3 do not tell the server."""
        self._call("detach")

    def send_stateless(self, payload: str) -> None:
        """Send a stateless message."""
        self._call("sendStateless", payload=payload)

    def force_sync(self) -> None:
        """Sync again."""
        self._call("forceSync")
