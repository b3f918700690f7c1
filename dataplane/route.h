/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Route tables: longest prefix match over the prefixes of one router and one family. Built once a commit
 * (compile_router.c), immutable afterwards.
 *
 * Threads: route_table_new and route_table_free: control; route_lookup: any.
 */
#include <endian.h>
#include <stdint.h>
#include <string.h>

struct interface;

enum route_kind {
    ROUTE_LINK = 1,  /* the destination is on the interface's link */
    ROUTE_VIA,       /* by next_hop, which is on the interface's link */
    ROUTE_LOCAL,     /* the interface's own address */
    ROUTE_BROADCAST, /* a link's broadcast address: never routed to (RFC 2644) */
};

struct route {
    const struct interface *interface;
    uint8_t kind; /* enum route_kind */
    uint8_t next_hop[16];
};

struct route_prefix {
    uint8_t address[16]; /* bits beyond length are zero; IPv4 mapped */
    uint8_t length;      /* 0..128 */
    struct route route;
};

struct route_table;

/* NULL and ENOMEM. Of prefixes that are the same the first one counts. */
struct route_table *route_table_new(const struct route_prefix *prefixes, unsigned count);
void route_table_free(struct route_table *table); /* NULL: nothing */

/* NULL: no route. */
const struct route *route_lookup(const struct route_table *table, const uint8_t address[16]);

/* IPv4 address (network order) as the 16 bytes that tables and objects have. */
static inline void address_map(uint8_t address[16], const uint8_t ipv4[4])
{
    memset(address, 0, 10);
    address[10] = address[11] = 0xff;
    memcpy(address + 12, ipv4, 4);
}

static inline int address_is_ipv4(const uint8_t address[16])
{
    uint64_t high;
    uint32_t middle;
    memcpy(&high, address, sizeof(high));
    memcpy(&middle, address + 8, sizeof(middle));
    return high == 0 && middle == htobe32(0xffff);
}

static inline int address_is_zero(const uint8_t address[16])
{
    uint64_t words[2];
    memcpy(words, address, sizeof(words));
    return (words[0] | words[1]) == 0;
}

static inline int address_equal(const uint8_t a[16], const uint8_t b[16])
{
    uint64_t x[2], y[2];
    memcpy(x, a, sizeof(x));
    memcpy(y, b, sizeof(y));
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}
