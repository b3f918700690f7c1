/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What fragments of datagrams on their way through address translation are kept in. For nat_fragment.c, which
 * has the theory of operation, and nat_held.c.
 */
#include "nat_private.h"

#define STRIPES       64u
#define DATAGRAMS     64u /* of a stripe */
#define RANGES        6u
#define LIFETIME_S    15u
#define BLOCKS        2048u
#define BLOCK_SIZE    2048u /* bytes, with its header */
#define TENANT_QUOTA  256u
#define GUEST_QUOTA   128u  /* of it */
#define GUEST_BUCKETS 1024u /* power of two */
#define NOBODYS_QUOTA 1024u
#define DATAGRAM_MAX  65535u
#define IPV6_FRAGMENT 44u
#define IPV6_HEADER   40u
#define IPV6_WALK     8u /* extension headers, as the parser */
#define NOBODY        0u

enum datagram_state { DATAGRAM_WAITS = 1, DATAGRAM_KNOWN, DATAGRAM_SPOILT };

/* A copied fragment: a chain of blocks, of which the first says what it is. */
struct held {
    struct held *next;   /* fragment; of a free block: the next free one */
    struct held *more;   /* block of the same fragment */
    uint64_t address[2]; /* translated, once it is released */
    struct nat_outcome outcome;
    uint16_t size;  /* bytes of the frame */
    uint16_t guest; /* bucket, as in struct datagram */
    uint16_t tenant;
    bool outbound;
    uint8_t pad[1];
    uint8_t bytes[BLOCK_SIZE - 56];
};
_Static_assert(sizeof(struct held) == BLOCK_SIZE, "a block");

struct datagram_key {
    uint64_t source[2], destination[2];
    uint32_t identification;
    uint16_t scope; /* interface it came from */
    uint8_t protocol;
    uint8_t outbound;
};

struct datagram {
    struct datagram_key key;
    uint64_t address[2]; /* what the source (outbound) or destination becomes */
    struct nat_outcome outcome;
    struct held *held;
    struct {
        uint16_t start, end; /* bytes / 8, end rounded up */
    } ranges[RANGES];
    uint16_t tenant;
    uint8_t range_count, state;
    uint16_t last;  /* end of the last fragment, bytes / 8; 0: not seen */
    uint16_t guest; /* bucket of who sends it, outbound; 0: nobody's */
};
_Static_assert(sizeof(struct datagram) <= 128, "a datagram has 128 bytes");

struct stripe {
    uint32_t lock;
    uint32_t tags[DATAGRAMS];      /* of the hash; 0: free */
    uint32_t deadlines[DATAGRAMS]; /* s */
    struct datagram datagrams[DATAGRAMS];
} __attribute__((aligned(64)));

struct fragments {
    struct stripe stripes[STRIPES];
    uint32_t next_expiry; /* stripe; any, atomic */
    uint32_t lock;        /* of the list */
    struct held *free;
    struct {
        uint32_t datagrams, held; /* any, atomic */
    } guests[GUEST_BUCKETS];      /* by keyed hash of interface and address; [0] is not counted */
    struct held blocks[BLOCKS];
};

static inline bool fragment_within_quota(const uint32_t *counter, uint16_t tenant)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED) < (tenant == NOBODY ? NOBODYS_QUOTA : TENANT_QUOTA);
}
static inline bool fragment_within_guests(const uint32_t *counter, uint16_t guest)
{
    return !guest || __atomic_load_n(counter, __ATOMIC_RELAXED) < GUEST_QUOTA;
}

/* nat_held.c. A copy of the frame out of the tenant's and the guest's quota; NULL: there is no room for it.
 */
struct held *held_copy(struct nat *nat, const struct packet *packet, uint16_t tenant, uint16_t guest);
void held_free(struct nat *nat, struct held *held); /* all its blocks */
