/* SPDX-License-Identifier: BSD-3-Clause */
/* What leaves: segments of a connection, answers in them. Theory of operation in tcp.c. */
#include <stdlib.h>
#include <string.h>
#include "datagram.h"
#include "tcp_private.h"

#define FLIGHT_MAX 16u /* segments */

void tcp_send(struct tcp_server *server, const struct tcp_connection *connection, uint8_t flags,
              uint32_t sequence, const uint8_t *payload, size_t size)
{
    uint8_t frame[DATAGRAM_FRAME_MAX];
    struct tcp_segment segment = {.source_port = connection->own_port,
                                  .destination_port = connection->remote_port,
                                  .sequence = sequence,
                                  .acknowledgment = connection->expected,
                                  .flags = (uint8_t)(flags | TCP_ACK),
                                  .window = (uint16_t)(TCP_IN_MAX - connection->in_size),
                                  .mss = flags & TCP_SYN ? TCP_MSS_MAX : 0,
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

void tcp_send_ack(struct tcp_server *server, const struct tcp_connection *connection)
{
    tcp_send(server, connection, 0, connection->next, NULL, 0);
}

void tcp_refuse(struct tcp_server *server, uint32_t port, const struct tcp_segment *to)
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

void tcp_reset(struct tcp_server *server, struct tcp_connection *connection)
{
    tcp_send(server, connection, TCP_RST, connection->next, NULL, 0);
    tcp_end(server, connection);
}

void tcp_flush(struct tcp_server *server, struct tcp_connection *connection, size_t least)
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
        tcp_send(server, connection, last ? TCP_PSH : 0, connection->next, connection->out + sent, size);
        connection->next += (uint32_t)size;
        if (connection->next - connection->unacknowledged > connection->highest - connection->unacknowledged)
            connection->highest = connection->next;
    }
}

void tcp_close_if_done(struct tcp_server *server, struct tcp_connection *connection, int64_t now_ms)
{
    if (connection->state != TCP_ESTABLISHED || !connection->closed || connection->asked ||
        connection->out_size)
        return;
    connection->state = TCP_LAST_ACK;
    connection->tries = 0;
    connection->retry_ms = now_ms + TCP_RTO_MS;
    tcp_send(server, connection, TCP_FIN, connection->next, NULL, 0);
    connection->highest = ++connection->next;
}

static bool append(struct tcp_connection *connection, const uint8_t *bytes, size_t size)
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
    struct tcp_connection *connection = slot < TCP_CONNECTIONS_MAX ? &server->connections[slot] : NULL;
    if (!connection || connection->state != TCP_ESTABLISHED || connection->generation != handle >> 32 ||
        !connection->asked || connection->out_size)
        return;
    if (size == 0 || size > TCP_ANSWER_MAX || !append(connection, bytes, size)) {
        tcp_reset(server, connection);
        return;
    }
    if (connection->next == connection->unacknowledged) { /* nothing was on its way */
        connection->tries = 0;
        connection->retry_ms = now_ms + TCP_RTO_MS;
    }
    connection->progress_ms = now_ms;
    tcp_flush(server, connection, 0);
}
