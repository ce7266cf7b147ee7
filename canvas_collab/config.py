"""The settings: read from the environment, typed, checked at once, every problem named.

Each field of :class:`Settings` is one variable.  Its metadata holds the variable's name, how its text is read, and
what it is for; ``docs/configuration.md`` and ``.env.example`` list the same variables, and a test compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
from attrs import frozen

from canvas_collab import variables

#: Better Auth's own minimum for a secret that is not easily guessed.
MIN_SECRET_LENGTH = 32

LOG_LEVELS = ("debug", "info", "warn", "error", "critical")


class ConfigurationError(Exception):
    """The environment cannot be used.  `problems` has a sentence for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _setting(name: str, default: object, parse: Callable[[str], object], purpose: str, *aliases: str) -> Any:
    """One variable: `name` (and other names it is honoured under), the `default`, how to read it, what it is for."""
    return attrs.field(default=default, metadata={"name": name, "parse": parse, "purpose": purpose, "aliases": aliases})


@frozen
class Settings:
    """Everything an operator can set.  Times are in seconds, sizes in bytes, unless the name says otherwise."""

    database_url: str = _setting(
        "DATABASE_URL",
        "",
        variables.database_url,
        "The PostgreSQL database with Better Auth's tables. Empty, in development only: an embedded one.",
    )
    app_env: str = _setting(
        "APP_ENV",
        "development",
        variables.one_of("development", "production"),
        "What the daemon runs for; production refuses to start without a database and a secret.",
        "NODE_ENV",
    )
    log_level: str = _setting(
        "LOG_LEVEL", "info", variables.one_of(*LOG_LEVELS), "The least severe events that are logged."
    )
    ws_host: str = _setting("WS_HOST", "127.0.0.1", variables.text, "The address on which clients are served.")
    ws_port: int = _setting("WS_PORT", 3001, variables.integer(0, 65535), "The port on which clients are served.")
    ws_path_prefix: str = _setting(
        "WS_PATH_PREFIX", "", variables.path_prefix, "The path under which a reverse proxy passes requests on."
    )
    health_host: str = _setting("HEALTH_HOST", "127.0.0.1", variables.text, "The address of /health and /ready.")
    health_port: int = _setting("HEALTH_PORT", 3002, variables.integer(0, 65535), "The port of /health and /ready.")
    trusted_proxies: int = _setting(
        "TRUSTED_PROXIES",
        0,
        variables.integer(0, 10),
        "How many proxies in front set X-Forwarded-For; the log then names the client they saw.",
    )
    better_auth_secret: str = _setting(
        "BETTER_AUTH_SECRET", "", variables.text, "The secret with which the application signs its session cookies."
    )
    better_auth_url: str = _setting(
        "BETTER_AUTH_URL", "", variables.http_url, "The application's own URL; pages of its origin may connect."
    )
    cookie_prefix: str = _setting(
        "BETTER_AUTH_COOKIE_PREFIX", "better-auth", variables.text, "The prefix of the session cookie's name."
    )
    allowed_origins: tuple[str, ...] = _setting(
        "ALLOWED_ORIGINS",
        (),
        variables.origins,
        "The origins whose pages may connect with a cookie. Empty: that of BETTER_AUTH_URL and, in "
        "development, any on localhost.",
    )
    room_prefix: str = _setting(
        "ROOM_PREFIX", "diagram-", variables.text, "What a room's name begins with; the rest is the diagram's id."
    )
    reject_with: str = _setting(
        "REJECT_WITH",
        "http",
        variables.one_of("http", "close"),
        "Whether a client that may not come in gets an HTTP status, or a WebSocket close code after the handshake.",
    )
    hocuspocus_path: str = _setting(
        "HOCUSPOCUS_PATH",
        "/",
        variables.path,
        "The path, after WS_PATH_PREFIX, on which Hocuspocus providers are served; every other one names a room.",
    )
    auth_timeout: float = _setting(
        "AUTH_TIMEOUT", 10.0, variables.number(0.1, 300), "How long a Hocuspocus provider may take to authenticate."
    )
    token_renewal: float = _setting(
        "TOKEN_RENEWAL",
        60.0,
        variables.number(0, 86400),
        "How long before the end of a session a Hocuspocus provider is asked for a new token.",
    )
    session_recheck: float = _setting(
        "SESSION_RECHECK",
        60.0,
        variables.number(1, 86400),
        "How often the session and the role behind an open connection are looked up again.",
    )
    migrate: bool = _setting(
        "MIGRATE", True, variables.switch, "Whether the database's tables are brought up to date at start."
    )
    database_pool_size: int = _setting(
        "DATABASE_POOL_SIZE", 4, variables.integer(2, 100), "How many connections to PostgreSQL are kept open."
    )
    max_waiting_lookups: int = _setting(
        "MAX_WAITING_LOOKUPS",
        1000,
        variables.integer(1, 10**6),
        "How many handshakes and tokens may wait to be looked up.",
    )
    journal_interval_ms: int = _setting(
        "JOURNAL_INTERVAL_MS",
        20,
        variables.integer(0, 1000),
        "How many milliseconds of updates are committed together.",
    )
    journal_queue_max: int = _setting(
        "JOURNAL_QUEUE_MAX",
        64 * 2**20,
        variables.integer(2**16, 2**40),
        "How many bytes may wait for the database before writers are turned away, each counted with its overhead.",
    )
    reconcile_interval: float = _setting(
        "RECONCILE_INTERVAL",
        30.0,
        variables.number(0.1, 3600),
        "How often it is looked whether the database has edits that this daemon has not heard of.",
    )
    max_unsaved: int = _setting(
        "MAX_UNSAVED",
        64 * 2**10,
        variables.integer(1024, 2**40),
        "After so many bytes of one connection's edits no more is read of it until they are on disk, or for a second.",
    )
    snapshot_debounce: float = _setting(
        "SNAPSHOT_DEBOUNCE", 1.0, variables.number(0.05, 3600), "How long a document rests before it is snapshotted."
    )
    snapshot_max_wait: float = _setting(
        "SNAPSHOT_MAX_WAIT", 10.0, variables.number(0.05, 86400), "How long a busy document waits for that at most."
    )
    history_retention: float = _setting(
        "HISTORY_RETENTION",
        7 * 86400.0,
        variables.number(0, 10**10),
        "How long it can be looked up who edited what, and what was deleted can be brought back.",
    )
    max_document_size: int = _setting(
        "MAX_DOCUMENT_SIZE",
        100 * 2**20,
        variables.integer(1024, 2**31),
        "A document of so many bytes can be read, and what is in it deleted, but nothing added.",
    )
    max_connections: int = _setting(
        "MAX_CONNECTIONS", 10000, variables.integer(1, 10**6), "How many clients may be connected at once."
    )
    handshake_timeout: float = _setting(
        "HANDSHAKE_TIMEOUT", 10.0, variables.number(0.1, 300), "How long a client may take to open its connection."
    )
    max_message_size: int = _setting(
        "MAX_MESSAGE_SIZE", 16 * 2**20, variables.integer(1024, 2**31), "The largest message a client may send."
    )
    max_receiving_total: int = _setting(
        "MAX_RECEIVING_TOTAL",
        64 * 2**20,
        variables.integer(1024, 2**40),
        "How many bytes of all clients' messages together may have come and not been dealt with.",
    )
    max_awareness_size: int = _setting(
        "MAX_AWARENESS_SIZE", 2**20, variables.integer(256, 2**24), "The largest awareness message."
    )
    max_awareness_clients: int = _setting(
        "MAX_AWARENESS_CLIENTS",
        32,
        variables.integer(1, 10000),
        "How many awareness clients one connection may announce.",
    )
    max_awareness_remembered: int = _setting(
        "MAX_AWARENESS_REMEMBERED",
        1000,
        variables.integer(1, 10**6),
        "How many awareness clients of one user are remembered for a while after they have left.",
    )
    max_documents: int = _setting(
        "MAX_DOCUMENTS", 1000, variables.integer(1, 10**6), "How many documents one Hocuspocus connection may open."
    )
    max_sessions_per_document: int = _setting(
        "MAX_SESSIONS_PER_DOCUMENT",
        100,
        variables.integer(1, 10**6),
        "How often one Hocuspocus connection may open the same document, each time with a session of its own.",
    )
    max_denials: int = _setting(
        "MAX_DENIALS",
        10,
        variables.integer(1, 10**6),
        "How often one Hocuspocus connection may be denied the same document within a minute.",
    )
    max_pending_documents: int = _setting(
        "MAX_PENDING_DOCUMENTS",
        100,
        variables.integer(1, 10**6),
        "How many documents of one Hocuspocus connection may be waiting to be opened.",
    )
    max_pending_messages: int = _setting(
        "MAX_PENDING_MESSAGES",
        1000,
        variables.integer(1, 10**6),
        "How many messages of one Hocuspocus connection may wait for that.",
    )
    max_pending_size: int = _setting(
        "MAX_PENDING_SIZE",
        5 * 2**20,
        variables.integer(1024, 2**31),
        "How many bytes of one Hocuspocus connection may wait for that.",
    )
    max_pending_total: int = _setting(
        "MAX_PENDING_TOTAL",
        64 * 2**20,
        variables.integer(1024, 2**40),
        "How many bytes of all Hocuspocus connections together may wait for that.",
    )
    stateless: bool = _setting("STATELESS", True, variables.switch, "Whether stateless messages are passed on.")
    max_stateless_size: int = _setting(
        "MAX_STATELESS_SIZE", 64 * 2**10, variables.integer(1, 2**24), "The largest stateless message."
    )
    close_delay: float = _setting(
        "CLOSE_DELAY",
        1.0,
        variables.number(0, 60),
        "How long a client is not told yet that its connection is over: many come back as soon as they hear.",
    )
    ping_interval: float = _setting(
        "PING_INTERVAL",
        20.0,
        variables.number(0.1, 3600),
        "How often a silent client is asked whether it is there; one that has not answered by the next time is gone.",
    )
    send_buffer_max: int = _setting(
        "SEND_BUFFER_MAX",
        32 * 2**20,
        variables.integer(2**16, 2**40),
        "How many bytes of answers may wait for one client that does not read, before it is disconnected.",
    )
    stall_timeout: float = _setting(
        "STALL_TIMEOUT",
        60.0,
        variables.number(0.1, 86400),
        "How long a client for which something waits may read nothing of it, before it is disconnected.",
    )
    fanout_share: float = _setting(
        "FANOUT_SHARE", 0.5, variables.number(0.05, 0.95), "The part of the core that sending to clients may take."
    )
    flush_max_ms: int = _setting(
        "FLUSH_MAX_MS", 40, variables.integer(0, 1000), "How many milliseconds an edit may wait to be sent at most."
    )
    data_dir: Path = _setting(
        "DATA_DIR",
        Path(".canvas-collab"),
        Path,
        "Where the embedded database of development keeps its files.",
    )

    @property
    def production(self) -> bool:
        """Whether this is the real thing."""
        return self.app_env == "production"

    def hocuspocus_at(self, path: str) -> bool:
        """Whether Hocuspocus is what is spoken on this URL path."""
        return path.rstrip("/") == self.ws_path_prefix + self.hocuspocus_path.rstrip("/")

    def origin_allowed(self, origin: str) -> bool:
        """Whether a page of `origin` may come in with a cookie alone."""
        candidate = variables.origin_of(origin)
        if candidate is None:
            return False
        if self.allowed_origins:
            return candidate in self.allowed_origins
        if self.better_auth_url and candidate == variables.origin_of(self.better_auth_url):
            return True
        return not self.production and urlsplit(candidate).hostname in ("localhost", "127.0.0.1", "::1")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings; a variable that is set to the empty string counts as not set.

        :raises ConfigurationError: naming every variable that cannot be used, and what would be right.
        """
        problems: list[str] = []
        values: dict[str, object] = {}
        for field in attrs.fields(cls):
            names = (field.metadata["name"], *field.metadata["aliases"])
            given = next((name for name in names if environment.get(name, "").strip()), None)
            if given is None:
                continue
            try:
                values[field.name] = field.metadata["parse"](environment[given].strip())
            except ValueError as error:
                problems.append(f"{given} {error}.")
        settings = cls(**values)  # type: ignore[arg-type]
        problems.extend(settings._contradictions(unusable="database_url" not in values))
        if problems:
            raise ConfigurationError(problems)
        return settings

    def _contradictions(self, unusable: bool) -> list[str]:
        problems = []
        if self.production and unusable:
            problems.append("DATABASE_URL must be set in production: there is no embedded database there.")
        if self.production and len(self.better_auth_secret) < MIN_SECRET_LENGTH:
            problems.append(
                f"BETTER_AUTH_SECRET must be the application's secret, of {MIN_SECRET_LENGTH} characters or more."
            )
        if self.database_url and not self.production and not self.better_auth_secret:
            problems.append("BETTER_AUTH_SECRET must be the application's secret: DATABASE_URL names its database.")
        if self.production and not self.better_auth_url and not self.allowed_origins:
            problems.append(
                "BETTER_AUTH_URL must be the application's URL, or ALLOWED_ORIGINS the origins of its pages."
            )
        if self.snapshot_max_wait < self.snapshot_debounce:
            problems.append("SNAPSHOT_MAX_WAIT must not be shorter than SNAPSHOT_DEBOUNCE.")
        if self.max_receiving_total < self.max_message_size:
            problems.append("MAX_RECEIVING_TOTAL must not be smaller than MAX_MESSAGE_SIZE.")
        if self.max_pending_total < self.max_pending_size:
            problems.append("MAX_PENDING_TOTAL must not be smaller than MAX_PENDING_SIZE.")
        return problems
