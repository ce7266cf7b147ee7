"""Settings of documents: awareness, how edits are sent, the journal, snapshots and replication."""

from __future__ import annotations

from attrs import frozen

from canvas_collab.config import variables
from canvas_collab.config.setting import setting


@frozen
class AwarenessSettings:
    """The limits of awareness."""

    max_clients: int = setting(
        "MAX_AWARENESS_CLIENTS",
        32,
        variables.integer(1, 10000),
        "How many awareness clients one connection may announce, and how many new ones within 30 seconds; more are "
        "dropped. A browser tab is one client.",
    )
    max_remembered: int = setting(
        "MAX_AWARENESS_REMEMBERED",
        1000,
        variables.integer(1, 10**6),
        "How many awareness clients of one user a room remembers, for 30 to 60 seconds, after they have left; ten "
        "times as many of all users together.",
    )


@frozen
class PacingSettings:
    """How edits, and what a client lacks, are sent to the clients of a room."""

    fanout_share: float = setting(
        "FANOUT_SHARE",
        0.5,
        variables.number(0.05, 0.95),
        "The share of the CPU core that sending a room's edits to its clients may take; awareness may take half as "
        "much on top. With a larger share edits wait less under load, and other work waits more.",
    )
    flush_max_ms: int = setting(
        "FLUSH_MAX_MS",
        40,
        variables.integer(0, 1000),
        "How many milliseconds an edit may wait at most, to be sent together with others.",
    )
    sync_part_size: int = setting(
        "SYNC_PART_SIZE",
        64 * 2**10,
        variables.integer(32 * 2**10, 2**31),
        "A client that lacks more than four times so many bytes of a document is sent them in parts of about this "
        "size, if its line is [slow](protocol.md#large-documents-on-slow-lines). Clients close a connection on which "
        "they receive no whole message for 30 seconds, so a slow line must carry a part in less.",
    )


@frozen
class JournalSettings:
    """When updates are committed."""

    interval_ms: int = setting(
        "JOURNAL_INTERVAL_MS",
        20,
        variables.integer(0, 1000),
        "How many milliseconds of updates, of all documents, are committed together.",
    )
    queue_max: int = setting(
        "JOURNAL_QUEUE_MAX",
        64 * 2**20,
        variables.integer(2**16, 2**40),
        "How many bytes of updates may wait for the database before edits are refused. Each update counts 512 bytes "
        "more than its size, which is its overhead in memory.",
    )


@frozen
class SnapshotSettings:
    """When snapshots are written, and how long the log is kept."""

    debounce: float = setting(
        "SNAPSHOT_DEBOUNCE",
        1.0,
        variables.number(0.05, 3600),
        "How long a document must rest before its log is folded into its snapshot.",
    )
    max_wait: float = setting(
        "SNAPSHOT_MAX_WAIT",
        10.0,
        variables.number(0.05, 86400),
        "How long that waits at most while a document is being edited. Documents of more than 64 KiB also wait until "
        "their log is large enough to be worth it.",
    )
    history_retention: float = setting(
        "HISTORY_RETENTION",
        7 * 86400.0,
        variables.number(0, 10**10),
        "How long the log keeps who edited what, and deleted content can be restored. After that the rows of the log "
        "are deleted, though not before five times `RECONCILE_INTERVAL`, and deleted content is removed from the "
        "snapshots, for [documents with `gc: false`](hocuspocus.md#documents-with-gc-false) too.",
    )


@frozen
class ReplicationSettings:
    """How edits of other daemons are followed."""

    reconcile_interval: float = setting(
        "RECONCILE_INTERVAL",
        30.0,
        variables.number(0.1, 3600),
        "How often the daemon searches the log for edits, of another daemon or a command, that it was not notified of, "
        "and tests whether it is notified.",
    )
