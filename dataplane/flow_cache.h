/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The flow cache of a worker's router stage: what the router did with the last packet of a flow, to be done
 * again with the next one. Theory of operation in flow_cache.c; the stage's use of it in router_flow.c.
 *
 * Threads: a cache belongs to one worker. hits and misses are read by the control thread, which makes and
 * frees caches.
 */
#include <smmintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLOW_CACHE_ENTRIES 131072u /* of a worker: 9 MiB, and 8 for IPv6 addresses */
#define FLOW_WAYS          8u      /* entries of a set */
#define FLOW_OWNER_WAYS    6u      /* of a set, that one tenant may have where there are others */

/* What a flow is found by. meta: ports 0-31 in network order, interface it comes in by 32-47, protocol 48-55,
 * kind 56-63. An interface that is not translated leaves ports and protocol out: 0. */
struct flow_key {
    uint64_t addresses; /* IPv4: source 0-31, destination 32-63; IPv6: flow_hash_ipv6 of both */
    uint64_t meta;      /* 0: none */
};

enum flow_kind { FLOW_IPV4 = 4, FLOW_IPV6 = 6 };

static inline uint64_t flow_meta(enum flow_kind kind, uint32_t interface, uint8_t protocol, uint32_t ports)
{
    return ports | (uint64_t)(interface & 0xffffu) << 32 | (uint64_t)protocol << 48 | (uint64_t)kind << 56;
}
static inline enum flow_kind flow_meta_kind(uint64_t meta)
{
    return (enum flow_kind)(meta >> 56);
}
static inline uint8_t flow_meta_protocol(uint64_t meta)
{
    return (uint8_t)(meta >> 48);
}

#define FLOW_F_OUTBOUND 1u /* the session's direction: from inside */
#define FLOW_F_UDP      2u /* a checksum of 0 is none (RFC 768) */

/* What is done with a packet. Offsets are bytes from packet->data. */
struct flow_action {
    uint32_t session; /* 0: not translated, and the next line has no meaning */
    uint32_t session_generation;
    uint32_t neighbours;     /* router_port.generation of the way out */
    uint32_t ipv4;           /* new address */
    uint16_t out;            /* interface to leave by, port id */
    uint16_t port;           /* new port or identifier */
    uint16_t l3_sum, l4_sum; /* of what changes: address; all that the transport checksum covers */
    uint8_t mac[6];          /* of the next hop */
    uint8_t session_state;   /* session.state, which none of these packets changes */
    uint8_t flags;           /* FLOW_F_* */
    uint8_t address_at, port_at, sum_at; /* sum: of the transport header */
};

struct flow_entry {
    struct flow_key key;
    struct flow_action action;
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct flow_entry) == 64, "one cache line");

/* What decides which entry of a set to look at, or to take. */
struct flow_set {
    uint16_t epochs[FLOW_WAYS];   /* flow_cache.epoch, or the entry is free */
    uint8_t tags[FLOW_WAYS];      /* of the key's hash */
    uint8_t owners[FLOW_WAYS];    /* tenant: router id modulo 256 */
    uint32_t sessions[FLOW_WAYS]; /* flow_action.session, to be fetched together with the entry */
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct flow_set) == 64, "one cache line");

/* The rest of an IPv6 flow. */
struct flow_wide {
    uint64_t addresses[4]; /* source, destination */
    uint64_t address[2];   /* new one */
} __attribute__((aligned(64)));

struct flow_cache {
    struct flow_set *sets;
    struct flow_entry *entries;
    struct flow_wide *wide; /* of the entry with the same number */
    uint32_t mask;          /* entries - 1 */
    uint16_t epoch;         /* not 0 */
    uint64_t serial;        /* of the snapshot, and the second, that the epoch is of */
    uint32_t now_s;
    uint32_t owner_ways;  /* of a set, that one tenant may have */
    uint32_t rest, pause; /* passes: to let go by yet, and how many at a time (flow_cache_look) */
    uint64_t hits, misses;
    uint64_t seed[6];
};

#define FLOW_PAUSE_MAX  7u  /* passes */
#define FLOW_PAUSE_FROM 16u /* packets of a pass that say something */

/* worker: is this pass's turn to look? */
static inline bool flow_cache_look(struct flow_cache *cache)
{
    if (__builtin_expect(!cache->rest, 1))
        return true;
    cache->rest--;
    return false;
}
/* worker: of `count` packets `found` had an entry. */
static inline void flow_cache_looked(struct flow_cache *cache, unsigned count, unsigned found)
{
    if (__builtin_expect(found, 1))
        cache->pause = 0;
    else if (count >= FLOW_PAUSE_FROM)
        cache->rest = cache->pause = cache->pause < FLOW_PAUSE_MAX ? 2 * cache->pause + 1 : FLOW_PAUSE_MAX;
}

/* control: NULL and errno. entries: a power of two, >= FLOW_WAYS. flow_cache_free takes NULL. */
struct flow_cache *flow_cache_new(uint32_t entries);
void flow_cache_free(struct flow_cache *cache);

/* worker: entries of another snapshot or second are none any more. shared: more than one tenant's flows. */
void flow_cache_renew(struct flow_cache *cache, uint64_t serial, uint32_t now_s, bool shared);
static inline bool flow_cache_is_of(const struct flow_cache *cache, uint64_t serial, uint32_t now_s)
{
    return !((cache->serial ^ serial) | (cache->now_s ^ now_s));
}

/* worker: notes what is done with packets of the key, in place of what was noted before. addresses: IPv6,
 * source and destination. NULL: no entry is free, or the owner has its part of the set. */
struct flow_entry *flow_cache_put(struct flow_cache *cache, const struct flow_key *key, uint64_t hash,
                                  const uint64_t addresses[4], const struct flow_action *action,
                                  uint32_t owner);

static inline uint64_t flow_fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Keyed, so that nobody can aim at a set. */
static inline uint64_t flow_hash_ipv6(const struct flow_cache *cache, const uint64_t addresses[4])
{
    const uint64_t *seed = cache->seed;
    return flow_fold(addresses[0] ^ seed[2], addresses[1] ^ seed[3]) +
           flow_fold(addresses[2] ^ seed[4], addresses[3] ^ seed[5]);
}

/* The second product: with one, some seeds left whole sets empty. */
static inline uint64_t flow_hash(const struct flow_cache *cache, const struct flow_key *key)
{
    uint64_t once = flow_fold(key->addresses ^ cache->seed[0], key->meta ^ cache->seed[1]);
    return flow_fold(once, UINT64_C(0x9e3779b97f4a7c15));
}

static inline struct flow_set *flow_set(const struct flow_cache *cache, uint64_t hash)
{
    return &cache->sets[(hash & cache->mask) / FLOW_WAYS];
}

static inline uint8_t flow_tag(uint64_t hash)
{
    return (uint8_t)(hash >> 56);
}

static inline struct flow_entry *flow_entry(const struct flow_cache *cache, const struct flow_set *set,
                                            unsigned way)
{
    return &cache->entries[(set - cache->sets) * FLOW_WAYS + way];
}

static inline struct flow_wide *flow_wide(const struct flow_cache *cache, const struct flow_entry *entry)
{
    return &cache->wide[entry - cache->entries];
}

#define FLOW_FULL ((1u << FLOW_WAYS) - 1)

/* Ways in use, a bit each. */
static inline unsigned flow_live(const struct flow_cache *cache, const struct flow_set *set)
{
    __m128i epochs = _mm_load_si128((const __m128i *)(const void *)set->epochs);
    __m128i same = _mm_cmpeq_epi16(epochs, _mm_set1_epi16((short)cache->epoch));
    return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(same, _mm_setzero_si128()));
}

/* Ways whose byte is this one. */
static inline unsigned flow_equal(const uint8_t bytes[FLOW_WAYS], uint8_t byte)
{
    __m128i eight = _mm_loadl_epi64((const __m128i *)(const void *)bytes);
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(eight, _mm_set1_epi8((char)byte))) & FLOW_FULL;
}

/* Ways that may be the key's: nearly always none or the one. */
static inline unsigned flow_candidates(const struct flow_cache *cache, const struct flow_set *set,
                                       uint64_t hash)
{
    return flow_live(cache, set) & flow_equal(set->tags, flow_tag(hash));
}

static inline bool flow_is(const struct flow_cache *cache, const struct flow_entry *entry,
                           const struct flow_key *key, const uint64_t addresses[4])
{
    if ((entry->key.addresses ^ key->addresses) | (entry->key.meta ^ key->meta))
        return false;
    if (__builtin_expect(flow_meta_kind(key->meta) == FLOW_IPV4, 1))
        return true;
    const uint64_t *other = flow_wide(cache, entry)->addresses;
    return !((other[0] ^ addresses[0]) | (other[1] ^ addresses[1]) | (other[2] ^ addresses[2]) |
             (other[3] ^ addresses[3]));
}

/* worker: NULL: none. */
struct flow_entry *flow_find(const struct flow_cache *cache, const struct flow_key *key, uint64_t hash,
                             const uint64_t addresses[4]);
