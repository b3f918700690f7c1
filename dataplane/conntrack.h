/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The session table of address translation: what its parts (conntrack*.c, nat*.c) share. Nobody else includes
 * this; the interface is nat.h. Theory of operation in conntrack.c.
 *
 * Threads: stated at each field. One lock, nat->writer; who has it takes no other.
 */
#ifndef __SANITIZE_THREAD__
#include <emmintrin.h>
#endif
#include "conntrack_key.h"
#include "conntrack_types.h"

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

/* Of the writer, which alone changes them: no locked instruction. */
static inline void writer_add(uint32_t *counter, int change)
{
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + (uint32_t)change,
                     __ATOMIC_RELAXED);
}
static inline void writer_total_add(uint64_t *counter)
{
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
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
static inline uint32_t slot_load(const uint32_t *slot)
{
    return __atomic_load_n(slot, __ATOMIC_RELAXED);
}

/* Slots of the bucket with the tag: bit a slot. Inline: a new session asks seven times, 40 cycles in all. */
static inline uint32_t index_matches(const struct index_bucket *bucket, uint32_t tag)
{
#ifdef __SANITIZE_THREAD__
    uint32_t found = 0;
    for (unsigned i = 0; i < INDEX_SLOTS; i++)
        found |= (uint32_t)((slot_load(&bucket->slots[i]) & ~SESSION_IDS_MASK) == tag) << i;
    return found;
#else
    /* Aligned words of a vector load are whole; the slot that is taken is read again. */
    const __m128i *words = (const __m128i *)(const void *)bucket->slots;
    const __m128i wanted = _mm_set1_epi32((int)(tag >> 24));
    __m128i a = _mm_cmpeq_epi32(_mm_srli_epi32(_mm_load_si128(words), 24), wanted);
    __m128i b = _mm_cmpeq_epi32(_mm_srli_epi32(_mm_load_si128(words + 1), 24), wanted);
    __m128i c = _mm_cmpeq_epi32(_mm_srli_epi32(_mm_load_si128(words + 2), 24), wanted);
    __m128i d = _mm_cmpeq_epi32(_mm_srli_epi32(_mm_load_si128(words + 3), 24), wanted);
    __m128i all = _mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));
    return (uint32_t)_mm_movemask_epi8(all) & ((1u << INDEX_SLOTS) - 1);
#endif
}

/* Under the writer's lock: */
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
/* A free session's number, under the writer's lock; 0: none. */
uint32_t conntrack_take(struct nat *nat);
void conntrack_give(struct nat *nat, uint32_t id);
bool conntrack_idle(const struct nat *nat, uint32_t id, uint32_t now_s); /* for too long */
/* Under the writer's lock: brings near what ending or moving the session will touch. */
void conntrack_prefetch_entries(const struct nat *nat, uint32_t id);
void conntrack_end_locked(struct nat *nat, uint32_t id, uint32_t generation, bool expired, uint32_t now_s);
void session_hashes(const struct nat *nat, const struct session *session, uint64_t hashes[SESSION_ENTRIES]);
const struct index_table *session_table(const struct nat *nat, uint32_t id); /* that has its entries */

struct nat_interface;
/* conntrack_guest.c: sessions of an inside address; under the writer's lock, but for the hash */
uint64_t guest_hash(const struct nat *nat, const uint64_t address[2], uint16_t interface);
/* One session more, which its tenant has already. 0: limit (DP_DROP_NAT_SESSION_LIMIT) or memory
 * (DP_DROP_NAT_TABLE_FULL). `inbound`: opened from outside. */
uint32_t guest_join(const struct nat_context *context, uint64_t hash, const uint64_t address[2],
                    const struct nat_interface *interface, bool inbound, enum dp_drop *drop);
void guest_leave(struct nat *nat, uint32_t id, bool inbound);
bool guest_move(struct nat *nat, uint32_t id); /* its entry to the index in use; false: no room */

/* May one of `sharers` who has `own` of something take one more, of which `used` of `all` are taken? Three
 * quarters of it are for whoever comes, the last one in equal parts for each: who has such a part or more
 * takes only while less than three quarters are taken. So nobody can take another's part, and who is alone
 * has all. */
static inline bool share_allows(uint32_t own, uint64_t used, uint32_t all, uint32_t sharers)
{
    return sharers < 2 || (uint64_t)own * 4 * sharers < all || used * 4 < (uint64_t)all * 3;
}

/* Of a limit, what sessions opened from outside may have. */
static inline uint32_t inbound_part(uint32_t limit)
{
    return limit - limit / 4;
}

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
    bool missing;  /* outbound: its key was not found a moment ago */
    uint64_t hash; /* outbound: of its key */
};
/* conntrack_create.c; worker, without the lock. DP_DROP_COUNT: it is there (or was: another worker came
 * first). */
enum dp_drop conntrack_create(const struct nat_context *context, const struct session_request *request,
                              struct session_view *view);

/* conntrack_hint.c; worker, without the lock. What conntrack_create will need, for each request of a batch,
 * and after the last one for all. */
void conntrack_foresee(const struct nat_context *context, const struct session_request *request);
void conntrack_foresee_ports(const struct nat_context *context);
const struct hint *conntrack_hint(struct hints *hints, const struct nat_key *outbound, uint64_t hash);

/* conntrack_memory.c; control */
int conntrack_new(struct nat *nat, uint32_t sessions); /* 0 or -errno */
int conntrack_prepare(struct nat *nat);                /* the first memory; 0 or -errno */
void conntrack_free(struct nat *nat);
void conntrack_grow(struct nat *nat);
void *conntrack_map(size_t size); /* zeroed, there; NULL */
void conntrack_unmap(void *memory, size_t size);

/* nat_mapping.c; under the writer's lock */
struct mapping {
    uint32_t head; /* session; 0: none yet */
    uint16_t address, port;
};
bool mapping_find(const struct nat *nat, const struct nat_key *endpoint, uint64_t hash,
                  struct mapping *mapping);
/* A port of the pool's address, network order; 0: none is free, or the rest is others'. `endpoint`: its
 * hash. */
uint16_t mapping_allocate(const struct nat_context *context, const struct nat_pool *pool, uint16_t tenant,
                          uint8_t protocol, uint64_t endpoint);
/* worker, without the lock. Brings near what the other two look at first. */
void mapping_prefetch(const struct nat_context *context, const struct nat_pool *pool, uint8_t protocol,
                      uint64_t endpoint);
/* worker, without the lock. The port that would be, if nothing comes before it; 0: not known. */
uint16_t mapping_foresee(const struct nat_context *context, const struct nat_pool *pool, uint8_t protocol,
                         uint64_t endpoint);
void mapping_release(struct nat *nat, uint16_t address, uint16_t tenant, uint8_t protocol, uint16_t port);
/* The session becomes the first or a further one of its endpoint. False: no room in the index. */
bool mapping_join(struct nat *nat, uint32_t id, const struct mapping *mapping, uint64_t hash);
void mapping_set_head(struct nat *nat, const struct session *session, uint32_t id);
void mapping_leave(struct nat *nat, uint32_t id, uint64_t hash);

/* conntrack_timer.c; under the writer's lock */
void wheel_add(struct nat *nat, struct wheel *wheel, uint32_t id, uint32_t now_s);
void wheel_add_new(struct nat *nat, struct wheel *wheel, uint32_t id, uint32_t now_s);
void conntrack_turn_late(struct nat *nat, uint32_t now_s); /* control, without the lock: sleepers' wheels */

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
