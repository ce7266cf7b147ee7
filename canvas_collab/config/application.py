"""Settings of the process, its addresses, the database, and the application that users sign in to."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from canvas_collab.config import variables
from canvas_collab.config.database_url import database_url
from canvas_collab.config.setting import setting

LOG_LEVELS = ("debug", "info", "warn", "error", "critical")
LOG_FORMATS = ("json", "text")


@frozen
class ProcessSettings:
    """What kind of process this is, and what it logs."""

    app_env: str = setting(
        "APP_ENV",
        "development",
        variables.one_of("development", "production"),
        "`development` or `production`. If it is not set, `NODE_ENV` counts.",
        "NODE_ENV",
    )
    log_level: str = setting(
        "LOG_LEVEL",
        "info",
        variables.one_of(*LOG_LEVELS),
        "The least severe events to log: `debug`, `info`, `warn`, `error` or `critical`.",
    )
    log_format: str = setting(
        "LOG_FORMAT",
        "",
        variables.one_of(*LOG_FORMATS),
        "How events are written: `json`, an object a line, or `text`, a line to read. Empty: `text` on a terminal, "
        "otherwise `json`.",
    )
    tracing: bool = setting(
        "TRACING",
        False,
        variables.switch,
        "Whether to export [traces](traces.md) of edits with OpenTelemetry. Needs the extra `tracing`, and "
        "OpenTelemetry's own variables.",
    )
    data_dir: Path = setting(
        "DATA_DIR",
        Path(".canvas-collab"),
        Path,
        "The directory of the embedded development database. Delete it to start afresh.",
    )

    @property
    def production(self) -> bool:
        """Whether this is a production environment."""
        return self.app_env == "production"


@frozen
class ListenSettings:
    """Where the daemon listens."""

    ws_host: str = setting("WS_HOST", "127.0.0.1", variables.text, "The address to listen on for WebSocket clients.")
    ws_port: int = setting("WS_PORT", 3001, variables.integer(0, 65535), "The port to listen on for WebSocket clients.")
    health_host: str = setting("HEALTH_HOST", "127.0.0.1", variables.text, "The address of `/health` and `/ready`.")
    health_port: int = setting("HEALTH_PORT", 3002, variables.integer(0, 65535), "The port of `/health` and `/ready`.")
    control_socket: str = setting(
        "CONTROL_SOCKET",
        "",
        variables.socket_path,
        "The path of the unix socket for the [commands](command-line.md#the-running-daemon) that talk to the running "
        "daemon; only its user and root can connect. Empty: `control.sock` in systemd's `RuntimeDirectory`, or none.",
    )


@frozen
class DatabaseSettings:
    """The connection pool."""

    url: str = setting(
        "DATABASE_URL",
        "",
        database_url,
        "The PostgreSQL database with Better Auth's tables, as `postgresql://user:password@host/name`. Empty, in "
        "development only: an embedded database under `DATA_DIR`. Prisma's parameter `schema` names the schema of the "
        "application's tables.",
        is_secret=True,
    )
    listen_url: str = setting(
        "DATABASE_LISTEN_URL",
        "",
        database_url,
        "The same database for the connection that listens for notifications, and for `backup`. Needed if "
        "`DATABASE_URL` leads to a [transaction pooler](operating.md#connection-poolers). Empty: `DATABASE_URL`.",
        is_secret=True,
    )
    schema: str = setting(
        "DATABASE_SCHEMA",
        "collab",
        variables.schema_name,
        "The schema for the daemon's own tables. Tables that an earlier version created in another schema are used "
        "where they are. See [the database](operating.md#the-database).",
    )
    migrate: bool = setting(
        "MIGRATE",
        True,
        variables.switch,
        "Whether to apply missing migrations at start. With `off` they must have been applied: see "
        "[migrations](operating.md#migrations).",
    )
    pool_size: int = setting(
        "DATABASE_POOL_SIZE",
        4,
        variables.integer(2, 100),
        "The number of connections to PostgreSQL. Two of them (one, if there are fewer than four) are reserved for the "
        "journal, for rechecks of open connections, and for `/health`; sign-ins, loading and snapshots share the "
        "others. Two more connections, outside the pool, append to the log and listen for notifications.",
    )
    max_waiting_lookups: int = setting(
        "MAX_WAITING_LOOKUPS",
        1000,
        variables.integer(1, 10**6),
        "How many handshakes and tokens may wait for a lookup, and how many documents may wait to be loaded. Sockets "
        "take turns. When the queue is full, a request of the socket with the most waiting requests, or else the new "
        'request, is answered with "try again later".',
    )

    @property
    def direct_url(self) -> str:
        """The URL that leads to the database without a transaction pooler, if the settings name one."""
        return self.listen_url or self.url


@frozen
class AuthSettings:
    """Who may connect, and for how long that holds."""

    secret: str = setting(
        "BETTER_AUTH_SECRET",
        "",
        variables.text,
        "The secret with which the application signs its session cookies. If the application has "
        "`BETTER_AUTH_SECRETS`, the value of its first entry.",
        is_secret=True,
    )
    application_url: str = setting(
        "BETTER_AUTH_URL", "", variables.http_url, "The application's URL. Pages of its origin may connect."
    )
    cookie_prefix: str = setting(
        "BETTER_AUTH_COOKIE_PREFIX",
        "better-auth",
        variables.text,
        "The prefix of the session cookie's name: `cookiePrefix` of the application's Better Auth.",
    )
    allowed_origins: tuple[str, ...] = setting(
        "ALLOWED_ORIGINS",
        (),
        variables.origins,
        "The origins whose pages may connect with a cookie, separated by commas. Empty: the origin of "
        "`BETTER_AUTH_URL` and, in development, any on localhost. A list replaces that default.",
    )
    recheck_interval: float = setting(
        "SESSION_RECHECK",
        60.0,
        variables.number(1, 86400),
        "How often the session and the role of every open connection are looked up again. "
        "[A notification](operating.md#immediate-rechecks) causes that at once.",
    )
    token_renewal: float = setting(
        "TOKEN_RENEWAL",
        60.0,
        variables.number(0, 86400),
        "How long before the end of a session the server asks a Hocuspocus provider for a new token.",
    )


@frozen
class RoutingSettings:
    """Which URL paths lead where, and how rooms are named."""

    ws_path_prefix: str = setting(
        "WS_PATH_PREFIX",
        "",
        variables.path_prefix,
        "The path under which a reverse proxy passes requests on unchanged, such as `/collab`. The room's name is what "
        "follows it.",
    )
    hocuspocus_path: str = setting(
        "HOCUSPOCUS_PATH",
        "/",
        variables.path,
        "The path, after `WS_PATH_PREFIX`, for Hocuspocus providers. Every other path names a room.",
    )
    room_prefix: str = setting(
        "ROOM_PREFIX",
        "diagram-",
        variables.text,
        "The prefix of every room's name. The rest of the name is the diagram's id. May be set to the empty string: "
        "then the name is the id.",
        may_be_empty=True,
    )

    def is_hocuspocus_path(self, path: str) -> bool:
        """Whether Hocuspocus providers are served on this URL path."""
        return path.rstrip("/") == self.ws_path_prefix + self.hocuspocus_path.rstrip("/")
