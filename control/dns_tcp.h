/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * DNS over TCP for guests (RFC 7766): the way to answers that do not fit a datagram. Theory of operation in
 * dns_tcp.c.
 *
 * Threads: weftd has one.
 */
#include <event2/event.h>
#include "dns.h"

struct dns_tcp;

struct dns_tcp_callbacks {
    struct dns_names names;
    void *context;
    void (*send)(void *context, uint32_t port, const uint8_t *frame, size_t size);
    bool (*is_there)(void *context, uint32_t port); /* the interface, still */
};

/* The resolvers are the forwarder's. NULL and ENOMEM */
struct dns_tcp *dns_tcp_new(struct event_base *base, struct dns_forwarder *forwarder,
                            const struct dns_tcp_callbacks *callbacks);
void dns_tcp_free(struct dns_tcp *tcp);
/* A frame of the guest's port `from` to port 53 at the interface `port`. False: it is no TCP. */
bool dns_tcp_take(struct dns_tcp *tcp, uint32_t port, uint32_t from, const uint8_t *frame, size_t size);
/* Interfaces may have gone. */
void dns_tcp_configured(struct dns_tcp *tcp);
