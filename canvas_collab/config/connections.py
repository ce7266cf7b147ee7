"""Settings of the clients' connections: WebSocket, Hocuspocus, and what one connection may send."""

from __future__ import annotations

from attrs import frozen

from canvas_collab.config import variables
from canvas_collab.config.setting import setting


@frozen
class WebSocketSettings:
    """Handshakes, messages and buffers of all WebSocket connections."""

    max_connections: int = setting(
        "MAX_CONNECTIONS",
        10000,
        variables.integer(1, 10**6),
        "How many clients may be connected at once. Each takes a file descriptor.",
    )
    handshake_timeout: float = setting(
        "HANDSHAKE_TIMEOUT",
        10.0,
        variables.number(0.1, 300),
        "How long a client may take to open its connection. The database may take half of it to authorize the client.",
    )
    trusted_proxies: int = setting(
        "TRUSTED_PROXIES",
        0,
        variables.integer(0, 10),
        "How many reverse proxies in front append to `X-Forwarded-For`. The log then has the client address that the "
        "outermost of them saw, and the limits of each address count by it. With `0` the header is ignored.",
    )
    reject_with: str = setting(
        "REJECT_WITH",
        "http",
        variables.one_of("http", "close"),
        "How a client is refused: with an HTTP status (`http`), or with a close code after the handshake (`close`). "
        "See [the protocol](protocol.md#refused-handshakes).",
    )
    max_message_size: int = setting(
        "MAX_MESSAGE_SIZE",
        16 * 2**20,
        variables.integer(1024, 2**31),
        "The largest message a client may send. A whole document that a client sends when it connects must fit.",
    )
    max_receiving_total: int = setting(
        "MAX_RECEIVING_TOTAL",
        64 * 2**20,
        variables.integer(1024, 2**40),
        "How many bytes of received messages, of all clients together, may wait to be handled. When it would be more, "
        "the client with the most of it is closed with 4503. Small messages do not count: they are handled as they "
        "arrive.",
    )
    close_delay: float = setting(
        "CLOSE_DELAY",
        1.0,
        variables.number(0, 60),
        "How long the server delays the close frame after a violation or a denial, since many clients reconnect at "
        "once. Meanwhile nothing is read of the client, and it has left its documents.",
    )
    ping_interval: float = setting(
        "PING_INTERVAL",
        20.0,
        variables.number(0.1, 3600),
        "How often silent clients are sent a ping. A client that has not answered by the next time is disconnected. "
        "A reverse proxy must wait for longer than twice this interval. Above 24, clients without awareness state "
        "close their connections because of their own timers.",
    )
    send_buffer_max: int = setting(
        "SEND_BUFFER_MAX",
        32 * 2**20,
        variables.integer(2**16, 2**40),
        "How many bytes of replies, pongs included, may wait for a client that does not read, before it is "
        "disconnected; each message counts 64 bytes more than its size. Edits and awareness of others are not "
        "buffered: when the client reads again it is sent what has changed.",
    )
    stall_timeout: float = setting(
        "STALL_TIMEOUT",
        60.0,
        variables.number(0.1, 86400),
        "How long a client with data waiting may read nothing, before it is disconnected. A client that reads slowly "
        "stays connected.",
    )


@frozen
class ConnectionLimits:
    """The limits of one connection to a document."""

    max_document_size: int = setting(
        "MAX_DOCUMENT_SIZE",
        100 * 2**20,
        variables.integer(1024, 2**31),
        "The largest document. A larger one can be read, and content in it deleted, but nothing added: a client that "
        "tries is closed with 4413.",
    )
    max_awareness_size: int = setting(
        "MAX_AWARENESS_SIZE",
        2**20,
        variables.integer(256, 2**24),
        "The largest awareness message. Larger ones are dropped; the connection stays open.",
    )
    max_unsaved: int = setting(
        "MAX_UNSAVED",
        64 * 2**10,
        variables.integer(1024, 2**40),
        "After so many bytes of edits, reading from the connection pauses until they are committed, or for a second. "
        "A client that sends faster than the database commits waits, and no other client does.",
    )


@frozen
class HocuspocusSettings:
    """The limits of Hocuspocus sockets."""

    auth_timeout: float = setting(
        "AUTH_TIMEOUT",
        10.0,
        variables.number(0.1, 300),
        "How long a provider may take to authenticate. A socket that has opened no document by then is closed; a "
        "document whose token has not arrived is forgotten.",
    )
    max_documents: int = setting(
        "MAX_DOCUMENTS", 1000, variables.integer(1, 10**6), "How many documents one socket may open."
    )
    max_sessions_per_document: int = setting(
        "MAX_SESSIONS_PER_DOCUMENT",
        100,
        variables.integer(1, 10**6),
        "How often one socket may open the same document, each time with a session of its own.",
    )
    max_denials: int = setting(
        "MAX_DENIALS",
        10,
        variables.integer(1, 10**6),
        "How often one socket may be denied the same document within a minute, before it is closed.",
    )
    max_pending_documents: int = setting(
        "MAX_PENDING_DOCUMENTS",
        100,
        variables.integer(1, 10**6),
        "How many documents of one socket may wait to be opened.",
    )
    max_pending_messages: int = setting(
        "MAX_PENDING_MESSAGES",
        1000,
        variables.integer(1, 10**6),
        "How many messages of one socket may wait for their document to be opened.",
    )
    max_pending_size: int = setting(
        "MAX_PENDING_SIZE",
        5 * 2**20,
        variables.integer(1024, 2**31),
        "How many bytes of such messages one socket may have; also the largest message before the socket has opened a "
        "document.",
    )
    max_pending_total: int = setting(
        "MAX_PENDING_TOTAL",
        64 * 2**20,
        variables.integer(1024, 2**40),
        "How many bytes of such messages all sockets together may have. When it would be more, the socket with the "
        "most of it is closed.",
    )
    stateless: bool = setting(
        "STATELESS",
        True,
        variables.switch,
        "Whether stateless messages of clients that may write are passed on to the document's other providers.",
    )
    max_stateless_size: int = setting(
        "MAX_STATELESS_SIZE",
        64 * 2**10,
        variables.integer(1, 2**24),
        "The largest stateless message. Larger ones are dropped; the connection stays open.",
    )
