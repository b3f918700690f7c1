/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The session table of address translation: what its parts (conntrack*.c, nat*.c) share. Nobody else includes
 * this; the interface is nat.h. Theory of operation in conntrack.c.
 *
 * Threads: stated at each field. Lock order: wheel, endpoint stripe, then one of guest stripe, pool (leaves).
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

#define ENDPOINT_STRIPES 1024u /* power of two */
#define GUEST_STRIPES    256u
#define WHEEL_SLOTS      64u /* seconds; power of two */
#define WHEEL_DELAY_MAX  60u /* seconds: a session is looked at so often, < WHEEL_SLOTS */
#define WHEEL_CACHE      64u /* free sessions a worker keeps */
#define TENANTS_MAX      8192u
#define ADDRESSES_MAX    65536u
#define SESSIONS_CHUNK   65536u /* sessions; memory is prepared in multiples of it */

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
 * What a packet needs. Written by whoever holds the session's endpoint stripe while `generation` is even;
 * read by any worker, which checks the generation afterwards. last_seen, state and packets change without a
 * lock. Ports are in network order, as loaded.
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

#define SESSION_F_HEAD      1u /* its endpoint's index entry names this session */
#define SESSION_F_OWNS_PORT 2u /* translated port is allocated from the address's range, for the endpoint */

/* The rest: under the endpoint stripe, but wheel_next under the wheel's lock. */
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

/* An inside address with sessions. Under its guest stripe; `interface` 0: free. */
struct guest {
    uint64_t address[2];
    uint32_t interface;
    uint32_t sessions;
    uint32_t next_free; /* under the pool's lock */
    uint32_t epoch;
};

struct index_bucket {
    uint32_t slots[INDEX_SLOTS]; /* tag << 24 | id; 0: free. Compare and swap */
    uint32_t overflow;           /* entries that wanted this bucket or passed it and are further on; atomic */
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

/* Free objects of a fixed address range, of which the first `capacity` have memory. */
struct pool {
    uint32_t lock;
    uint32_t free;     /* sessions: count in nat->free_sessions; guests: list; under the lock */
    uint32_t fresh;    /* never used before: from here on; under the lock, read by anyone */
    uint32_t capacity; /* control: w under the lock */
    uint32_t limit;    /* control */
};

struct wheel {
    uint32_t lock; /* its worker's, and control's when the worker sleeps */
    uint32_t now;  /* second whose slot is next; 0: not started */
    uint32_t free_count;
    uint32_t slots[WHEEL_SLOTS]; /* lists */
    uint32_t free[WHEEL_CACHE];  /* sessions */
    struct held *release;        /* worker: fragments that nat_release is to give out */
    struct held *released;       /* worker: given out, to be freed at the next call */
} __attribute__((aligned(64)));

/* State of a tenant. Lives while it is configured or has sessions; id: control: w, counters: any, atomic. */
struct tenant_state {
    uint32_t id;   /* dp_router.id */
    uint32_t used; /* control */
    uint32_t sessions;
    uint32_t half_open; /* opened from outside and not answered */
    uint32_t mappings;
    uint32_t fragments; /* datagrams */
    uint32_t held;      /* blocks of held fragments */
    uint32_t pad;
    uint64_t created, refused;
} __attribute__((aligned(64)));

/* nat_port.protocol */
enum nat_protocol { NAT_TCP, NAT_UDP, NAT_ICMP, NAT_PROTOCOLS };
#define PORT_WORDS 1024u /* of 64 bits: a bit a port */

/* State of an outside address. Lives while it is configured or has sessions. */
struct nat_address {
    uint64_t address[2];
    uint32_t outside; /* interface, port id */
    uint16_t id;
    bool configured;                 /* control */
    uint32_t sessions;               /* any, atomic */
    uint32_t used[NAT_PROTOCOLS];    /* ports; any, atomic */
    uint64_t refused;                /* any, atomic */
    uint64_t *bitmap[NAT_PROTOCOLS]; /* PORT_WORDS, set: taken; any, atomic. NULL: no ports */
    /* Endpoint-independent filter only: by port, the session that has SESSION_F_HEAD; any, atomic. */
    uint32_t *heads[NAT_PROTOCOLS];
};

struct nat {
    struct session *sessions; /* by id; 0 is none */
    struct session_cold *cold;
    struct guest *guests;
    uint32_t *free_sessions; /* a stack; under the pool's lock */
    struct index index, guest_index;
    uint64_t seed[6];
    struct pool session_pool, guest_pool;
    struct nat_address **addresses; /* ADDRESSES_MAX; by id, not 0; control: w */
    uint32_t address_count;         /* ids in use are below; control */
    struct tenant_state *tenants;   /* TENANTS_MAX; [0] is nobody */
    struct fragments *fragments;    /* NULL until something is configured */
    void (*quiesce)(void);
    size_t reserved[4];   /* bytes of address space */
    uint32_t grow_wanted; /* a worker found no memory; any: w */
    struct wheel wheels[DP_WORKERS_MAX];
    struct {
        uint32_t lock;
    } __attribute__((aligned(64))) endpoints[ENDPOINT_STRIPES], guest_stripes[GUEST_STRIPES];
};

/* What is looked up. meta: two ports 0-31, scope 32-47, protocol 48-55, kind 56-57. */
enum key_kind { KEY_OUTBOUND, KEY_INBOUND, KEY_ENDPOINT, KEY_GUEST };
struct nat_key {
    uint64_t a[2], b[2], meta;
};

/* A session as it was when all of it was read. */
struct session_view {
    uint32_t id, generation;
    uint64_t inside[2];
    uint64_t ports;
    uint16_t interface;
    uint8_t state;
};

static inline uint16_t ports_inside(uint64_t ports)
{
    return (uint16_t)ports;
}
static inline uint16_t ports_remote(uint64_t ports)
{
    return (uint16_t)(ports >> 16);
}
static inline uint16_t ports_translated(uint64_t ports)
{
    return (uint16_t)(ports >> 32);
}
static inline uint16_t ports_address(uint64_t ports)
{
    return (uint16_t)(ports >> 48);
}

static inline uint64_t key_meta(enum key_kind kind, uint16_t first_port, uint16_t second_port, uint16_t scope,
                                uint8_t protocol)
{
    return first_port | (uint64_t)second_port << 16 | (uint64_t)scope << 32 | (uint64_t)protocol << 48 |
           (uint64_t)kind << 56;
}

/* inside -> remote; scope: the interface */
static inline struct nat_key key_outbound(const uint64_t inside[2], uint16_t inside_port,
                                          const uint64_t remote[2], uint16_t remote_port, uint16_t interface,
                                          uint8_t protocol)
{
    return (struct nat_key){{inside[0], inside[1]},
                            {remote[0], remote[1]},
                            key_meta(KEY_OUTBOUND, inside_port, remote_port, interface, protocol)};
}

/* remote -> translated; scope: the address's id. Ports in the order of session.ports >> 16. */
static inline struct nat_key key_inbound(uint16_t address, uint16_t translated_port, const uint64_t remote[2],
                                         uint16_t remote_port, uint8_t protocol)
{
    return (struct nat_key){{0, 0},
                            {remote[0], remote[1]},
                            key_meta(KEY_INBOUND, remote_port, translated_port, address, protocol)};
}

static inline struct nat_key key_endpoint(const uint64_t inside[2], uint16_t inside_port, uint16_t interface,
                                          uint8_t protocol)
{
    return (struct nat_key){
        {inside[0], inside[1]}, {0, 0}, key_meta(KEY_ENDPOINT, inside_port, 0, interface, protocol)};
}

static inline uint64_t fold_multiply(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Keyed by the process, so that nobody can aim at a bucket. */
static inline uint64_t nat_hash(const struct nat *nat, const struct nat_key *key)
{
    const uint64_t *seed = nat->seed;
    uint64_t low = fold_multiply(key->a[0] ^ seed[0], key->b[0] ^ seed[1]);
    uint64_t high = fold_multiply(key->a[1] ^ seed[2], key->b[1] ^ seed[3]);
    return fold_multiply(low ^ high ^ seed[4], key->meta ^ high ^ seed[5]);
}

static inline void spin_lock(uint32_t *lock)
{
    while (__builtin_expect(__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE), 0))
        while (__atomic_load_n(lock, __ATOMIC_RELAXED))
            __builtin_ia32_pause();
}
static inline bool spin_trylock(uint32_t *lock)
{
    return !__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE);
}
static inline void spin_unlock(uint32_t *lock)
{
    __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

static inline void count_add(uint32_t *counter, int change)
{
    __atomic_fetch_add(counter, (uint32_t)change, __ATOMIC_RELAXED);
}
static inline void total_add(uint64_t *counter)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* conntrack_index.c */
static inline uint32_t index_tag(uint64_t hash)
{
    uint32_t tag = (uint32_t)hash & 0xffu;
    return (tag ? tag : 1) << 24;
}
static inline struct index_bucket *index_home(const struct index_table *table, uint64_t hash)
{
    return &table->buckets[(hash >> 32) * table->count >> 32];
}
static inline const struct index_tables *index_tables(const struct index *index)
{
    return __atomic_load_n(&index->tables, __ATOMIC_ACQUIRE);
}
/* Slots of the bucket with the tag: bit a slot. */
uint32_t index_matches(const struct index_bucket *bucket, uint32_t tag);
bool index_insert(const struct index_table *table, uint64_t hash, uint32_t id); /* false: no room */
bool index_remove(const struct index_table *table, uint64_t hash, uint32_t id);
/* The entry of `id` names `other` instead. */
bool index_replace(const struct index_table *table, uint64_t hash, uint32_t id, uint32_t other);

/* conntrack.c */
/* worker. False: none that is alive. */
bool conntrack_find(const struct nat *nat, const struct nat_key *key, uint64_t hash,
                    struct session_view *view);
/* A session by its number. False: there is none at the moment. */
bool conntrack_read(const struct nat *nat, uint32_t id, struct session_view *view);
/* worker. Counts a packet, and the time. False: the session had expired and is gone now. */
bool conntrack_touch(const struct nat_context *context, const struct session_view *view, bool outbound);
/* worker. The session's phase, if it still is view->state. */
void conntrack_set_state(struct nat *nat, const struct session_view *view, uint8_t state);
/* Ends it if it still is the one of `generation` and, if `expired`, was idle for too long. */
void conntrack_end(struct nat *nat, uint32_t id, uint32_t generation, bool expired, uint32_t now_s);
void conntrack_kill(struct nat *nat, uint32_t id); /* under its stripe */
static inline uint32_t *endpoint_stripe(struct nat *nat, uint64_t hash)
{
    return &nat->endpoints[hash >> 8 & (ENDPOINT_STRIPES - 1)].lock;
}
uint32_t *conntrack_stripe(struct nat *nat, const uint64_t inside[2], uint16_t inside_port,
                           uint16_t interface, uint8_t protocol);
void session_hashes(const struct nat *nat, const struct session *session, uint64_t hashes[SESSION_ENTRIES]);
const struct index_table *session_table(const struct nat *nat, uint32_t id); /* that has its entries */

/* conntrack_guest.c: sessions of an inside address */
uint64_t guest_hash(const struct nat *nat, const uint64_t address[2], uint16_t interface);
/* One session more. 0: limit (DP_DROP_NAT_SESSION_LIMIT) or memory (DP_DROP_NAT_TABLE_FULL). */
uint32_t guest_join(struct nat *nat, uint64_t hash, const uint64_t address[2], uint16_t interface,
                    uint32_t limit, enum dp_drop *drop);
void guest_leave(struct nat *nat, uint32_t id);
bool guest_move(struct nat *nat, uint32_t id); /* control: its entry to the index in use; false: no room */
void guest_barrier(struct nat *nat);           /* control: whoever holds a stripe now has let it go */

/* What a new session is to be. */
struct session_request {
    const struct nat_interface *interface; /* the tenant's */
    struct nat_address *address;
    /* The translated port is allocated here, but if the endpoint has a mapping (of whatever address); NULL:
     * translated_port is given. */
    const struct nat_pool *pool;
    uint64_t inside[2], remote[2];
    uint16_t inside_port, remote_port, translated_port; /* network order */
    uint8_t protocol;
    bool inbound;
};
/* conntrack_create.c; worker. DP_DROP_COUNT: it is there (or was: another worker came first). */
enum dp_drop conntrack_create(const struct nat_context *context, const struct session_request *request,
                              struct session_view *view);

/* conntrack_memory.c; control */
int conntrack_new(struct nat *nat, uint32_t sessions); /* 0 or -errno */
int conntrack_prepare(struct nat *nat);                /* the first memory; 0 or -errno */
void conntrack_free(struct nat *nat);
void conntrack_grow(struct nat *nat);
void *conntrack_map(size_t size); /* zeroed, there; NULL */
void conntrack_unmap(void *memory, size_t size);

/* nat_mapping.c; under the endpoint stripe */
struct mapping {
    uint32_t head; /* session; 0: none yet */
    uint16_t address, port;
};
bool mapping_find(const struct nat *nat, const struct nat_key *endpoint, uint64_t hash,
                  struct mapping *mapping);
/* A port of the pool's address, network order; 0: none is free. */
uint16_t mapping_allocate(struct nat *nat, const struct nat_pool *pool, uint8_t protocol);
void mapping_release(struct nat *nat, uint16_t address, uint8_t protocol, uint16_t port);
/* The session becomes the first or a further one of its endpoint. False: no room in the index. */
bool mapping_join(struct nat *nat, uint32_t id, const struct mapping *mapping, uint64_t hash);
void mapping_set_head(struct nat *nat, const struct session *session, uint32_t id);
void mapping_leave(struct nat *nat, uint32_t id, uint64_t hash);

/* conntrack_timer.c; under the wheel's lock */
void wheel_add(struct nat *nat, struct wheel *wheel, uint32_t id, uint32_t now_s);
uint32_t wheel_take_free(struct nat *nat, struct wheel *wheel); /* 0: none */
void wheel_give_free(struct nat *nat, struct wheel *wheel, uint32_t id);
bool wheel_turn(struct nat *nat, struct wheel *wheel, uint32_t now_s, unsigned budget);
void conntrack_turn_late(struct nat *nat, uint32_t now_s); /* control, without locks: sleepers' wheels */

/* conntrack_tcp.c */
#define TCP_FIN 1u
#define TCP_SYN 2u
#define TCP_RST 4u
#define TCP_ACK 16u
uint32_t session_timeout(uint8_t protocol, uint8_t state); /* s */
uint8_t tcp_next(uint8_t state, bool outbound, uint8_t flags);
/* A segment that may open a session: SYN alone (RFC 9293, 3.5). */
static inline bool tcp_opens(uint8_t flags)
{
    return (flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
}
