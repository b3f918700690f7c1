/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Router advertisements (RFC 4861 6.2, RDNSS: RFC 8106) for a segment with an IPv6 prefix: guests make their
 * addresses of it (SLAAC, RFC 4862) and find their way out. Sent in answer to a solicitation and, to all
 * nodes, every RA_INTERVAL_S seconds; and when something of it is not so any more (RFC 4861 6.2.5, 6.2.8).
 *
 * Threads: pure functions of their arguments.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RA_INTERVAL_S 200u
#define RA_FRAME_MAX  256u /* bytes */

struct ra_scope {
    uint8_t mac[6];        /* of the router's interface */
    uint8_t address[16];   /* its address in the prefix: the DNS server */
    uint8_t prefix_length; /* 64 for SLAAC; another one is announced on-link only */
    uint16_t mtu;
    bool default_router; /* there is a way out; else its lifetime is 0: not, or not any more */
    bool dns;
    bool prefix_ends; /* its lifetimes are 0: nobody is on-link, addresses of it are deprecated */
    bool dns_ends;    /* the same */
};

/* The link-local address of a MAC (RFC 4291 appendix A). */
void ra_link_local(const uint8_t mac[6], uint8_t address[16]);

/* A valid solicitation (RFC 4861 6.1.1)? Then its sender's link-layer and network address, the latter zero
 * if the sender has none yet. */
bool ra_solicitation(const uint8_t *frame, size_t size, uint8_t mac[6], uint8_t address[16]);

/* The advertisement, to one guest, or (address NULL or zero) to all nodes. `frame`: RA_FRAME_MAX bytes.
 * Returns its size. */
size_t ra_advertise(const struct ra_scope *scope, const uint8_t mac[6], const uint8_t *address,
                    uint8_t *frame);
