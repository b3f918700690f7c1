/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The serving end of TCP connections that guests open to the address of their gateway, over the punt channel:
 * questions and answers with their length in front (RFC 1035, 4.2.2), one question at a time a connection.
 * Theory of operation in tcp.c.
 *
 * Threads: weftd has one. Frames come from guests: everything in them is checked.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TCP_CONNECTIONS_MAX     512u
#define TCP_CONNECTIONS_A_GUEST 8u
#define TCP_QUESTION_MAX        1024u /* bytes; a longer one ends the connection */
#define TCP_ANSWER_MAX          65535u
#define TCP_TICK_MS             100 /* how often tcp_tick() is to be called */

struct tcp_server;

struct tcp_callbacks {
    void *context;
    /* A frame into the segment of the interface `port`. */
    void (*send)(void *context, uint32_t port, const uint8_t *frame, size_t size);
    /* A question; to be answered by tcp_answer() now or later. */
    void (*question)(void *context, uint64_t connection, uint32_t port, const uint8_t *bytes, size_t size);
    /* The connection ended with that question unanswered. */
    void (*ended)(void *context, uint64_t connection);
    void (*random)(void *context, void *bytes, size_t size);
};

/* NULL and ENOMEM */
struct tcp_server *tcp_server_new(const struct tcp_callbacks *callbacks);
void tcp_server_free(struct tcp_server *server);
/* A frame of the guest's port `from` to the service's TCP port at the interface `port`. False: it is no TCP.
 */
bool tcp_take(struct tcp_server *server, uint32_t port, uint32_t from, const uint8_t *frame, size_t size,
              int64_t now_ms);
/* Nothing happens if the connection is gone. `size` 0: there is none, the connection ends, and says so. */
void tcp_answer(struct tcp_server *server, uint64_t connection, const uint8_t *bytes, size_t size,
                int64_t now_ms);
/* Retransmissions and idle connections. */
void tcp_tick(struct tcp_server *server, int64_t now_ms);
/* Ends those at interfaces for which `gone` says so. */
void tcp_drop(struct tcp_server *server, bool (*gone)(void *context, uint32_t port), void *context);
unsigned tcp_connections(const struct tcp_server *server);
