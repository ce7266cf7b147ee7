"""Behind nginx with the shipped configuration: clients of every version get in, and no token gets into a log."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.conftest import StartDaemon
from tests.support.daemons import free_port
from tests.support.databases import TestDatabase
from tests.support.diagrams import Diagram, headers_of
from tests.support.hocuspocus_providers import PROVIDER_VERSIONS, Providers, ProviderVersion
from tests.support.nginx import Nginx
from tests.support.nginx_process import find_nginx
from tests.support.yjs_clients import VERSIONS, Version


class Site:
    """A diagram whose daemon is behind nginx."""

    def __init__(self, diagram: Diagram, nginx: Nginx) -> None:
        self.diagram = diagram
        self.nginx = nginx

    @property
    def path(self) -> str:
        return f"/collab/{self.diagram.room}"

    def connect(self, path: str = "", host: str = "app.example.com", **headers: str) -> ClientConnection:
        """Connect to a path of a host; that of the room on the application's host if none is named."""
        return connect(
            f"wss://{host}{path or self.path}",
            address=("127.0.0.1", self.nginx.port),
            ssl=ssl.create_default_context(cafile=self.nginx.certificate),
            additional_headers=headers,
            proxy=None,
        )


@pytest.fixture
def site(database: TestDatabase, start_daemon: StartDaemon, tmp_path: Path) -> Iterator[Site]:
    executable = find_nginx()
    if executable is None:
        if "CI" in os.environ:
            pytest.fail("nginx is not installed")
        pytest.skip("nginx is not installed")
    diagram = Diagram(database, start_daemon, WS_PATH_PREFIX="/collab", TRUSTED_PROXIES=1)
    with Nginx(executable, tmp_path, diagram.daemon.ws_port, free_port()) as nginx:
        yield Site(diagram, nginx)


@pytest.fixture
def secure_providers(
    site: Site, node_executable: str, node_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Providers]:
    """A Node process that trusts the certificate of nginx."""
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(site.nginx.certificate))
    providers = Providers(node_executable, node_path)
    with providers:
        yield providers


@pytest.mark.parametrize("version", VERSIONS)
def test_y_websocket_edits_through_it_with_a_cookie_and_with_a_token(
    site: Site, secure_providers: Providers, version: Version
) -> None:
    diagram = site.diagram
    by_cookie = secure_providers.connect(
        "cookie", site.nginx.url, diagram.room, version=version, headers=headers_of(diagram.editor)
    )
    by_token = secure_providers.connect(
        "token", site.nginx.url, diagram.room, version=version, params={"token": diagram.owner.token}
    )
    by_cookie.insert_text("text", 0, "through nginx")
    by_token.wait_content({"text": [{"insert": "through nginx"}]})
    assert diagram.owner.token not in site.nginx.logs
    assert diagram.owner.token not in diagram.daemon.output


@pytest.mark.parametrize("version", PROVIDER_VERSIONS)
def test_providers_edit_through_it_with_a_token_and_old_ones_with_a_cookie(
    site: Site, secure_providers: Providers, version: ProviderVersion
) -> None:
    diagram = site.diagram
    socket = secure_providers.socket("socket", site.nginx.url, version=version)
    writer = secure_providers.provider("writer", diagram.room, socket, token=diagram.editor.token)
    reader = secure_providers.provider(
        "reader", diagram.room, site.nginx.url, version=version, token=diagram.viewer.token
    )
    writer.insert_text("text", 0, "through nginx")
    reader.wait_content({"text": [{"insert": "through nginx"}]})
    writer.wait_saved()


@pytest.mark.parametrize(("role", "status"), [(None, 401), ("stranger", 403)])
def test_the_status_of_a_denial_reaches_the_client(site: Site, role: str | None, status: int) -> None:
    headers = headers_of(site.diagram.database.add_user(role)) if role else {}
    with pytest.raises(InvalidStatus) as refused:
        site.connect(**headers)
    assert refused.value.response.status_code == status


def test_the_event_log_has_the_address_of_the_client_and_not_what_the_client_claims(site: Site) -> None:
    headers = {**headers_of(site.diagram.editor), "X-Forwarded-For": "203.0.113.7"}
    with site.connect(**headers):
        opened = site.diagram.daemon.wait_for_event("connection opened")
    assert opened["client"].startswith("127.0.0.1")


def test_a_host_of_its_own_needs_no_path(site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    executable = find_nginx()
    assert executable
    daemon = site.diagram.start(WS_PATH_PREFIX="", TRUSTED_PROXIES=1)
    path, headers = f"/{site.diagram.room}", headers_of(site.diagram.editor)
    with (
        Nginx(executable, tmp_path_factory.mktemp("nginx"), daemon.ws_port, free_port()) as site.nginx,
        site.connect(path, "collab.example.com", **headers),
    ):
        daemon.wait_for_event("connection opened")


def test_no_log_has_a_token_when_the_daemon_is_away_or_the_handshake_is_malformed(site: Site) -> None:
    token = site.diagram.editor.token
    with site.connect(f"{site.path}?token={token}"):
        pass
    with pytest.raises(InvalidStatus):
        site.connect(f"{site.path}?token={token}&{'x' * 9000}")
    site.diagram.daemon.stop()
    with pytest.raises(InvalidStatus) as refused:
        site.connect(f"{site.path}?token={token}")
    assert refused.value.response.status_code == 502
    assert " 502 502 " in site.nginx.logs
    assert token not in site.nginx.logs


def test_health_is_not_reachable_through_it(site: Site) -> None:
    for path in ("/health", "/ready", "/collab/health", "/collab/ready"):
        with pytest.raises(InvalidStatus) as refused:
            site.connect(path, **headers_of(site.diagram.editor))
        # The application's, which does not run here, or a room that there is not.
        assert refused.value.response.status_code in (403, 502)
