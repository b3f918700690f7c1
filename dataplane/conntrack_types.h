/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What the session table of address translation consists of. For conntrack.h and nat_flow.h alone; theory of
 * operation in conntrack.c.
 *
 * Threads: stated at each field.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "nat.h"

#define INDEX_SLOTS      15u /* entries of a bucket */
#define INDEX_FILL       9u  /* entries of a bucket on average, when the table is full */
#define INDEX_TAIL       64u /* buckets after the last one, so that no probe wraps */
#define SESSION_ENTRIES  3u  /* index entries of a session: outbound, inbound, inside endpoint */
#define SESSION_IDS_MASK (NAT_SESSIONS_MAX - 1)

#define WHEEL_SLOTS     64u /* seconds; power of two */
#define WHEEL_DELAY_MAX 60u /* seconds: a session is looked at so often, < WHEEL_SLOTS */
#define TENANTS_MAX     8192u
#define ADDRESSES_MAX   65536u
#define SESSIONS_CHUNK  65536u /* sessions; memory is prepared in multiples of it */

/* session.state: low nibble enum session_phase, and */
#define SESSION_INBOUND   0x80u /* opened from outside */
#define SESSION_HALF_OPEN 0x40u /* counted in its tenant's half_open */
#define SESSION_MAPPED    0x20u /* SESSION_F_OWNS_PORT, where lookups see it */
#define SESSION_PHASE     0x0fu

enum session_phase {
    PHASE_NEW = 1,     /* opener's first packets only; TCP: its SYN */
    PHASE_SYN_BOTH,    /* TCP: both SYNs */
    PHASE_ESTABLISHED, /* UDP, ICMP, others: answered */
    PHASE_FIN_OUT,     /* TCP: FIN from inside */
    PHASE_FIN_IN,
    PHASE_CLOSED, /* TCP: both FINs, or reset before it was established */
    PHASE_RESET,  /* TCP: RST in an established session */
    PHASE_COUNT
};

/*
 * What a packet needs. Written by the writer (nat->writer) while `generation` is even; read by any worker,
 * which checks the generation afterwards. last_seen, state and packets change without a lock. Ports are in
 * network order, as loaded.
 */
struct session {
    uint64_t inside[2]; /* address */
    uint64_t remote[2];
    uint64_t ports; /* inside port 0-15, remote port 16-31, translated port 32-47, nat_address.id 48-63 */
    uint32_t generation; /* even: free, or being written */
    uint16_t interface;  /* tenant's, port id */
    uint8_t protocol;
    uint8_t state;      /* any worker: compare and swap */
    uint32_t last_seen; /* s, CLOCK_MONOTONIC; any worker, at most once a second */
    /* out, in; any worker, not atomically: two that count the same direction at once may lose one */
    uint32_t packets_low[2];
    uint16_t packets_high[2];
};

/* worker: a packet of that direction. */
static inline void session_count_packet(struct session *session, bool outbound)
{
    uint32_t low = __atomic_load_n(&session->packets_low[!outbound], __ATOMIC_RELAXED) + 1;
    __atomic_store_n(&session->packets_low[!outbound], low, __ATOMIC_RELAXED);
    if (__builtin_expect(!low, 0))
        __atomic_fetch_add(&session->packets_high[!outbound], 1, __ATOMIC_RELAXED);
}

#define SESSION_F_HEAD      1u /* its endpoint's index entry names this session */
#define SESSION_F_OWNS_PORT 2u /* translated port is allocated from the address's range, for the endpoint */
#define SESSION_F_INBOUND   4u /* counted as opened from outside, for as long as it lives */

/* The rest: the writer's. */
struct session_cold {
    uint32_t wheel_next;     /* in its slot */
    uint32_t next, previous; /* sessions of the same inside endpoint, a ring */
    uint32_t guest;          /* its number */
    uint16_t tenant;         /* nat->tenants */
    uint8_t flags;           /* SESSION_F_* */
    uint8_t epoch;           /* of the index that has its entries */
    uint32_t pad[3];
};

_Static_assert(sizeof(struct session) == 64, "one cache line");
_Static_assert(sizeof(struct session_cold) == 32, "half a cache line");
_Static_assert((sizeof(struct session) + sizeof(struct session_cold) + sizeof(uint32_t)) * INDEX_FILL +
                       SESSION_ENTRIES * 64 <= /* 121.3 bytes, 4 of them for the list of free ones */
                   128 * INDEX_FILL,
               "a session has 128 bytes, index included");

/* An inside address with sessions: the writer's. `interface` 0: free. */
struct guest {
    uint64_t address[2];
    uint16_t interface;
    uint8_t epoch;
    uint8_t pad;
    uint32_t sessions;
    uint32_t inbound; /* of them, opened from outside */
    uint32_t next_free;
};
_Static_assert(sizeof(struct guest) == 32, "two a cache line");

struct index_bucket {
    uint32_t slots[INDEX_SLOTS]; /* tag << 24 | id; 0: free. Writer: w, workers: r */
    uint32_t overflow; /* entries that wanted this bucket or passed it and are further on; likewise */
} __attribute__((aligned(64)));

struct index_table {
    struct index_bucket *buckets; /* NULL: no such table */
    uint32_t count;               /* buckets without the tail */
    size_t mapped_size;
};

/* Immutable; control replaces it as a whole. `old`: entries that are not yet moved, at most times none. */
struct index_tables {
    struct index_table current, old;
    uint8_t epoch; /* of `current`: objects with another one have their entries in `old` */
};

struct index {
    struct index_tables *tables; /* control: w (release), workers: r */
    uint32_t entries_max;        /* what `current` is made for; control */
    uint32_t moved;              /* objects before this one are in `current`; control */
};

/* Free objects of a fixed address range, of which the first `capacity` have memory. The writer's; all but
 * `free` are read by anyone. */
struct pool {
    uint32_t free;     /* sessions: count in nat->free_sessions, read by anyone; guests: list */
    uint32_t fresh;    /* never used before: from here on */
    uint32_t used;     /* guests; the writer's */
    uint32_t capacity; /* control */
    uint32_t limit;    /* control */
};

/* What is looked up. meta: two ports 0-31, scope 32-47, protocol 48-55, kind 56-57. */
enum key_kind { KEY_OUTBOUND, KEY_INBOUND, KEY_ENDPOINT, KEY_GUEST };
struct nat_key {
    uint64_t a[2], b[2], meta;
};

/* What a session that may be made will need (conntrack_hint.c). The worker's. */
#define HINTS_MAX 64u
struct nat_pool;
struct hint {
    struct nat_key outbound;
    uint64_t hashes[SESSION_ENTRIES]; /* [1]: for `address` and `port` */
    uint64_t guest;                   /* hash */
    const struct nat_pool *pool;      /* until complete; NULL: none */
    uint16_t address, port;
};
struct hints {
    unsigned count, next;
    bool complete;
    struct hint list[HINTS_MAX];
};

struct wheel {
    uint32_t now;                /* second whose slot is next; 0: not started. Writer: w, anyone: r */
    uint32_t slots[WHEEL_SLOTS]; /* lists; the writer's */
    uint64_t salt;               /* worker: of the ports it allocates */
    uint32_t allocated;          /* worker: ports, modulo 2^32 */
    struct hints hints;          /* worker */
    struct held *release;        /* worker: fragments that nat_release is to give out */
    struct held *released;       /* worker: given out, to be freed at the next call */
} __attribute__((aligned(64)));

/* State of a tenant. Lives while it is configured or has sessions; id: control: w, counters: writer: w, any:
 * r; fragments, held and refused: any, atomic. */
struct tenant_state {
    uint32_t id;   /* dp_router.id */
    uint32_t used; /* control */
    uint32_t sessions;
    uint32_t half_open; /* opened from outside and not answered */
    uint32_t inbound;   /* opened from outside */
    uint32_t mappings;
    uint32_t fragments; /* datagrams */
    uint32_t held;      /* blocks of held fragments */
    uint64_t created, refused;
} __attribute__((aligned(64)));

/* nat_port.protocol */
enum nat_protocol { NAT_TCP, NAT_UDP, NAT_ICMP, NAT_PROTOCOLS };
#define PORT_WORDS   1024u /* of 64 bits: a bit a port */
#define PORT_GROUP   16u   /* words; 64 groups */
#define PORT_SHARERS 256u  /* power of two; tenants that are counted apart */

/* State of an outside address. Lives while it is configured or has sessions. The first line is what a new
 * session needs most of. */
struct nat_address {
    uint64_t address[2];
    uint32_t outside; /* interface, port id */
    uint16_t id;
    bool configured;                  /* control */
    uint32_t sessions;                /* writer: w, any: r, and so are the rest */
    uint32_t used[NAT_PROTOCOLS];     /* ports */
    uint64_t *bitmap[NAT_PROTOCOLS];  /* PORT_WORDS, set: taken. NULL: no ports */
    uint32_t *used_by[NAT_PROTOCOLS]; /* PORT_SHARERS: of `used`, by tenant; NULL: no ports */
    uint64_t refused;
    /* Endpoint-independent filter only: by port, the session that has SESSION_F_HEAD. */
    uint32_t *heads[NAT_PROTOCOLS];
} __attribute__((aligned(64)));

struct nat {
    struct session *sessions; /* by id; 0 is none */
    struct session_cold *cold;
    struct guest *guests;
    uint32_t *free_sessions; /* a stack; the writer's */
    struct index index, guest_index;
    uint64_t seed[6];
    struct pool session_pool, guest_pool;
    struct nat_address **addresses; /* ADDRESSES_MAX; by id, not 0; control: w */
    uint32_t address_count;         /* ids in use are below; control */
    struct tenant_state *tenants;   /* TENANTS_MAX; [0] is nobody */
    struct fragments *fragments;    /* NULL until something is configured */
    void (*quiesce)(void);
    size_t reserved[4];    /* bytes of address space */
    uint32_t first;        /* nat_new */
    uint32_t grow_wanted;  /* a worker found no memory; any: w */
    uint32_t fresh_before; /* session_pool.fresh at the last conntrack_grow; control */
    struct wheel wheels[DP_WORKERS_MAX];
    uint32_t writer __attribute__((aligned(64))); /* lock: whoever has it may create and end sessions */
    uint32_t creator; /* under it: worker + 1 that made the last session; 0: control moved some since */
};
