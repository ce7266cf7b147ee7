"""The nginx of deploy/nginx.conf, with a certificate of its own, on free ports."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.daemons import ROOT, free_port
from tests.support.nginx_process import NginxProcess

CONFIGURATION = ROOT / "deploy" / "nginx.conf"


class Nginx(NginxProcess):
    """nginx with the shipped configuration; only addresses, certificates and the directory of the logs are replaced."""

    def __init__(self, executable: str, directory: Path, daemon_port: int, application_port: int) -> None:
        port = free_port()
        self.plain_port = free_port()
        self.certificate = directory / "certificate.pem"
        self._make_certificate(directory / "key.pem")
        replacements = {
            "listen 80;": f"listen 127.0.0.1:{self.plain_port};",
            "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            "listen [::]:80;": "",
            "listen [::]:443 ssl;": "",
            "server 127.0.0.1:3001;": f"server 127.0.0.1:{daemon_port};",
            "server 127.0.0.1:3000;": f"server 127.0.0.1:{application_port};",
            "/etc/ssl/app.example.com.pem": str(self.certificate),
            "/etc/ssl/collab.example.com.pem": str(self.certificate),
            "/etc/ssl/app.example.com.key": str(directory / "key.pem"),
            "/etc/ssl/collab.example.com.key": str(directory / "key.pem"),
            "/var/log/nginx/": f"{directory}/log/",
        }
        configuration = CONFIGURATION.read_text(encoding="utf-8")
        for shipped, own in replacements.items():
            assert shipped in configuration, shipped
            configuration = configuration.replace(shipped, own)
        super().__init__(executable, directory, port, configuration)

    @property
    def url(self) -> str:
        """The URL that clients connect to."""
        return f"wss://127.0.0.1:{self.port}/collab"

    def _make_certificate(self, key: Path) -> None:
        names = "subjectAltName=IP:127.0.0.1,DNS:app.example.com,DNS:collab.example.com"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-days", "2", "-subj", "/CN=app.example.com", "-addext", names),
                *("-keyout", str(key), "-out", str(self.certificate)),
            ],
            check=True,
            capture_output=True,
        )
