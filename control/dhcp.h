/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * DHCPv4 server (RFC 2131, options RFC 2132, 3442) of one segment. Theory of operation in dhcp.c.
 *
 * Threads: weftd has one. Sources of frames are guests: everything in them is checked.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DHCP_DNS_MAX    3u
#define DHCP_DOMAIN_MAX 64u
/* Addresses that one port may hold at a time, so that a guest cannot take them all. */
#define DHCP_LEASES_PER_PORT 8u

/* An address that belongs to a port. */
struct dhcp_reservation {
    uint32_t port; /* the guest's */
    uint8_t address[4];
};

/* What a segment hands out. Borrowed by dhcp_set_scope's caller until the next one. */
struct dhcp_scope {
    uint8_t server[4]; /* the server's address: gateway or host */
    uint8_t server_mac[6];
    uint8_t network[4];
    uint8_t prefix_length;     /* 1..30 */
    uint8_t first[4], last[4]; /* of the pool; first > last: reserved addresses only */
    uint8_t router[4];         /* zero: none */
    uint8_t dns[DHCP_DNS_MAX][4];
    unsigned dns_count;
    uint16_t mtu;
    uint32_t lease_s;
    char domain[DHCP_DOMAIN_MAX];
    const struct dhcp_reservation *reservations; /* sorted by address, none twice */
    unsigned reservation_count;
};

struct dhcp; /* leases of one segment */

struct dhcp *dhcp_new(void); /* NULL and ENOMEM */
void dhcp_free(struct dhcp *dhcp);

/* A guest's frame from `port` (0: not known). Returns the size of the answer in `reply`
 * (DATAGRAM_FRAME_MAX bytes), 0: none. `now_s`: CLOCK_REALTIME, so that leases outlive a restart.
 * `*changed` is set if a lease was made, renewed or ended. */
size_t dhcp_handle(struct dhcp *dhcp, const struct dhcp_scope *scope, uint32_t port, const uint8_t *frame,
                   size_t size, int64_t now_s, uint8_t *reply, bool *changed);

/* Leases that are in force. */
struct dhcp_lease {
    uint8_t address[4];
    uint8_t mac[6];
    uint32_t port;
    int64_t expires_s;    /* CLOCK_REALTIME */
    const char *hostname; /* as the guest said, [a-z0-9-] only; "" */
};
/* The first of them from *cursor (0 at first) on, which is moved beyond it; false: no more. */
bool dhcp_lease_next(const struct dhcp *dhcp, uint32_t *cursor, int64_t now_s, struct dhcp_lease *lease);
/* The address that the port's guest has; false: none. */
bool dhcp_address_of_port(const struct dhcp *dhcp, uint32_t port, int64_t now_s, uint8_t address[4]);

/* For the state directory. dhcp_load takes what dhcp_save gave, skips what is not sensible. */
json_t *dhcp_save(const struct dhcp *dhcp, int64_t now_s);
void dhcp_load(struct dhcp *dhcp, const json_t *saved);
/* Ends leases of addresses that the scope no longer has and of ports that are gone (port_exists false). */
void dhcp_prune(struct dhcp *dhcp, const struct dhcp_scope *scope, bool (*port_exists)(void *, uint32_t),
                void *context);
