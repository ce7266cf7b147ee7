"""The Twisted plugin behind ``twistd canvas-collab``: options, and the service that twistd runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import psycopg2
from twisted.application.service import IService, MultiService, Service
from twisted.internet.endpoints import serverFromString
from twisted.logger import ILogObserver
from twisted.python import usage
from twisted.python.logfile import LogFile

from canvas_collab import development
from canvas_collab.clock import use_monotonic_clock
from canvas_collab.config.application import ListenSettings, ProcessSettings
from canvas_collab.config.settings import ConfigurationError, Settings
from canvas_collab.database.blocking import connect
from canvas_collab.database.errors import UnsuitableDatabase
from canvas_collab.database.migrations import prepare_database
from canvas_collab.embedded_postgres import EmbeddedPostgres
from canvas_collab.listening import listening_error
from canvas_collab.logs import FORMATS, log_observer
from canvas_collab.service import collaboration_service
from canvas_collab.tracing.problems import tracing_problems


class Options(usage.Options):
    """The options of the command line. The settings come from the environment."""

    synopsis = "[options]"
    longdesc = "Realtime collaboration for Yjs documents. Configured from the environment, see docs/configuration.md."
    optParameters = [
        [
            "ws-endpoint",
            None,
            None,
            "Serve clients here instead of on WS_HOST:WS_PORT (a Twisted endpoint string).",
        ],
        [
            "health-endpoint",
            None,
            None,
            "Serve /health and /ready here instead of on HEALTH_HOST:HEALTH_PORT.",
        ],
    ]


def makeService(options: Options) -> IService:
    """Return the daemon's service; twistd calls this.

    Settings, ports and the database are checked here, before twistd detaches the process, so that the operator sees
    what is wrong.

    :raises SystemExit: with sentences for the operator, if the daemon cannot start.
    """
    from twisted.internet import reactor

    use_monotonic_clock(reactor)
    embedded: EmbeddedPostgres | None = None
    try:
        settings = Settings.from_environment(os.environ)
        if problems := tracing_problems(settings.process.tracing, os.environ):
            raise ConfigurationError(problems)
        _require_endpoints(reactor, options)
        _require_ports(settings.listen, options)
        if not settings.database.url:
            settings, embedded = development.start_embedded_database(settings)
            development.create_auth_tables(settings.database.url)
        database = settings.database
        catalogue = prepare_database(database.url, database.migrate, database.schema)
        if database.listen_url:
            connect(database.listen_url, "canvas-collab", "DATABASE_LISTEN_URL").close()
        users = development.create_demo_data(database.url, catalogue.tables) if embedded else []
    except (ConfigurationError, UnsuitableDatabase) as error:
        # twistd prints the traceback of any other exception.
        raise SystemExit("\n  ".join(["canvas-collab cannot start:", *error.problems])) from error
    except development.DevelopmentError as error:
        raise SystemExit(f"canvas-collab cannot start: {error}") from error
    except psycopg2.Error as error:
        if embedded is None:
            raise
        reason = " ".join(str(error).split())
        raise SystemExit(f"canvas-collab cannot start: the embedded database cannot be prepared: {reason}") from error
    service = collaboration_service(
        reactor,
        settings,
        catalogue,
        options["ws-endpoint"] or _tcp(settings.listen.ws_host, settings.listen.ws_port),
        options["health-endpoint"] or _tcp(settings.listen.health_host, settings.listen.health_port),
        before=[_EmbeddedDatabase(embedded)] if embedded else [],
    )
    if embedded:
        # twistd turns writes to sys.stdout into log events.
        reactor.callWhenRunning(print, development.banner(settings, users), file=sys.__stdout__, flush=True)
    return _RootService(service, _observer(options, settings.process))


def _observer(options: Options, settings: ProcessSettings) -> ILogObserver | None:
    """Return an observer that writes the event log to twistd's log file or standard output; None for syslog."""
    twistd: Mapping[str, Any] = options.parent or {}
    if twistd.get("syslog"):
        return None
    name = twistd.get("logfile") or ("-" if twistd.get("nodaemon") else "twistd.log")
    stream = sys.stdout if name == "-" else LogFile.fromFullPath(name)
    log_format = settings.log_format or ("text" if name == "-" and sys.stdout.isatty() else "json")
    return log_observer(settings.log_level, stream, FORMATS[log_format])


def _require_endpoints(reactor: Any, options: Options) -> None:
    """Raise :class:`ConfigurationError` if an endpoint string of the command line cannot be parsed."""
    problems = []
    for name in ("ws-endpoint", "health-endpoint"):
        try:
            if options[name]:
                serverFromString(reactor, options[name])
        except Exception as error:
            # Each kind of endpoint has a parser of its own, which raises what it likes.
            reason = " ".join(str(error).split()) or type(error).__name__
            problems.append(
                f"--{name} must be a Twisted endpoint string, such as tcp:3001:interface=127.0.0.1: {reason}."
            )
    if problems:
        raise ConfigurationError(problems)


def _require_ports(listen: ListenSettings, options: Options) -> None:
    """Raise :class:`ConfigurationError` unless the ports that are to be listened on are free."""
    ports = []
    if not options["ws-endpoint"]:
        ports.append(("WS_PORT", listen.ws_host, listen.ws_port))
    if not options["health-endpoint"]:
        ports.append(("HEALTH_PORT", listen.health_host, listen.health_port))
    problems = [
        f"{name}: nothing can listen on {host} port {port}: {error.strerror or error}."
        for name, host, port in ports
        if port and (error := listening_error(host, port))
    ]
    if problems:
        raise ConfigurationError(problems)


def _tcp(host: str, port: int) -> str:
    """Return the Twisted endpoint string of a TCP port."""
    escaped = host.replace(":", r"\:")
    return f"tcp:{port}:interface={escaped}:backlog=1024"


class _EmbeddedDatabase(Service):
    """Stops the embedded PostgreSQL, which is running already, with the service."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server

    def stopService(self) -> None:
        """Stop PostgreSQL, unless another process uses it too."""
        Service.stopService(self)
        self._server.release()


class _RootService(MultiService):
    """The service that twistd runs. It sets the log observer of twistd's application."""

    def __init__(self, service: Any, observer: ILogObserver | None) -> None:
        MultiService.__init__(self)
        self._observer = observer
        service.setServiceParent(self)

    def setServiceParent(self, parent: Any) -> None:
        """Set the log observer: twistd adds the service to its application before it asks that for an observer."""
        if self._observer is not None and hasattr(parent, "setComponent"):
            parent.setComponent(ILogObserver, self._observer)
        MultiService.setServiceParent(self, parent)
