/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Connections, as tcp.c (their life and time), tcp_receive.c and tcp_send.c see them. Nobody else includes
 * this.
 *
 * Threads: weftd has one.
 */
#include "tcp.h"
#include "tcp_segment.h"

#define TCP_IN_MAX  (2 * (TCP_QUESTION_MAX + 2))
#define TCP_MSS_MAX 1220u /* bytes: every link carries 1280 (RFC 8200) */
#define TCP_RTO_MS  300

enum tcp_state { TCP_FREE, TCP_SYN_RECEIVED, TCP_ESTABLISHED, TCP_LAST_ACK };

struct tcp_connection {
    enum tcp_state state;
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
    uint8_t in[TCP_IN_MAX];
};

struct tcp_server {
    struct tcp_callbacks callbacks;
    unsigned count;
    struct tcp_connection connections[TCP_CONNECTIONS_MAX];
};

/* tcp.c */

uint64_t tcp_handle(const struct tcp_server *server, const struct tcp_connection *connection);
/* Forgets it; its place is free. */
void tcp_end(struct tcp_server *server, struct tcp_connection *connection);

/* tcp_send.c */

void tcp_send(struct tcp_server *server, const struct tcp_connection *connection, uint8_t flags,
              uint32_t sequence, const uint8_t *payload, size_t size);
void tcp_send_ack(struct tcp_server *server, const struct tcp_connection *connection);
/* To a segment that belongs to nothing (RFC 9293, 3.10.7.1). */
void tcp_refuse(struct tcp_server *server, uint32_t port, const struct tcp_segment *to);
/* Ends a connection that failed, and says so. */
void tcp_reset(struct tcp_server *server, struct tcp_connection *connection);
/* Sends what the window allows, from `next` on; `least` bytes whatever it allows. */
void tcp_flush(struct tcp_server *server, struct tcp_connection *connection, size_t least);
/* Ends our side if all was said. */
void tcp_close_if_done(struct tcp_server *server, struct tcp_connection *connection, int64_t now_ms);
