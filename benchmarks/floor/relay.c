/* The floor of the comparison: a relay that does the system calls of a collaboration server and nothing else.
 *
 * It reads frames, unmasks them, and sends each message to the other connections of the room, one send for each
 * recipient. It keeps no document and merges nothing. Clients that ask for the document (sync step 1) are sent an empty
 * one, since they wait for an answer. Rooms are the paths that clients connect to.
 *
 * Usage: relay PORT. It listens on 127.0.0.1, and runs until a signal ends it.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE 65536
#define EVENTS 256

static const char GUID[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/* A frame with an empty sync step 2: no structs, no deletions. */
static const uint8_t EMPTY_DOCUMENT[] = {0x82, 5, 0, 1, 2, 0, 0};

struct buffer {
    uint8_t *data;
    size_t size, room;
};

struct room;

struct connection {
    int fd;
    int is_open;
    struct room *room;
    size_t index;
    struct buffer received, unsent;
};

struct room {
    char *path;
    struct connection **members;
    size_t count, space;
    struct room *next;
};

static int poller;
static struct room *rooms;
static struct buffer frame;

static void *checked(void *memory)
{
    if (memory == NULL) {
        perror("relay");
        exit(1);
    }
    return memory;
}

static void reserve(struct buffer *buffer, size_t more)
{
    if (buffer->size + more > buffer->room) {
        buffer->room = (buffer->size + more) * 2;
        buffer->data = checked(realloc(buffer->data, buffer->room));
    }
}

static void append(struct buffer *buffer, const void *data, size_t size)
{
    reserve(buffer, size);
    memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
}

static uint32_t rotated(uint32_t value, int bits)
{
    return value << bits | value >> (32 - bits);
}

/* SHA-1 (FIPS 180-4) of less than 120 bytes, which is enough for a key and the GUID. */
static void sha1(const char *text, uint8_t digest[20])
{
    uint32_t state[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    uint8_t padded[128] = {0};
    size_t size = strlen(text), blocks = size + 9 > 64 ? 2 : 1;
    memcpy(padded, text, size);
    padded[size] = 0x80;
    padded[blocks * 64 - 2] = (uint8_t)(size * 8 >> 8);
    padded[blocks * 64 - 1] = (uint8_t)(size * 8);
    for (size_t block = 0; block < blocks; block++) {
        const uint8_t *bytes = padded + block * 64;
        uint32_t words[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
        for (int i = 0; i < 16; i++)
            words[i] = (uint32_t)bytes[i * 4] << 24 | (uint32_t)bytes[i * 4 + 1] << 16 |
                       (uint32_t)bytes[i * 4 + 2] << 8 | bytes[i * 4 + 3];
        for (int i = 16; i < 80; i++)
            words[i] = rotated(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t mixed, constant;
            if (i < 20) {
                mixed = (b & c) | (~b & d);
                constant = 0x5A827999;
            } else if (i < 40) {
                mixed = b ^ c ^ d;
                constant = 0x6ED9EBA1;
            } else if (i < 60) {
                mixed = (b & c) | (b & d) | (c & d);
                constant = 0x8F1BBCDC;
            } else {
                mixed = b ^ c ^ d;
                constant = 0xCA62C1D6;
            }
            uint32_t next = rotated(a, 5) + mixed + e + constant + words[i];
            e = d;
            d = c;
            c = rotated(b, 30);
            b = a;
            a = next;
        }
        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
        state[4] += e;
    }
    for (int i = 0; i < 20; i++)
        digest[i] = (uint8_t)(state[i / 4] >> (24 - i % 4 * 8));
}

static void base64(const uint8_t digest[20], char text[29])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int group = 0; group < 7; group++) {
        const uint8_t *bytes = digest + group * 3;
        uint32_t bits = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | (group < 6 ? bytes[2] : 0);
        for (int letter = 0; letter < 4; letter++)
            text[group * 4 + letter] = letters[bits >> (18 - letter * 6) & 63];
    }
    text[27] = '=';
    text[28] = 0;
}

static void watch(struct connection *connection, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    epoll_ctl(poller, operation, connection->fd, &event);
}

/* Ends the connection's part in its room; the socket is closed by the loop, which may still hold an event of it. */
static void leave(struct connection *connection)
{
    struct room *room = connection->room;
    connection->is_open = 0;
    if (room != NULL) {
        room->count--;
        room->members[connection->index] = room->members[room->count];
        room->members[connection->index]->index = connection->index;
        connection->room = NULL;
    }
}

static void send_to(struct connection *connection, const uint8_t *data, size_t size)
{
    ssize_t sent = 0;
    if (connection->unsent.size == 0) {
        sent = send(connection->fd, data, size, MSG_NOSIGNAL);
        if (sent == (ssize_t)size)
            return;
        if (sent < 0) {
            /* A broken socket is noticed when it is read. */
            if (errno != EAGAIN && errno != EWOULDBLOCK)
                return;
            sent = 0;
        }
        watch(connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
    append(&connection->unsent, data + sent, size - (size_t)sent);
}

static void send_unsent(struct connection *connection)
{
    struct buffer *unsent = &connection->unsent;
    ssize_t sent = send(connection->fd, unsent->data, unsent->size, MSG_NOSIGNAL);
    if (sent <= 0)
        return;
    unsent->size -= (size_t)sent;
    memmove(unsent->data, unsent->data + sent, unsent->size);
    if (unsent->size == 0)
        watch(connection, EPOLL_CTL_MOD, EPOLLIN);
}

/* Writes a frame that a server sends to the shared buffer. */
static void make_frame(uint8_t opcode, const uint8_t *payload, size_t size)
{
    uint8_t head[10] = {0x80 | opcode};
    size_t width = 2;
    if (size < 126) {
        head[1] = (uint8_t)size;
    } else if (size < 65536) {
        head[1] = 126;
        head[2] = (uint8_t)(size >> 8);
        head[3] = (uint8_t)size;
        width = 4;
    } else {
        head[1] = 127;
        for (int i = 0; i < 8; i++)
            head[2 + i] = (uint8_t)((uint64_t)size >> (56 - i * 8));
        width = 10;
    }
    frame.size = 0;
    append(&frame, head, width);
    append(&frame, payload, size);
}

static void join(struct connection *connection, const char *path, size_t length)
{
    struct room *room = rooms;
    while (room != NULL && (strlen(room->path) != length || memcmp(room->path, path, length) != 0))
        room = room->next;
    if (room == NULL) {
        room = checked(calloc(1, sizeof *room));
        room->path = checked(strndup(path, length));
        room->next = rooms;
        rooms = room;
    }
    if (room->count == room->space) {
        room->space = room->space * 2 + 8;
        room->members = checked(realloc(room->members, room->space * sizeof *room->members));
    }
    connection->room = room;
    connection->index = room->count;
    room->members[room->count++] = connection;
}

/* Answers the opening handshake; returns its length, 0 if it is incomplete, or -1 if it is none. */
static ssize_t handshake(struct connection *connection)
{
    static const char name[] = "\r\nsec-websocket-key:";
    struct buffer *received = &connection->received;
    const char *head = (const char *)received->data;
    const char *end = memmem(head, received->size, "\r\n\r\n", 4);
    if (end == NULL)
        return received->size > 8192 ? -1 : 0;
    size_t length = (size_t)(end - head) + 4;
    char text[96], accept[29];
    uint8_t digest[20];
    const char *key = NULL;
    for (const char *at = head; key == NULL && at + sizeof name < end; at++)
        if (strncasecmp(at, name, sizeof name - 1) == 0)
            key = at + sizeof name - 1;
    if (key == NULL || memcmp(head, "GET ", 4) != 0)
        return -1;
    key += strspn(key, " ");
    size_t letters = strcspn(key, " \r\n");
    if (letters > 32)
        return -1;
    snprintf(text, sizeof text, "%.*s%s", (int)letters, key, GUID);
    sha1(text, digest);
    base64(digest, accept);
    char answer[192];
    int size = snprintf(answer, sizeof answer,
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Accept: %s\r\n\r\n",
                        accept);
    send_to(connection, (uint8_t *)answer, (size_t)size);
    join(connection, head + 4, strcspn(head + 4, " ?"));
    return (ssize_t)length;
}

static void handle(struct connection *connection, uint8_t opcode, const uint8_t *payload, size_t size)
{
    if (opcode == 8) {
        leave(connection);
    } else if (opcode == 9) {
        make_frame(10, payload, size);
        send_to(connection, frame.data, frame.size);
    } else if (opcode == 1 || opcode == 2) {
        if (size >= 2 && payload[0] == 0 && payload[1] == 0) {
            send_to(connection, EMPTY_DOCUMENT, sizeof EMPTY_DOCUMENT);
            return;
        }
        struct room *room = connection->room;
        make_frame(opcode, payload, size);
        for (size_t i = 0; i < room->count; i++)
            if (room->members[i] != connection)
                send_to(room->members[i], frame.data, frame.size);
    }
}

/* Handles all complete frames; returns how many bytes they were. */
static size_t handle_frames(struct connection *connection, uint8_t *data, size_t size)
{
    size_t position = 0;
    while (connection->is_open && size - position >= 6) {
        uint8_t *at = data + position;
        size_t width = 2;
        uint64_t length = at[1] & 127;
        if (length > 125) {
            size_t digits = length == 126 ? 2 : 8;
            width += digits;
            if (size - position < width + 4)
                break;
            length = 0;
            for (size_t i = 0; i < digits; i++)
                length = length << 8 | at[2 + i];
        }
        /* Fragments, and frames without a mask, are not for a relay that measures. */
        if ((at[0] & 0x80) == 0 || (at[1] & 0x80) == 0 || length > 1u << 30) {
            leave(connection);
            break;
        }
        if (size - position < width + 4 + length)
            break;
        const uint8_t *mask = at + width;
        uint8_t *payload = at + width + 4;
        for (uint64_t i = 0; i < length; i++)
            payload[i] ^= mask[i & 3];
        handle(connection, at[0] & 15, payload, length);
        position += width + 4 + length;
    }
    return position;
}

static void read_from(struct connection *connection)
{
    struct buffer *received = &connection->received;
    reserve(received, READ_SIZE);
    ssize_t size = recv(connection->fd, received->data + received->size, READ_SIZE, 0);
    if (size <= 0) {
        if (size == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
            leave(connection);
        return;
    }
    received->size += (size_t)size;
    size_t used = 0;
    if (connection->room == NULL) {
        ssize_t length = handshake(connection);
        if (length < 0)
            leave(connection);
        if (length <= 0)
            return;
        used = (size_t)length;
    }
    used += handle_frames(connection, received->data + used, received->size - used);
    received->size -= used;
    if (received->size > 0) {
        memmove(received->data, received->data + used, received->size);
    } else {
        /* Connections that are idle hold no buffer. */
        free(received->data);
        *received = (struct buffer){0};
    }
}

static void accept_all(int listener)
{
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *connection = checked(calloc(1, sizeof *connection));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        connection->fd = fd;
        connection->is_open = 1;
        watch(connection, EPOLL_CTL_ADD, EPOLLIN);
    }
}

int main(int count, char **arguments)
{
    int port = count == 2 ? atoi(arguments[1]) : 0, one = 1;
    if (port <= 0) {
        fprintf(stderr, "usage: relay PORT\n");
        return 2;
    }
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 1024) < 0) {
        perror("relay");
        return 1;
    }
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN}, events[EVENTS];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection == NULL) {
                accept_all(listener);
                continue;
            }
            if (events[i].events & EPOLLOUT)
                send_unsent(connection);
            if (events[i].events & ~(uint32_t)EPOLLOUT)
                read_from(connection);
            if (!connection->is_open) {
                close(connection->fd);
                free(connection->received.data);
                free(connection->unsent.data);
                free(connection);
            }
        }
    }
}
