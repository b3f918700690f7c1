/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* Leases, as dhcp.c (the protocol) and dhcp_lease.c (who gets which address) see them. Nobody else includes
 * this. */
#include "dhcp.h"

#define DHCP_CLIENT_MAX   64u /* bytes of client identifier that are kept; a longer one is not looked at */
#define DHCP_HOSTNAME_MAX 64u
#define DHCP_HOSTS_MAX    65536u /* addresses of a segment that are handed out: host numbers below this */
#define DHCP_OFFER_S      30     /* an offer is kept */
#define DHCP_DECLINED_S   600    /* an address that somebody else uses is left alone */

enum lease_state { LEASE_NONE, LEASE_OFFERED, LEASE_BOUND, LEASE_DECLINED };

struct lease {
    enum lease_state state;
    uint32_t port;
    uint8_t mac[6];
    uint8_t client_size;
    uint8_t client[DHCP_CLIENT_MAX]; /* identifier (option 61), or the MAC */
    char hostname[DHCP_HOSTNAME_MAX];
    int64_t expires_s;
};

struct dhcp {
    uint32_t network; /* host order; of the scope that the table is for */
    uint32_t host_count;
    struct lease **hosts; /* by host number; NULL: never given */
};

/* Who asks. */
struct dhcp_client {
    uint32_t port;
    uint8_t mac[6];
    uint8_t size;
    const uint8_t *identifier;
};

uint32_t dhcp_ipv4(const uint8_t bytes[4]); /* host order */
/* Brings the table in line with the scope's subnet: leases of another one are forgotten. 0 or -ENOMEM */
int dhcp_fit(struct dhcp *dhcp, const struct dhcp_scope *scope);

/* The address's lease, made if there was none; NULL: not an address of this scope that a guest may have, or
 * no memory. */
struct lease *dhcp_lease_of(struct dhcp *dhcp, const struct dhcp_scope *scope, uint32_t address);
/* May this client have the address now (reserved for its port, its own, or free)? */
bool dhcp_may_have(const struct dhcp *dhcp, const struct dhcp_scope *scope, const struct dhcp_client *client,
                   uint32_t address, int64_t now_s);
/* The best address for the client; `wanted` 0: no wish. 0: none left, or its port holds too many. */
uint32_t dhcp_choose(const struct dhcp *dhcp, const struct dhcp_scope *scope,
                     const struct dhcp_client *client, uint32_t wanted, int64_t now_s);
bool dhcp_lease_is_of(const struct lease *lease, const struct dhcp_client *client);
void dhcp_lease_take(struct lease *lease, const struct dhcp_client *client, enum lease_state state,
                     int64_t expires_s);
