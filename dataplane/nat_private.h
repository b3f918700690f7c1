/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Address translation's compiled configuration, and what its stages (nat*.c) share. Nobody else includes
 * this; the interface is nat.h.
 *
 * Threads: a configuration is immutable once published; control makes and frees it.
 */
#include <string.h>
#include "conntrack.h"

/* An address that sessions of an interface are translated to. */
struct nat_pool {
    struct nat_address *address;
    uint16_t port_first, port_last;
    uint32_t usable[NAT_PROTOCOLS]; /* ports */
    /* PORT_WORDS each, set: not to be allocated (outside the range, forwarded, or the tunnel's UDP port) */
    const uint64_t *blocked[NAT_PROTOCOLS];
    uint64_t blocked_groups[NAT_PROTOCOLS]; /* a bit a PORT_GROUP of words, set: it has such ports */
    uint32_t sharers;                       /* tenants that are translated to the address */
    bool endpoint_independent;              /* filter */
};

struct nat_forward {
    struct nat_address *address;
    const struct nat_interface *interface;
    uint64_t inside[2];
    uint16_t first, last, to_first; /* host order */
    uint8_t protocol;
};

struct nat_one_to_one {
    struct nat_address *address;
    const struct nat_interface *interface;
    uint64_t inside[2];
};

/* A tenant's interface. */
struct nat_interface {
    uint32_t port; /* its id */
    uint32_t router;
    uint32_t session_limit, guest_session_limit, half_open_limit, inbound_limit;
    uint16_t tenant; /* nat->tenants */
    bool serves;
    unsigned pool_count[2]; /* IPv4, IPv6 */
    struct nat_pool *pools[2];
    uint16_t *pool_slots[2]; /* which pool, by a hash of the guest; NULL: there is one, or none */
    uint32_t pool_mask[2];
    unsigned forward_count;
    const struct nat_forward **forwards; /* by protocol, inside address, to_first */
    unsigned one_to_one_count;
    const struct nat_one_to_one **one_to_ones; /* by inside address */
};

/* An address outside that is ours. */
struct nat_config_address {
    uint32_t outside; /* 0: free */
    uint64_t address[2];
    struct nat_address *state;
    bool answer;
    bool translates;  /* a dp_nat_address with ports */
    uint32_t sharers; /* tenants */
    uint16_t last_sharer;
    uint16_t port_first, port_last;
    uint64_t *blocked[NAT_PROTOCOLS];
    const struct nat_one_to_one *one_to_one;
    unsigned forward_count;
    struct nat_forward *forwards; /* by protocol, first */
};

struct nat_config {
    struct nat_interface *interfaces[DP_PORTS_MAX]; /* by port id */
    struct nat_config_address *addresses;           /* hash, a power of two of slots, half of them free */
    uint32_t address_mask;
    struct nat_one_to_one *one_to_ones;
    uint32_t tenant_count; /* that are translated */
};

/* nat_lookup.c */
struct nat_config_address *nat_config_slot(const struct nat_config *config, uint32_t outside,
                                           const uint64_t address[2]);
const struct nat_config_address *nat_config_find(const struct nat_config *config, uint32_t outside,
                                                 const uint64_t address[2]);
const struct nat_one_to_one *nat_config_inside(const struct nat_interface *interface,
                                               const uint64_t inside[2]);
/* The forward to an endpoint of a guest, from one. Ports in host order. NULL: none. */
const struct nat_forward *nat_config_forward(const struct nat_config_address *address, uint8_t protocol,
                                             uint16_t port);
const struct nat_forward *nat_config_forward_of(const struct nat_interface *interface, uint8_t protocol,
                                                const uint64_t inside[2], uint16_t port);

/* nat_pool.c */
/* control, once the interface's pools are there: 0 or -errno */
int nat_pool_table(const struct nat *nat, struct nat_interface *interface, unsigned family);
/* The pool of a guest: always the same one (RFC 4787 REQ-2, "paired"). NULL: none of its family. */
const struct nat_pool *nat_config_pool(const struct nat *nat, const struct nat_interface *interface,
                                       const uint64_t inside[2]);

static inline unsigned nat_protocol_of(uint8_t protocol)
{
    return protocol == 6 ? NAT_TCP : protocol == 17 ? NAT_UDP : NAT_ICMP;
}

/* ::ffff:0:0/96 as two loads */
#define MAPPED_PREFIX UINT64_C(0xffff0000)
static inline bool address_is_ipv4(const uint64_t address[2])
{
    return address[0] == 0 && (uint32_t)address[1] == MAPPED_PREFIX;
}
static inline bool address_equal(const uint64_t a[2], const uint64_t b[2])
{
    return !((a[0] ^ b[0]) | (a[1] ^ b[1]));
}

/* Ends of a packet, or of the one in an ICMP error. Ports in network order; an ICMP query's identifier is the
 * port of the inside end, and the remote one's is 0. */
struct tuple {
    uint64_t source[2], destination[2];
    union { /* loaded and stored as one: what is stored in halves and read as a whole waits for its store */
        struct {
            uint16_t source_port, destination_port;
        };
        uint32_t ports;
    };
    uint8_t protocol, tcp_flags;
    bool opens; /* may be the first of a session */
    bool error; /* ICMP error: no ports */
};

/* nat.c */
/* Addresses of the IP header at the bytes. */
void tuple_addresses(struct tuple *tuple, const uint8_t *ip, bool ipv4);
/* Finds or makes the session of a packet and translates it. */
enum dp_drop nat_session_outbound(const struct nat_context *context, const struct nat_interface *interface,
                                  struct packet *packet, const struct frame_info *info,
                                  struct nat_outcome *outcome);
enum dp_drop nat_session_inbound(const struct nat_context *context, uint32_t outside, struct packet *packet,
                                 const struct frame_info *info, struct nat_outcome *outcome);

/* Where a session's packet goes on; returns the address that is its guest's outside. */
static inline const struct nat_address *outcome_outside(const struct nat *nat,
                                                        const struct session_view *view,
                                                        struct nat_outcome *outcome)
{
    const struct nat_address *address = nat->addresses[ports_address(view->ports)];
    outcome->outside = address->outside;
    outcome->router = 0;
    outcome->session = 0;
    return address;
}
/* DP_DROP_COUNT; otherwise it is not configured any more, and its sessions are about to end. */
static inline enum dp_drop outcome_inside(const struct nat_context *context, const struct session_view *view,
                                          struct nat_outcome *outcome)
{
    const struct nat_interface *interface = context->config->interfaces[view->interface];
    if (__builtin_expect(!interface, 0))
        return DP_DROP_NAT_NO_SESSION;
    outcome->outside = view->interface;
    outcome->router = interface->router;
    outcome->session = 0;
    return DP_DROP_COUNT;
}

/* nat_icmp.c */
enum dp_drop nat_icmp_outbound(const struct nat_context *context, const struct nat_interface *interface,
                               struct packet *packet, const struct frame_info *info,
                               struct nat_outcome *outcome);
enum dp_drop nat_icmp_inbound(const struct nat_context *context, uint32_t outside, struct packet *packet,
                              const struct frame_info *info, struct nat_outcome *outcome);

/* nat_fragment.c */
/* scope: interface the fragment came from (the tenant's if outbound) */
enum dp_drop nat_fragment(const struct nat_context *context, uint32_t scope, bool outbound,
                          struct packet *packet, const struct frame_info *info, struct nat_outcome *outcome,
                          bool *held);
int fragments_prepare(struct nat *nat); /* control: 0 or -errno */
void fragments_free(struct nat *nat);
/* What waited for too long goes: `count` of the stripes, in turn. */
void fragments_expire(struct nat *nat, uint32_t now_s, unsigned count);

/* nat_config.c; control */
void nat_address_free(struct nat *nat, struct nat_address *address);
void nat_config_collect(struct nat *nat, const struct nat_config *config);
