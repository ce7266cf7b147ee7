"""nginx with the locations that a test gives, as an operator might get them wrong."""

from __future__ import annotations

from pathlib import Path

from tests.support.daemons import free_port
from tests.support.nginx_process import NginxProcess

_SERVER = """
    server {{
        listen 127.0.0.1:{port};
        {locations}
        location / {{ return 404; }}
    }}
"""

#: What passes an upgrade on.
UPGRADE = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'


class StagedNginx(NginxProcess):
    """nginx on a free port, without TLS; to be used in a with statement."""

    def __init__(self, executable: str, directory: Path, locations: str) -> None:
        port = free_port()
        super().__init__(executable, directory, port, _SERVER.format(port=port, locations=locations))

    @property
    def url(self) -> str:
        """The URL that clients connect to."""
        return f"ws://127.0.0.1:{self.port}/collab"
