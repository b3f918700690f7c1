/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. A small TCP for questions of at most TCP_QUESTION_MAX bytes and answers of 64 KiB to a
 * guest on the same link, with what RFC 9293 asks of a passive end and no more:
 *   - in order: a segment beyond what is expected is dropped and acknowledged as missing, so that the guest
 *     sends it again; a segment that overlaps is trimmed;
 *   - what is on its way is bounded by the guest's window and FLIGHT_MAX segments, sent again from the first
 *     unacknowledged byte when nothing is acknowledged for a while (TCP_RTO_MS, doubled each time, TRIES
 *     times); the same probes a window of zero;
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
#include "tcp_private.h"

#define TRIES   6u
#define IDLE_MS 10000

struct tcp_server *tcp_server_new(const struct tcp_callbacks *callbacks)
{
    struct tcp_server *server = calloc(1, sizeof(*server));
    if (server)
        server->callbacks = *callbacks;
    return server;
}

uint64_t tcp_handle(const struct tcp_server *server, const struct tcp_connection *connection)
{
    return (uint64_t)connection->generation << 32 | (uint64_t)(connection - server->connections);
}

void tcp_end(struct tcp_server *server, struct tcp_connection *connection)
{
    uint64_t handle = tcp_handle(server, connection);
    bool waits = connection->asked && !connection->out_size;
    free(connection->out);
    connection->out = NULL;
    connection->out_size = connection->in_size = 0;
    connection->state = TCP_FREE;
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

/* Again what was not acknowledged: one segment, or a byte into a window of zero. */
static void retry(struct tcp_server *server, struct tcp_connection *connection, int64_t now_ms)
{
    bool due = connection->state != TCP_ESTABLISHED || connection->out_size;
    if (!due || now_ms < connection->retry_ms)
        return;
    if (connection->tries++ == TRIES) {
        tcp_reset(server, connection);
        return;
    }
    connection->retry_ms = now_ms + ((int64_t)TCP_RTO_MS << connection->tries);
    if (connection->state == TCP_SYN_RECEIVED) {
        tcp_send(server, connection, TCP_SYN, connection->unacknowledged, NULL, 0);
    } else if (connection->state == TCP_LAST_ACK) {
        tcp_send(server, connection, TCP_FIN, connection->unacknowledged, NULL, 0);
    } else {
        connection->next = connection->unacknowledged;
        tcp_flush(server, connection, 1);
    }
}

/* Nothing came of it for a while. */
static void idle(struct tcp_server *server, struct tcp_connection *connection, int64_t now_ms)
{
    if (now_ms - connection->progress_ms < IDLE_MS)
        return;
    if (connection->state != TCP_ESTABLISHED || connection->asked || connection->in_size) {
        tcp_reset(server, connection);
        return;
    }
    connection->closed = true;
    tcp_close_if_done(server, connection, now_ms);
}

void tcp_tick(struct tcp_server *server, int64_t now_ms)
{
    for (unsigned i = 0; i < TCP_CONNECTIONS_MAX && server->count; i++) {
        struct tcp_connection *connection = &server->connections[i];
        if (connection->state != TCP_FREE)
            retry(server, connection, now_ms);
        if (connection->state != TCP_FREE)
            idle(server, connection, now_ms);
    }
}

void tcp_drop(struct tcp_server *server, bool (*gone)(void *context, uint32_t port), void *context)
{
    for (unsigned i = 0; i < TCP_CONNECTIONS_MAX; i++) {
        struct tcp_connection *connection = &server->connections[i];
        if (connection->state != TCP_FREE && gone(context, connection->port))
            tcp_end(server, connection);
    }
}
