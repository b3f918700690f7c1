/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The address table (IEEE 802.1Q, 8.8: filtering database): which port of a segment leads to a MAC address.
 * One table for all segments; the key is segment and address. Theory of operation in fdb.c.
 *
 * Threads: fdb_prefetch, fdb_lookup, fdb_learn: any worker, while it is on-line in the workers' grace
 * periods. The rest: control thread.
 */
#include <smmintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dataplane_api.h"

/* value: port 0-11, vid 12-23, static 24, generation 25-40, second last seen 41-63 */
#define FDB_VALUE_PORT(value)       ((uint32_t)(value)&0xfffu)
#define FDB_VALUE_VID(value)        ((uint32_t)((value) >> 12) & 0xfffu)
#define FDB_VALUE_TO(value)         ((uint32_t)(value)&0xffffffu) /* port and vid together */
#define FDB_VALUE_STATIC            (UINT64_C(1) << 24)
#define FDB_VALUE_GENERATION(value) ((uint32_t)((value) >> 25) & 0xffffu)
#define FDB_VALUE_SEEN_SHIFT        41
#define FDB_VALUE_SEEN(value)       ((uint32_t)((value) >> FDB_VALUE_SEEN_SHIFT))
#define FDB_SEEN_MASK               0x7fffffu

#define FDB_WAYS 4u

/* One cache line. The keys stand side by side, so that one comparison takes two of them. */
struct fdb_bucket {
    uint64_t keys[FDB_WAYS];   /* segment << 48 | address; 0: free. rw atomically, under the lock */
    uint64_t values[FDB_WAYS]; /* workers: age by compare-and-swap; everything else under the lock */
} __attribute__((aligned(64)));

/* An entry's place. */
struct fdb_slot {
    uint64_t *key; /* NULL: no slot */
    uint64_t *value;
};

struct fdb_table {
    struct fdb_bucket *buckets;
    uint64_t mask;      /* bucket count - 1 */
    uint64_t seed[2];   /* of the hash, so that nobody outside can aim at a bucket */
    size_t mapped_size; /* bytes */
};

/* workers: rw under the lock, r without; control: the same */
struct fdb_owner {
    uint32_t
        learned; /* entries in the table that are not static, flushed but not yet removed ones included */
    uint32_t generation; /* flush: control adds 1; entries with another sum of generations are not there */
    uint32_t ageing_s;   /* segments: control: rw */
} __attribute__((aligned(64)));

struct fdb {
    struct fdb_table *table;    /* control: w (release); workers: r */
    struct fdb_owner *segments; /* DP_SEGMENTS_MAX */
    struct fdb_owner *ports;    /* DP_PORTS_MAX */
    /* cold: lock, sweep position (fdb.c) */
    uint32_t lock;
    uint32_t used;        /* entries, under the lock */
    uint32_t grow_wanted; /* an address found no room; worker: w, control: rw */
    uint32_t addresses_max;
    uint64_t sweep_position; /* control */
    uint32_t now_s;          /* control: of the last fdb_maintain */
    void (*quiesce)(void);
};

enum fdb_learned {
    FDB_LEARNED,   /* known, or learned now (or the table was busy: the next frame will) */
    FDB_PROTECTED, /* static on another port */
    FDB_LIMIT,     /* unknown, and the port, the segment or the table is full */
};

/* quiesce: waits for a grace period of the workers. NULL and errno. */
struct fdb *fdb_new(uint32_t addresses_max, void (*quiesce)(void));
void fdb_free(struct fdb *fdb);

/* Ageing time of a segment, seconds; 0: never. New segments have 0. */
void fdb_set_ageing(struct fdb *fdb, uint32_t segment, uint32_t ageing_s);
/* A configured address: replaces a learned or configured one. Again for the same address when the port's vid
 * in the segment changed. 0, -ENOSPC (addresses_max), -ENOMEM. */
int fdb_static_set(struct fdb *fdb, uint32_t segment, const uint8_t mac[6], uint32_t port, uint32_t vid);
/* 0 or -ENOENT. */
int fdb_static_del(struct fdb *fdb, uint32_t segment, const uint8_t mac[6]);
/* Forgets learned addresses of a segment (0: all) and port (0: all). In force at once. Returns how many. */
uint32_t fdb_flush(struct fdb *fdb, uint32_t segment, uint32_t port);
/* About every 100 ms: removes aged entries of a part of the table, grows it. Bounded, except when it grows.
 * now_s: CLOCK_MONOTONIC. */
void fdb_maintain(struct fdb *fdb, uint32_t now_s);
/* Up to `count` entries from *cursor (0 at first) on; returns how many, 0: end. Entries that come or go
 * meanwhile may be missed. */
unsigned fdb_walk(const struct fdb *fdb, uint64_t *cursor, uint32_t now_s, struct dp_fdb_entry *entries,
                  unsigned count);
/* Addresses learned in the segment, at the port. */
uint32_t fdb_segment_count(const struct fdb *fdb, uint32_t segment);
uint32_t fdb_port_count(const struct fdb *fdb, uint32_t port);

/* Address as the low 48 bits of a little endian load, which is how the key has it. */
static inline uint64_t fdb_key(uint32_t segment, uint64_t address)
{
    return (uint64_t)segment << 48 | address;
}

/* Keyed multiply and fold; both candidate buckets come from one hash. */
static inline uint64_t fdb_hash(const struct fdb_table *table, uint64_t key)
{
    unsigned __int128 product = (unsigned __int128)(key ^ table->seed[0]) * table->seed[1];
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline struct fdb_bucket *fdb_first(const struct fdb_table *table, uint64_t hash)
{
    return &table->buckets[hash & table->mask];
}

/* Never the first one. */
static inline struct fdb_bucket *fdb_second(const struct fdb_table *table, uint64_t hash)
{
    uint64_t first = hash & table->mask;
    uint64_t second = hash >> 32 & table->mask;
    return &table->buckets[second == first ? first ^ 1 : second];
}

static inline struct fdb_slot fdb_slot(struct fdb_bucket *bucket, unsigned way)
{
    return (struct fdb_slot){&bucket->keys[way], &bucket->values[way]};
}

/* All four keys are compared before the one branch: which of them it is cannot be predicted, whether it is
 * any of them can. The processor reads each aligned half of a vector at once; a key that changes meanwhile is
 * found out by fdb_value. */
static inline struct fdb_slot fdb_find_in(struct fdb_bucket *bucket, uint64_t key)
{
    const __m128i *keys = (const __m128i *)bucket->keys;
    __m128i wanted = _mm_set1_epi64x((long long)key);
    __m128i low = _mm_cmpeq_epi64(_mm_load_si128(&keys[0]), wanted);
    __m128i high = _mm_cmpeq_epi64(_mm_load_si128(&keys[1]), wanted);
    unsigned found = (unsigned)_mm_movemask_ps(_mm_castsi128_ps(_mm_packs_epi32(low, high)));
    return found ? fdb_slot(bucket, (unsigned)__builtin_ctz(found)) : (struct fdb_slot){NULL, NULL};
}

static inline struct fdb_slot fdb_find(const struct fdb_table *table, uint64_t key, uint64_t hash)
{
    struct fdb_slot slot = fdb_find_in(fdb_first(table, hash), key);
    return slot.key ? slot : fdb_find_in(fdb_second(table, hash), key);
}

/* Entries of a slot that was reused between the reads of key and value are not taken. */
static inline bool fdb_value(struct fdb_slot slot, uint64_t key, uint64_t *value)
{
    *value = __atomic_load_n(slot.value, __ATOMIC_ACQUIRE);
    return __atomic_load_n(slot.key, __ATOMIC_RELAXED) == key;
}

/* The generation that a learned entry of the segment at the port must have. */
static inline uint32_t fdb_generation(const struct fdb *fdb, uint32_t segment, uint32_t port)
{
    return (__atomic_load_n(&fdb->segments[segment].generation, __ATOMIC_RELAXED) +
            __atomic_load_n(&fdb->ports[port].generation, __ATOMIC_RELAXED)) &
           0xffffu;
}

/* False: flushed since it was learned. */
static inline bool fdb_value_valid(const struct fdb *fdb, uint32_t segment, uint64_t value)
{
    return value & FDB_VALUE_STATIC ||
           FDB_VALUE_GENERATION(value) == fdb_generation(fdb, segment, FDB_VALUE_PORT(value));
}

/* Two values that differ in their age only. Of one segment, both are valid or none is. */
static inline bool fdb_value_same(uint64_t a, uint64_t b)
{
    return !((a ^ b) << (64 - FDB_VALUE_SEEN_SHIFT));
}

/* The value of a known address, 0 (no port) if it is not known. `table`: fdb->table read once a batch.
 * `valid`: what was returned for another address of the segment in this batch, or 0. */
static inline uint64_t fdb_lookup(const struct fdb *fdb, const struct fdb_table *table, uint64_t key,
                                  uint64_t hash, uint64_t valid)
{
    struct fdb_slot slot = fdb_find(table, key, hash);
    uint64_t value;
    if (!slot.key || !fdb_value(slot, key, &value))
        return 0;
    return fdb_value_same(value, valid) || fdb_value_valid(fdb, (uint32_t)(key >> 48), value) ? value : 0;
}

/* Where frames came from; the limits are addresses, 0: none. */
struct fdb_source {
    uint32_t to; /* port | vid << 12, as in the value */
    uint32_t port_limit;
    uint32_t segment_limit;
    uint32_t now_s;
    uint64_t value; /* fdb_source_value: an entry that needs no change */
};

static inline uint64_t fdb_source_value(const struct fdb *fdb, uint32_t segment, uint32_t to, uint32_t now_s)
{
    return (uint64_t)to | (uint64_t)fdb_generation(fdb, segment, to & 0xfffu) << 25 |
           (uint64_t)(now_s & FDB_SEEN_MASK) << FDB_VALUE_SEEN_SHIFT;
}

/* fdb_learn's rest: new addresses, moves, static ones, ages. */
enum fdb_learned fdb_learn_slow(struct fdb *fdb, const struct fdb_table *table, uint64_t key, uint64_t hash,
                                const struct fdb_source *source);

/* Notes that `key` was seen. The common case writes nothing: same port, seen in this second. */
static inline enum fdb_learned fdb_learn(struct fdb *fdb, const struct fdb_table *table, uint64_t key,
                                         uint64_t hash, const struct fdb_source *source)
{
    struct fdb_slot slot = fdb_find_in(fdb_first(table, hash), key);
    uint64_t value;
    if (slot.key && fdb_value(slot, key, &value) && __builtin_expect(value == source->value, 1))
        return FDB_LEARNED;
    return fdb_learn_slow(fdb, table, key, hash, source);
}
