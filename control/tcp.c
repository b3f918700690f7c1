/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. A small TCP for questions of at most TCP_QUESTION_MAX bytes and answers of 64 KiB to a
 * guest on the same link, with what RFC 9293 asks of a passive end and no more:
 *   - in order: a segment beyond what is expected is dropped and acknowledged as missing, so that the guest
 *     sends it again; a segment that overlaps is trimmed;
 *   - what is on its way is bounded by the guest's window and FLIGHT_MAX segments, sent again from the first
 *     unacknowledged byte when nothing is acknowledged for a while (RTO_MS, doubled each time, TRIES times);
 *     the same probes a window of zero;
 *   - a RST counts only with exactly the expected sequence number (RFC 5961, 3), initial sequence numbers are
 *     random, and a SYN into a connection changes nothing.
 * The guest's FIN is answered by ours after the last answer. A connection without progress for IDLE_MS ends.
 * A guest has a share of the table; beyond it connections are refused. So that many guests together do not
 * keep others out, a connection has a rank, the first that its guest had free: while the table is full, a new
 * one takes the place of one of a higher rank.
 *
 * States: SYN_RECEIVED (until its SYN is acknowledged), ESTABLISHED, LAST_ACK (FIN sent). `out` begins at
 * sequence `unacknowledged`; SYN and FIN take a number and are no part of it. There is no TIME_WAIT: the
 * guest has it, and a segment that comes late is refused.
 *
 * Not here: window scaling, selective acknowledgments, timestamps, urgent data, congestion control (the way
 * is one hop through memory).
 */
#include "tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "datagram.h"
#include "tcp_segment.h"

#define IN_MAX      (2 * (TCP_QUESTION_MAX + 2))
#define MSS_MAX     1220u /* bytes: every link carries 1280 (RFC 8200) */
#define MSS_DEFAULT 536u  /* RFC 9293, 3.7.1 */
#define MSS_MIN     64u
#define FLIGHT_MAX  16u /* segments */
#define RTO_MS      300
#define TRIES       6u
#define IDLE_MS     10000

enum state { FREE, SYN_RECEIVED, ESTABLISHED, LAST_ACK };

struct connection {
    enum state state;
    uint32_t generation;
    uint32_t port, from; /* the interface, the guest's port */
    unsigned rank;       /* among the guest's, from 0 */
    uint8_t mac[6], own_mac[6];
    uint8_t address[16], own_address[16];
    uint16_t remote_port, own_port;
    uint32_t unacknowledged, next, expected; /* SND.UNA, SND.NXT, RCV.NXT */
    uint32_t highest;                        /* SND.NXT as it was before it went back */
    uint16_t window, mss;                    /* the guest's */
    bool asked;                              /* a question is with the service */
    bool closed;                             /* the guest's FIN was received */
    unsigned tries;
    int64_t retry_ms, progress_ms;
    size_t in_size, out_size;
    uint8_t *out; /* of out_size bytes */
    uint8_t in[IN_MAX];
};

struct tcp_server {
    struct tcp_callbacks callbacks;
    unsigned count;
    struct connection connections[TCP_CONNECTIONS_MAX];
};

struct tcp_server *tcp_server_new(const struct tcp_callbacks *callbacks)
{
    struct tcp_server *server = calloc(1, sizeof(*server));
    if (server)
        server->callbacks = *callbacks;
    return server;
}

static uint64_t handle_of(const struct tcp_server *server, const struct connection *connection)
{
    return (uint64_t)connection->generation << 32 | (uint64_t)(connection - server->connections);
}

static void end(struct tcp_server *server, struct connection *connection)
{
    uint64_t handle = handle_of(server, connection);
    bool waits = connection->asked && !connection->out_size;
    free(connection->out);
    connection->out = NULL;
    connection->out_size = connection->in_size = 0;
    connection->state = FREE;
    connection->asked = false;
    connection->generation++;
    server->count--;
    if (waits)
        server->callbacks.ended(server->callbacks.context, handle);
}

void tcp_server_free(struct tcp_server *server)
{
    if (!server)
        return;
    for (unsigned i = 0; i < TCP_CONNECTIONS_MAX; i++)
        free(server->connections[i].out);
    free(server);
}

unsigned tcp_connections(const struct tcp_server *server)
{
    return server->count;
}

/* ---- Sending ---- */

static void send_segment(struct tcp_server *server, const struct connection *connection, uint8_t flags,
                         uint32_t sequence, const uint8_t *payload, size_t size)
{
    uint8_t frame[DATAGRAM_FRAME_MAX];
    struct tcp_segment segment = {.source_port = connection->own_port,
                                  .destination_port = connection->remote_port,
                                  .sequence = sequence,
                                  .acknowledgment = connection->expected,
                                  .flags = (uint8_t)(flags | TCP_ACK),
                                  .window = (uint16_t)(IN_MAX - connection->in_size),
                                  .mss = flags & TCP_SYN ? MSS_MAX : 0,
                                  .payload = payload,
                                  .size = size};
    memcpy(segment.source_mac, connection->own_mac, 6);
    memcpy(segment.destination_mac, connection->mac, 6);
    memcpy(segment.source, connection->own_address, 16);
    memcpy(segment.destination, connection->address, 16);
    size = tcp_segment_build(&segment, frame, sizeof(frame));
    if (size)
        server->callbacks.send(server->callbacks.context, connection->port, frame, size);
}

static void send_ack(struct tcp_server *server, const struct connection *connection)
{
    send_segment(server, connection, 0, connection->next, NULL, 0);
}

/* To a segment that belongs to nothing (RFC 9293, 3.10.7.1). */
static void refuse(struct tcp_server *server, uint32_t port, const struct tcp_segment *to)
{
    uint8_t frame[TCP_HEADERS_MAX];
    bool acknowledged = to->flags & TCP_ACK;
    struct tcp_segment segment = {.source_port = to->destination_port,
                                  .destination_port = to->source_port,
                                  .sequence = acknowledged ? to->acknowledgment : 0,
                                  .flags = (uint8_t)(TCP_RST | (acknowledged ? 0 : TCP_ACK))};
    if (to->flags & TCP_RST)
        return;
    if (!acknowledged)
        segment.acknowledgment =
            to->sequence + (uint32_t)to->size + ((to->flags & TCP_SYN) != 0) + ((to->flags & TCP_FIN) != 0);
    memcpy(segment.source_mac, to->destination_mac, 6);
    memcpy(segment.destination_mac, to->source_mac, 6);
    memcpy(segment.source, to->destination, 16);
    memcpy(segment.destination, to->source, 16);
    size_t size = tcp_segment_build(&segment, frame, sizeof(frame));
    if (size)
        server->callbacks.send(server->callbacks.context, port, frame, size);
}

/* A connection that failed. */
static void reset(struct tcp_server *server, struct connection *connection)
{
    send_segment(server, connection, TCP_RST, connection->next, NULL, 0);
    end(server, connection);
}

/* What the window allows, from `next` on; `least` bytes whatever it allows. */
static void flush(struct tcp_server *server, struct connection *connection, size_t least)
{
    size_t most = connection->window, limit = (size_t)FLIGHT_MAX * connection->mss;
    most = most > limit ? limit : most;
    most = most < least ? least : most;
    most = most > connection->out_size ? connection->out_size : most;
    for (;;) {
        size_t sent = connection->next - connection->unacknowledged;
        if (sent >= most)
            return;
        size_t size = most - sent < connection->mss ? most - sent : connection->mss;
        bool last = sent + size == connection->out_size;
        send_segment(server, connection, last ? TCP_PSH : 0, connection->next, connection->out + sent, size);
        connection->next += (uint32_t)size;
        if (connection->next - connection->unacknowledged > connection->highest - connection->unacknowledged)
            connection->highest = connection->next;
    }
}

/* Ends our side if all was said. */
static void close_if_done(struct tcp_server *server, struct connection *connection, int64_t now_ms)
{
    if (connection->state != ESTABLISHED || !connection->closed || connection->asked || connection->out_size)
        return;
    connection->state = LAST_ACK;
    connection->tries = 0;
    connection->retry_ms = now_ms + RTO_MS;
    send_segment(server, connection, TCP_FIN, connection->next, NULL, 0);
    connection->highest = ++connection->next;
}

/* ---- Questions and answers ---- */

/* Hands on the next question that is whole. False: the connection ended over it. */
static bool ask_next(struct tcp_server *server, struct connection *connection)
{
    uint8_t question[TCP_QUESTION_MAX];
    size_t size = connection->in_size >= 2 ? (size_t)connection->in[0] << 8 | connection->in[1] : 0;
    if (connection->asked || connection->in_size < 2)
        return true;
    if (size == 0 || size > sizeof(question)) {
        reset(server, connection);
        return false;
    }
    if (connection->in_size < 2 + size)
        return true;
    memcpy(question, connection->in + 2, size);
    connection->in_size -= 2 + size;
    memmove(connection->in, connection->in + 2 + size, connection->in_size);
    connection->asked = true;
    server->callbacks.question(server->callbacks.context, handle_of(server, connection), connection->port,
                               question, size);
    return connection->state != FREE;
}

static bool append(struct connection *connection, const uint8_t *bytes, size_t size)
{
    uint8_t *out = realloc(connection->out, connection->out_size + 2 + size);
    if (!out)
        return false;
    connection->out = out;
    out += connection->out_size;
    out[0] = (uint8_t)(size >> 8);
    out[1] = (uint8_t)size;
    memcpy(out + 2, bytes, size);
    connection->out_size += 2 + size;
    return true;
}

void tcp_answer(struct tcp_server *server, uint64_t handle, const uint8_t *bytes, size_t size, int64_t now_ms)
{
    size_t slot = handle & UINT32_MAX;
    struct connection *connection = slot < TCP_CONNECTIONS_MAX ? &server->connections[slot] : NULL;
    if (!connection || connection->state != ESTABLISHED || connection->generation != handle >> 32 ||
        !connection->asked || connection->out_size)
        return;
    if (size == 0 || size > TCP_ANSWER_MAX || !append(connection, bytes, size)) {
        reset(server, connection);
        return;
    }
    if (connection->next == connection->unacknowledged) { /* nothing was on its way */
        connection->tries = 0;
        connection->retry_ms = now_ms + RTO_MS;
    }
    connection->progress_ms = now_ms;
    flush(server, connection, 0);
}

/* ---- Receiving ---- */

static struct connection *find(struct tcp_server *server, uint32_t port, const struct tcp_segment *segment)
{
    for (unsigned i = 0; i < TCP_CONNECTIONS_MAX; i++) {
        struct connection *connection = &server->connections[i];
        if (connection->state != FREE && connection->port == port &&
            connection->remote_port == segment->source_port &&
            connection->own_port == segment->destination_port &&
            memcmp(connection->address, segment->source, 16) == 0 &&
            memcmp(connection->own_address, segment->destination, 16) == 0)
            return connection;
    }
    return NULL;
}

/* A place for one more of the guest, of *rank. NULL: there is none for it. */
static struct connection *find_free(struct tcp_server *server, uint32_t from, unsigned *rank)
{
    struct connection *unused = NULL, *other = server->connections;
    unsigned ranks = 0;
    for (unsigned i = 0; i < TCP_CONNECTIONS_MAX; i++) {
        struct connection *connection = &server->connections[i];
        if (connection->state == FREE) {
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
        reset(server, other);
        unused = other;
    }
    return unused;
}

static uint16_t segment_size(uint16_t wanted)
{
    if (wanted == 0)
        wanted = MSS_DEFAULT;
    return wanted > MSS_MAX ? MSS_MAX : wanted < MSS_MIN ? MSS_MIN : wanted;
}

static void take_first(struct tcp_server *server, uint32_t port, uint32_t from,
                       const struct tcp_segment *segment, int64_t now_ms)
{
    unsigned rank = 0;
    struct connection *connection = (segment->flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN
                                        ? find_free(server, from, &rank)
                                        : NULL;
    uint32_t initial;
    if (!connection) {
        refuse(server, port, segment);
        return;
    }
    server->callbacks.random(server->callbacks.context, &initial, sizeof(initial));
    uint32_t generation = connection->generation;
    *connection = (struct connection){.state = SYN_RECEIVED,
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
                                      .retry_ms = now_ms + RTO_MS,
                                      .progress_ms = now_ms};
    memcpy(connection->mac, segment->source_mac, 6);
    memcpy(connection->own_mac, segment->destination_mac, 6);
    memcpy(connection->address, segment->source, 16);
    memcpy(connection->own_address, segment->destination, 16);
    server->count++;
    send_segment(server, connection, TCP_SYN, initial, NULL, 0);
}

/* False: the segment acknowledges what was never sent, or the connection is over. */
static bool take_acknowledgment(struct tcp_server *server, struct connection *connection,
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
    connection->retry_ms = now_ms + RTO_MS;
    connection->progress_ms = now_ms;
    if (connection->state == LAST_ACK) {
        if (connection->unacknowledged == connection->next)
            end(server, connection);
        return connection->state != FREE;
    }
    if (connection->state == SYN_RECEIVED) {
        connection->state = ESTABLISHED;
        return true;
    }
    connection->out_size -= acknowledged;
    memmove(connection->out, connection->out + acknowledged, connection->out_size);
    if (connection->out_size == 0)
        connection->asked = false;
    return true;
}

/* What is new of the segment; an answer to it is due if something was in it. */
static void take_payload(struct connection *connection, const struct tcp_segment *segment, int64_t now_ms)
{
    uint32_t old = connection->expected - segment->sequence; /* bytes of it that came before */
    if (connection->closed || old > segment->size)
        return; /* a gap before it, or nothing new */
    size_t size = segment->size - old, room = IN_MAX - connection->in_size;
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

static void take_next(struct tcp_server *server, struct connection *connection,
                      const struct tcp_segment *segment, int64_t now_ms)
{
    if (segment->flags & TCP_RST) {
        if (segment->sequence == connection->expected)
            end(server, connection);
        return;
    }
    if (segment->flags & TCP_SYN) { /* again, or a stranger's (RFC 5961, 4) */
        if (connection->state == SYN_RECEIVED && segment->sequence == connection->expected - 1)
            send_segment(server, connection, TCP_SYN, connection->unacknowledged, NULL, 0);
        else
            send_ack(server, connection);
        return;
    }
    if (!(segment->flags & TCP_ACK))
        return;
    if (!take_acknowledgment(server, connection, segment, now_ms)) {
        if (connection->state == SYN_RECEIVED)
            refuse(server, connection->port, segment);
        else if (connection->state != FREE)
            send_ack(server, connection);
        return;
    }
    if (connection->state == SYN_RECEIVED)
        return;
    bool says = segment->size > 0 || segment->flags & TCP_FIN;
    uint32_t next = connection->next;
    if (connection->state == ESTABLISHED) {
        take_payload(connection, segment, now_ms);
        flush(server, connection, 0);
        if (!ask_next(server, connection))
            return;
        close_if_done(server, connection, now_ms);
    }
    if (says && connection->next == next) /* else what was sent says it */
        send_ack(server, connection);
}

bool tcp_take(struct tcp_server *server, uint32_t port, uint32_t from, const uint8_t *frame, size_t size,
              int64_t now_ms)
{
    struct tcp_segment segment;
    if (!tcp_segment_parse(frame, size, &segment))
        return false;
    struct connection *connection = find(server, port, &segment);
    if (connection)
        take_next(server, connection, &segment, now_ms);
    else
        take_first(server, port, from, &segment, now_ms);
    return true;
}

/* ---- Time ---- */

/* Again what was not acknowledged: one segment, or a byte into a window of zero. */
static void retry(struct tcp_server *server, struct connection *connection, int64_t now_ms)
{
    bool due = connection->state != ESTABLISHED || connection->out_size;
    if (!due || now_ms < connection->retry_ms)
        return;
    if (connection->tries++ == TRIES) {
        reset(server, connection);
        return;
    }
    connection->retry_ms = now_ms + ((int64_t)RTO_MS << connection->tries);
    if (connection->state == SYN_RECEIVED) {
        send_segment(server, connection, TCP_SYN, connection->unacknowledged, NULL, 0);
    } else if (connection->state == LAST_ACK) {
        send_segment(server, connection, TCP_FIN, connection->unacknowledged, NULL, 0);
    } else {
        connection->next = connection->unacknowledged;
        flush(server, connection, 1);
    }
}

/* Nothing came of it for a while. */
static void idle(struct tcp_server *server, struct connection *connection, int64_t now_ms)
{
    if (now_ms - connection->progress_ms < IDLE_MS)
        return;
    if (connection->state != ESTABLISHED || connection->asked || connection->in_size) {
        reset(server, connection);
        return;
    }
    connection->closed = true;
    close_if_done(server, connection, now_ms);
}

void tcp_tick(struct tcp_server *server, int64_t now_ms)
{
    for (unsigned i = 0; i < TCP_CONNECTIONS_MAX && server->count; i++) {
        struct connection *connection = &server->connections[i];
        if (connection->state != FREE)
            retry(server, connection, now_ms);
        if (connection->state != FREE)
            idle(server, connection, now_ms);
    }
}

void tcp_drop(struct tcp_server *server, bool (*gone)(void *context, uint32_t port), void *context)
{
    for (unsigned i = 0; i < TCP_CONNECTIONS_MAX; i++) {
        struct connection *connection = &server->connections[i];
        if (connection->state != FREE && gone(context, connection->port))
            end(server, connection);
    }
}
