"""Real Hocuspocus providers, in the Node process of the y-websocket clients, so that both can be in one test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tests.support.yjs_clients import YjsClient, YjsClients
from tests.support.yjs_values import Json

ProviderVersion = Literal["2.4.0", "2.9.0", "2.13.5", "2.15.3", "3.4.4", "4.8.0"]
PROVIDER_VERSIONS: tuple[ProviderVersion, ...] = ("2.4.0", "2.9.0", "2.13.5", "2.15.3", "3.4.4", "4.8.0")

#: Versions that can begin anew with a document on the socket there is, and that count unsynced changes anew when they
#: have reconnected.  Those before go on counting, and what was not saved when a connection ended they show as unsynced
#: for good, though it is saved.
VERSIONS_THAT_REOPEN: tuple[ProviderVersion, ...] = PROVIDER_VERSIONS[2:]

#: Whether the token is there from the beginning, or a function returns it, at once or later.
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
        """A socket that several providers can share; it opens by itself.

        :param options: more of the socket's configuration, in its own words.
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
        """A new provider, synced when this returns unless told not to wait, or to stay offline at first.

        :param at: a socket that is shared, or the URL for one of its own.
        :param edits_at_open: edits made when the socket opens, hence before the document does.
        :param options: more of the provider's configuration, in its own words.
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
    """A socket that providers share."""

    def __init__(self, providers: Providers, name: str, version: ProviderVersion) -> None:
        self._providers = providers
        self.name = name
        self.version = version

    def report(self) -> dict[str, Json]:
        """Whether it is connected, how often it was opened, how it was closed each time."""
        report: dict[str, Json] = self._providers.call("socketReport", name=self.name)
        return report

    def expect_never_closed(self) -> None:
        """It has been opened once and never been closed."""
        report = self.report()
        assert (report["connected"], report["opened"], report["closes"]) == (True, 1, [])

    def drop(self) -> None:
        """Lose the connection without a farewell."""
        self._providers.call("dropSocket", name=self.name)

    def destroy(self) -> None:
        """End it, and what it would do to come back."""
        self._providers.call("destroySocket", name=self.name)


class Provider(YjsClient):
    """One provider and its document."""

    @property
    def state(self) -> dict[str, Any]:
        """What is known of it besides the document: `synced`, `scope`, `unsynced`, `closes`, and more."""
        return self.report()

    @property
    def unsynced(self) -> int:
        """How many of its changes it has not been told are saved."""
        count: int = self.report()["unsynced"]
        return count

    def events(self, event: str) -> list[dict[str, Json]]:
        """All events of that name there have been, with what of them can be compared."""
        events: list[dict[str, Json]] = self._call("events", event=event)
        return events

    def wait_event(self, event: str, count: int = 1, timeout: float | None = None, **details: Json) -> None:
        """Until there have been so many events of that name with these details."""
        self._clients.wait("heard", self, event=event, count=count, details=details, timeout=timeout)

    def wait_state(self, timeout: float | None = None, **state: Json) -> None:
        """Until all of that holds at once."""
        self._clients.wait("state", self, state=state, timeout=timeout)

    def wait_saved(self, timeout: float | None = None) -> None:
        """Until it has been told that everything is saved."""
        self.wait_state(timeout, hasUnsyncedChanges=False)

    def wait_denied(self, count: int = 1, timeout: float | None = None) -> str:
        """The reason of the count-th denial."""
        self.wait_event("authenticationFailed", count, timeout)
        reason: str = self.events("authenticationFailed")[count - 1]["reason"]
        return reason

    def wait_asked(self, count: int, timeout: float | None = None) -> None:
        """Until its token function has been called so often."""
        self._clients.wait("tokensGiven", self, count=count, timeout=timeout)

    def set_token(self, token: str | None) -> None:
        """The token from now on; nobody is told until it is asked for or sent."""
        self._call("setToken", token=token)

    def send_token(self) -> None:
        """Send the token there is now, which versions before 3 cannot."""
        self._call("sendToken")

    def retry(self) -> None:
        """Begin anew with the document, on the socket there is."""
        self.detach()
        self.attach()

    def attach(self) -> None:
        """Be part of the socket again."""
        self._call("attach")

    def detach(self) -> None:
        """Leave the socket to the others; versions before 3 do not tell the server."""
        self._call("detach")

    def send_stateless(self, payload: str) -> None:
        self._call("sendStateless", payload=payload)

    def force_sync(self) -> None:
        self._call("forceSync")
