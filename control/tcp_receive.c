/* SPDX-License-Identifier: BSD-3-Clause */
/* What arrives: segments of guests, questions in them. Theory of operation in tcp.c. */
#include <string.h>
#include "tcp_private.h"

#define MSS_DEFAULT 536u /* RFC 9293, 3.7.1 */
#define MSS_MIN     64u

/* Hands on the next question that is whole. False: the connection ended over it. */
static bool ask_next(struct tcp_server *server, struct tcp_connection *connection)
{
    uint8_t question[TCP_QUESTION_MAX];
    size_t size = connection->in_size >= 2 ? (size_t)connection->in[0] << 8 | connection->in[1] : 0;
    if (connection->asked || connection->in_size < 2)
        return true;
    if (size == 0 || size > sizeof(question)) {
        tcp_reset(server, connection);
        return false;
    }
    if (connection->in_size < 2 + size)
        return true;
    memcpy(question, connection->in + 2, size);
    connection->in_size -= 2 + size;
    memmove(connection->in, connection->in + 2 + size, connection->in_size);
    connection->asked = true;
    server->callbacks.question(server->callbacks.context, tcp_handle(server, connection), connection->port,
                               question, size);
    return connection->state != TCP_FREE;
}

static struct tcp_connection *find(struct tcp_server *server, uint32_t port,
                                   const struct tcp_segment *segment)
{
    for (unsigned i = 0; i < TCP_CONNECTIONS_MAX; i++) {
        struct tcp_connection *connection = &server->connections[i];
        if (connection->state != TCP_FREE && connection->port == port &&
            connection->remote_port == segment->source_port &&
            connection->own_port == segment->destination_port &&
            memcmp(connection->address, segment->source, 16) == 0 &&
            memcmp(connection->own_address, segment->destination, 16) == 0)
            return connection;
    }
    return NULL;
}

/* A place for one more of the guest, of *rank. NULL: there is none for it. */
static struct tcp_connection *find_free(struct tcp_server *server, uint32_t from, unsigned *rank)
{
    struct tcp_connection *unused = NULL, *other = server->connections;
    unsigned ranks = 0;
    for (unsigned i = 0; i < TCP_CONNECTIONS_MAX; i++) {
        struct tcp_connection *connection = &server->connections[i];
        if (connection->state == TCP_FREE) {
            unused = connection;
            continue;
        }
        if (connection->from == from)
            ranks |= 1u << connection->rank;
        if (connection->rank > other->rank ||
            (connection->rank == other->rank && connection->progress_ms < other->progress_ms))
            other = connection;
    }
    *rank = (unsigned)__builtin_ctz(~ranks);
    if (*rank >= TCP_CONNECTIONS_A_GUEST)
        return NULL;
    if (!unused && other->rank > *rank) {
        tcp_reset(server, other);
        unused = other;
    }
    return unused;
}

static uint16_t segment_size(uint16_t wanted)
{
    if (wanted == 0)
        wanted = MSS_DEFAULT;
    return wanted > TCP_MSS_MAX ? TCP_MSS_MAX : wanted < MSS_MIN ? MSS_MIN : wanted;
}

static void take_first(struct tcp_server *server, uint32_t port, uint32_t from,
                       const struct tcp_segment *segment, int64_t now_ms)
{
    unsigned rank = 0;
    struct tcp_connection *connection = (segment->flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN
                                            ? find_free(server, from, &rank)
                                            : NULL;
    uint32_t initial;
    if (!connection) {
        tcp_refuse(server, port, segment);
        return;
    }
    server->callbacks.random(server->callbacks.context, &initial, sizeof(initial));
    uint32_t generation = connection->generation;
    *connection = (struct tcp_connection){.state = TCP_SYN_RECEIVED,
                                          .generation = generation,
                                          .port = port,
                                          .from = from,
                                          .rank = rank,
                                          .remote_port = segment->source_port,
                                          .own_port = segment->destination_port,
                                          .unacknowledged = initial,
                                          .next = initial + 1,
                                          .highest = initial + 1,
                                          .expected = segment->sequence + 1,
                                          .window = segment->window,
                                          .mss = segment_size(segment->mss),
                                          .retry_ms = now_ms + TCP_RTO_MS,
                                          .progress_ms = now_ms};
    memcpy(connection->mac, segment->source_mac, 6);
    memcpy(connection->own_mac, segment->destination_mac, 6);
    memcpy(connection->address, segment->source, 16);
    memcpy(connection->own_address, segment->destination, 16);
    server->count++;
    tcp_send(server, connection, TCP_SYN, initial, NULL, 0);
}

/* False: the segment acknowledges what was never sent, or the connection is over. */
static bool take_acknowledgment(struct tcp_server *server, struct tcp_connection *connection,
                                const struct tcp_segment *segment, int64_t now_ms)
{
    uint32_t sent = connection->highest - connection->unacknowledged;
    uint32_t acknowledged = segment->acknowledgment - connection->unacknowledged;
    connection->window = segment->window;
    if (acknowledged > sent)
        return acknowledged > UINT32_MAX / 2; /* old, which does no harm; or of the future */
    if (acknowledged == 0)
        return true;
    if (connection->next - connection->unacknowledged < acknowledged)
        connection->next = connection->unacknowledged + acknowledged;
    connection->unacknowledged += acknowledged;
    connection->tries = 0;
    connection->retry_ms = now_ms + TCP_RTO_MS;
    connection->progress_ms = now_ms;
    if (connection->state == TCP_LAST_ACK) {
        if (connection->unacknowledged == connection->next)
            tcp_end(server, connection);
        return connection->state != TCP_FREE;
    }
    if (connection->state == TCP_SYN_RECEIVED) {
        connection->state = TCP_ESTABLISHED;
        return true;
    }
    connection->out_size -= acknowledged;
    memmove(connection->out, connection->out + acknowledged, connection->out_size);
    if (connection->out_size == 0)
        connection->asked = false;
    return true;
}

/* What is new of the segment; an answer to it is due if something was in it. */
static void take_payload(struct tcp_connection *connection, const struct tcp_segment *segment, int64_t now_ms)
{
    uint32_t old = connection->expected - segment->sequence; /* bytes of it that came before */
    if (connection->closed || old > segment->size)
        return; /* a gap before it, or nothing new */
    size_t size = segment->size - old, room = TCP_IN_MAX - connection->in_size;
    bool whole = size <= room;
    size = whole ? size : room;
    if (size) {
        memcpy(connection->in + connection->in_size, segment->payload + old, size);
        connection->progress_ms = now_ms;
    }
    connection->in_size += size;
    connection->expected += (uint32_t)size;
    if (whole && segment->flags & TCP_FIN) {
        connection->closed = true;
        connection->expected++;
        connection->progress_ms = now_ms;
    }
}

static void take_next(struct tcp_server *server, struct tcp_connection *connection,
                      const struct tcp_segment *segment, int64_t now_ms)
{
    if (segment->flags & TCP_RST) {
        if (segment->sequence == connection->expected)
            tcp_end(server, connection);
        return;
    }
    if (segment->flags & TCP_SYN) { /* again, or a stranger's (RFC 5961, 4) */
        if (connection->state == TCP_SYN_RECEIVED && segment->sequence == connection->expected - 1)
            tcp_send(server, connection, TCP_SYN, connection->unacknowledged, NULL, 0);
        else
            tcp_send_ack(server, connection);
        return;
    }
    if (!(segment->flags & TCP_ACK))
        return;
    if (!take_acknowledgment(server, connection, segment, now_ms)) {
        if (connection->state == TCP_SYN_RECEIVED)
            tcp_refuse(server, connection->port, segment);
        else if (connection->state != TCP_FREE)
            tcp_send_ack(server, connection);
        return;
    }
    if (connection->state == TCP_SYN_RECEIVED)
        return;
    bool says = segment->size > 0 || segment->flags & TCP_FIN;
    uint32_t next = connection->next;
    if (connection->state == TCP_ESTABLISHED) {
        take_payload(connection, segment, now_ms);
        tcp_flush(server, connection, 0);
        if (!ask_next(server, connection))
            return;
        tcp_close_if_done(server, connection, now_ms);
    }
    if (says && connection->next == next) /* else what was sent says it */
        tcp_send_ack(server, connection);
}

bool tcp_take(struct tcp_server *server, uint32_t port, uint32_t from, const uint8_t *frame, size_t size,
              int64_t now_ms)
{
    struct tcp_segment segment;
    if (!tcp_segment_parse(frame, size, &segment))
        return false;
    struct tcp_connection *connection = find(server, port, &segment);
    if (connection)
        take_next(server, connection, &segment, now_ms);
    else
        take_first(server, port, from, &segment, now_ms);
    return true;
}
