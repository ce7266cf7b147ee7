"""All settings, read from the environment at once; every problem is reported with the name of its variable."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from canvas_collab.config.application import (
    AuthSettings,
    DatabaseSettings,
    ListenSettings,
    ProcessSettings,
    RoutingSettings,
)
from canvas_collab.config.bus import BusSettings
from canvas_collab.config.connections import ConnectionLimits, HocuspocusSettings, WebSocketSettings
from canvas_collab.config.documents import (
    AwarenessSettings,
    JournalSettings,
    PacingSettings,
    ReplicationSettings,
    SnapshotSettings,
)
from canvas_collab.config.limits import AddressLimits, RateLimits, UserLimits
from canvas_collab.config.setting import Variable, as_text, variable_of

#: The shortest secret that Better Auth takes for one that is not easily guessed, in characters.
MIN_SECRET_LENGTH = 32


class ConfigurationError(Exception):
    """The environment cannot be used.  `problems` has a sentence for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _group(group: type[Any], title: str) -> Any:
    """A group of settings, and the title of its section in ``docs/configuration.md``."""
    return attrs.field(factory=group, kw_only=True, metadata={"title": title, "group": group})


@frozen
class Settings:
    """The settings groups, in the order of ``docs/configuration.md``.

    Each part of the daemon is given the group that it reads.  Times are in seconds and sizes in bytes, unless a name
    says otherwise.
    """

    database: DatabaseSettings = _group(DatabaseSettings, "Database")
    auth: AuthSettings = _group(AuthSettings, "Authentication and access")
    process: ProcessSettings = _group(ProcessSettings, "Process")
    listen: ListenSettings = _group(ListenSettings, "Addresses")
    routing: RoutingSettings = _group(RoutingSettings, "Paths and room names")
    websocket: WebSocketSettings = _group(WebSocketSettings, "WebSocket connections")
    limits: ConnectionLimits = _group(ConnectionLimits, "What one connection may send")
    address_limits: AddressLimits = _group(AddressLimits, "Limits of each address")
    user_limits: UserLimits = _group(UserLimits, "Limits of each user")
    rates: RateLimits = _group(RateLimits, "How fast one client may send")
    hocuspocus: HocuspocusSettings = _group(HocuspocusSettings, "Hocuspocus providers")
    awareness: AwarenessSettings = _group(AwarenessSettings, "Awareness")
    pacing: PacingSettings = _group(PacingSettings, "Sending edits")
    journal: JournalSettings = _group(JournalSettings, "Journal")
    snapshots: SnapshotSettings = _group(SnapshotSettings, "Snapshots and history")
    replication: ReplicationSettings = _group(ReplicationSettings, "Replication")
    bus: BusSettings = _group(BusSettings, "Bus")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], for_daemon: bool = True) -> Settings:
        """Read the settings; a variable that is set to the empty string counts as not set, unless it may be empty.

        :param for_daemon: whether to require what only the daemon needs: the secret, and the origins of pages.
        :raises ConfigurationError: naming every variable that cannot be used, and what would be right.
        """
        settings, problems = cls.read(environment, for_daemon)
        if problems:
            raise ConfigurationError(problems)
        return settings

    @classmethod
    def read(cls, environment: Mapping[str, str], for_daemon: bool = True) -> tuple[Settings, list[str]]:
        """Read the settings as :meth:`from_environment` does; return them with a sentence for each problem.

        A variable that cannot be used counts as not set.
        """
        problems: list[str] = []
        groups = {field.name: _read(field.metadata["group"], environment, problems) for field in attrs.fields(cls)}
        settings = cls(**groups)
        problems.extend(settings._contradictions())
        if for_daemon:
            problems.extend(settings._missing_for_daemon())
        return settings, problems

    def changed(self) -> dict[str, str]:
        """The variables whose values are not the defaults, with their values as text; of secrets, ``(hidden)``."""
        changed = {}
        for group in attrs.fields(type(self)):
            for field in attrs.fields(group.metadata["group"]):
                value = getattr(getattr(self, group.name), field.name)
                if value != field.default:
                    variable = variable_of(field)
                    changed[variable.name] = "(hidden)" if variable.is_secret else as_text(value)
        return changed

    def _missing_for_daemon(self) -> list[str]:
        problems = []
        production, auth = self.process.production, self.auth
        if production and len(auth.secret) < MIN_SECRET_LENGTH:
            problems.append(
                f"BETTER_AUTH_SECRET must be the application's secret, of {MIN_SECRET_LENGTH} characters or more."
            )
        if self.database.url and not production and not auth.secret:
            problems.append("BETTER_AUTH_SECRET must be the application's secret: DATABASE_URL names its database.")
        if production and not auth.application_url and not auth.allowed_origins:
            problems.append(
                "BETTER_AUTH_URL must be the application's URL, or ALLOWED_ORIGINS the origins of its pages."
            )
        return problems

    def _contradictions(self) -> list[str]:
        problems = []
        if self.process.production and not self.database.url:
            problems.append("DATABASE_URL must be set in production: there is no embedded database there.")
        if self.snapshots.max_wait < self.snapshots.debounce:
            problems.append("SNAPSHOT_MAX_WAIT must not be shorter than SNAPSHOT_DEBOUNCE.")
        if self.websocket.max_receiving_total < self.websocket.max_message_size:
            problems.append("MAX_RECEIVING_TOTAL must not be smaller than MAX_MESSAGE_SIZE.")
        if self.hocuspocus.max_pending_total < self.hocuspocus.max_pending_size:
            problems.append("MAX_PENDING_TOTAL must not be smaller than MAX_PENDING_SIZE.")
        return problems


def _read(group: type[Any], environment: Mapping[str, str], problems: list[str]) -> Any:
    """A group from the environment; what is wrong is added to `problems`, and the default taken for it."""
    values: dict[str, object] = {}
    for field in attrs.fields(group):
        variable = variable_of(field)
        try:
            given, text = _find(variable, environment)
        except OSError as error:
            problems.append(f"{variable.file_name} must name a file that can be read: {error.strerror or error}.")
            continue
        except UnicodeDecodeError:
            problems.append(f"{variable.file_name} must name a text file in UTF-8.")
            continue
        if not text and not given:
            continue
        try:
            values[field.name] = variable.parse(text)
        except ValueError as error:
            problems.append(f"{given} {error}.")
    return group(**values)


def _find(variable: Variable, environment: Mapping[str, str]) -> tuple[str, str]:
    """The name under which a variable is set, and its text without surrounding space; both are empty if it is not.

    :raises OSError: if a file is named, and cannot be read.
    :raises UnicodeDecodeError: if it is not text.
    """
    for name in (variable.name, *variable.aliases):
        text = environment.get(name, "").strip()
        if text or (variable.may_be_empty and name in environment):
            return name, text
    if variable.is_secret and (path := environment.get(variable.file_name, "").strip()):
        return variable.file_name, Path(path).read_text(encoding="utf-8").strip()
    return "", ""
