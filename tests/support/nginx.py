"""The nginx of deploy/nginx.conf, with a certificate of its own, on free ports."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType

from tests.support.daemons import ROOT, free_port

CONFIGURATION = ROOT / "deploy" / "nginx.conf"

#: How long nginx may take to start, in seconds.
PATIENCE = 10.0

_MAIN = """
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/log/error.log info;
worker_processes 1;
{user}
events {{ worker_connections 1024; }}
http {{
    access_log {directory}/log/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/app.conf;
}}
"""


def find_nginx() -> str | None:
    """The path of the program, if it is installed."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class Nginx:
    """nginx with the shipped configuration; only addresses, certificates and the directory of the logs are replaced."""

    def __init__(self, executable: str, directory: Path, daemon_port: int, application_port: int) -> None:
        self.directory = directory
        self.port = free_port()
        self.plain_port = free_port()
        self.certificate = directory / "certificate.pem"
        (directory / "log").mkdir()
        self._make_certificate()
        replacements = {
            "listen 80;": f"listen 127.0.0.1:{self.plain_port};",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
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
        (directory / "app.conf").write_text(configuration, encoding="utf-8")
        user = "user root;" if os.geteuid() == 0 else ""
        (directory / "nginx.conf").write_text(_MAIN.format(directory=directory, user=user), encoding="utf-8")
        self._process = subprocess.Popen(
            [executable, "-p", str(directory), "-c", str(directory / "nginx.conf")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(directory / "log" / "stderr.log").open("w"),
        )
        deadline = time.monotonic() + PATIENCE
        while not self._listens():
            assert self._process.poll() is None, (directory / "log" / "stderr.log").read_text()
            assert time.monotonic() < deadline, "nginx does not listen"
            threading.Event().wait(0.02)

    def __enter__(self) -> Nginx:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)

    @property
    def url(self) -> str:
        """The URL that clients connect to."""
        return f"wss://127.0.0.1:{self.port}/collab"

    @property
    def logs(self) -> str:
        """Everything that nginx has logged, in whichever file."""
        return "".join(path.read_text(encoding="utf-8") for path in (self.directory / "log").iterdir())

    def _make_certificate(self) -> None:
        names = "subjectAltName=IP:127.0.0.1,DNS:app.example.com,DNS:collab.example.com"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-days", "2", "-subj", "/CN=app.example.com", "-addext", names),
                *("-keyout", str(self.directory / "key.pem"), "-out", str(self.certificate)),
            ],
            check=True,
            capture_output=True,
        )

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
