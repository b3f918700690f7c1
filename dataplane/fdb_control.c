/* SPDX-License-Identifier: BSD-3-Clause */
/* The control thread's side of the address table: memory, growth, configured addresses, ageing, flush. See
 * fdb.c. */
#include "fdb_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define FDB_BUCKETS_MIN 4096u      /* 256 KiB */
#define FDB_GROWTH_FAST 4u         /* times, when addresses came faster than it grew */
#define FDB_HUGEPAGE    (2u << 20) /* bytes */
#define FDB_AGE_MAX     (1u << 21) /* seconds, 24 days */
#define FDB_SWEEPS      64u        /* calls of fdb_maintain for a whole table */
#define FDB_LOCKED      64u        /* buckets the control thread handles under one taking of the lock */

static void *map_zeroed(size_t size)
{
    void *memory = MAP_FAILED;
    if (size >= FDB_HUGEPAGE)
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (memory == MAP_FAILED) {
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            return NULL;
        madvise(memory, size, MADV_HUGEPAGE); /* a wish */
    }
    return memory;
}

static struct fdb_table *table_new(uint64_t buckets, const uint64_t seed[2])
{
    struct fdb_table *table = calloc(1, sizeof(*table));
    if (!table)
        return NULL;
    table->mask = buckets - 1;
    table->seed[0] = seed[0];
    table->seed[1] = seed[1] | 1;
    table->mapped_size = buckets * sizeof(struct fdb_bucket);
    table->buckets = map_zeroed(table->mapped_size);
    if (!table->buckets) {
        free(table);
        return NULL;
    }
    return table;
}

static void table_free(struct fdb_table *table)
{
    if (!table)
        return;
    munmap(table->buckets, table->mapped_size);
    free(table);
}

struct fdb *fdb_new(uint32_t addresses_max, void (*quiesce)(void))
{
    uint64_t seed[2];
    if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
        return NULL;
    struct fdb *fdb = aligned_alloc(64, (sizeof(*fdb) + 63) / 64 * 64);
    if (!fdb)
        return NULL;
    memset(fdb, 0, sizeof(*fdb));
    fdb->addresses_max = addresses_max;
    fdb->quiesce = quiesce;
    fdb->table = table_new(FDB_BUCKETS_MIN, seed);
    fdb->segments = map_zeroed(DP_SEGMENTS_MAX * sizeof(struct fdb_owner));
    fdb->ports = map_zeroed(DP_PORTS_MAX * sizeof(struct fdb_owner));
    if (!fdb->table || !fdb->segments || !fdb->ports) {
        fdb_free(fdb);
        errno = ENOMEM;
        return NULL;
    }
    return fdb;
}

void fdb_free(struct fdb *fdb)
{
    if (!fdb)
        return;
    table_free(fdb->table);
    if (fdb->segments)
        munmap(fdb->segments, DP_SEGMENTS_MAX * sizeof(struct fdb_owner));
    if (fdb->ports)
        munmap(fdb->ports, DP_PORTS_MAX * sizeof(struct fdb_owner));
    free(fdb);
}

void fdb_set_ageing(struct fdb *fdb, uint32_t segment, uint32_t ageing_s)
{
    fdb->segments[segment].ageing_s = ageing_s;
}

/* A table `times` the size with the same entries. Under the lock a copy is complete: nobody else writes but
 * ages, of which the last few may be lost. */
static int fdb_grow(struct fdb *fdb, unsigned times)
{
    struct fdb_table *old = fdb->table;
    if (old->mask + 1 >= (uint64_t)fdb->addresses_max * 2)
        return -ENOSPC;
    while (times > 2 && (old->mask + 1) * times * FDB_WAYS > (uint64_t)fdb->addresses_max * 4)
        times /= 2;
    struct fdb_table *table = table_new((old->mask + 1) * times, old->seed);
    if (!table)
        return -ENOMEM;
    fdb_lock(fdb);
    for (uint64_t b = 0; b <= old->mask; b++)
        for (unsigned i = 0; i < FDB_WAYS; i++) {
            uint64_t key = old->buckets[b].keys[i];
            uint64_t value = __atomic_load_n(&old->buckets[b].values[i], __ATOMIC_RELAXED);
            if (!key || fdb_insert(table, key, value))
                continue;
            fdb->used--; /* more room and yet none: forgotten, as by ageing */
            if (!(value & FDB_VALUE_STATIC))
                fdb_learned_count(fdb, key, value, -1);
        }
    __atomic_store_n(&fdb->table, table, __ATOMIC_RELEASE);
    __atomic_store_n(&fdb->grow_wanted, 0, __ATOMIC_RELAXED);
    fdb->sweep_position = 0;
    fdb_unlock(fdb);
    fdb->quiesce();
    table_free(old);
    return 0;
}

static uint64_t mac_address(const uint8_t mac[6])
{
    uint64_t address = 0;
    memcpy(&address, mac, 6);
    return address;
}

/* Under the lock. */
static int static_put(struct fdb *fdb, uint64_t key, uint64_t value)
{
    struct fdb_slot slot = fdb_find(fdb->table, key, fdb_hash(fdb->table, key));
    if (slot.key) {
        uint64_t old = __atomic_load_n(slot.value, __ATOMIC_RELAXED);
        if (!(old & FDB_VALUE_STATIC))
            fdb_learned_count(fdb, key, old, -1);
        __atomic_store_n(slot.value, value, __ATOMIC_RELEASE);
        return 0;
    }
    if (fdb->used >= fdb->addresses_max)
        return -ENOSPC;
    if (!fdb_insert(fdb->table, key, value))
        return -EAGAIN;
    fdb->used++;
    return 0;
}

int fdb_static_set(struct fdb *fdb, uint32_t segment, const uint8_t mac[6], uint32_t port, uint32_t vid)
{
    uint64_t key = fdb_key(segment, mac_address(mac));
    uint64_t value = fdb_value_make(port | vid << 12, 0, 0) | FDB_VALUE_STATIC;
    for (;;) {
        fdb_lock(fdb);
        int result = static_put(fdb, key, value);
        fdb_unlock(fdb);
        if (result != -EAGAIN)
            return result;
        result = fdb_grow(fdb, 2);
        if (result)
            return result;
    }
}

static void entry_remove(struct fdb *fdb, struct fdb_slot slot, uint64_t key, uint64_t value)
{
    fdb_slot_clear(slot);
    fdb->used--;
    if (!(value & FDB_VALUE_STATIC))
        fdb_learned_count(fdb, key, value, -1);
}

int fdb_static_del(struct fdb *fdb, uint32_t segment, const uint8_t mac[6])
{
    uint64_t key = fdb_key(segment, mac_address(mac));
    int result = -ENOENT;
    fdb_lock(fdb);
    struct fdb_slot slot = fdb_find(fdb->table, key, fdb_hash(fdb->table, key));
    uint64_t value = slot.key ? __atomic_load_n(slot.value, __ATOMIC_RELAXED) : 0;
    if (value & FDB_VALUE_STATIC) {
        entry_remove(fdb, slot, key, value);
        result = 0;
    }
    fdb_unlock(fdb);
    return result;
}

/* One entry of a sweep, under the lock: 1 if it was removed (flushed; with `ageing` also if it is too old).
 */
static unsigned sweep_entry(struct fdb *fdb, struct fdb_slot slot, uint32_t now_s, bool ageing)
{
    uint64_t key = *slot.key, value = __atomic_load_n(slot.value, __ATOMIC_RELAXED);
    uint32_t age = fdb_value_age(value, now_s), limit = fdb->segments[fdb_key_segment(key)].ageing_s;
    if (!key || value & FDB_VALUE_STATIC)
        return 0;
    if (!fdb_value_valid(fdb, fdb_key_segment(key), value) || (ageing && limit && age > limit)) {
        entry_remove(fdb, slot, key, value);
        return 1;
    }
    if (age > FDB_AGE_MAX) {
        uint64_t kept = fdb_value_make(FDB_VALUE_TO(value), FDB_VALUE_GENERATION(value), now_s - FDB_AGE_MAX);
        __atomic_compare_exchange_n(slot.value, &value, kept, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
    }
    return 0;
}

static uint32_t sweep(struct fdb *fdb, uint64_t from, uint64_t count, uint32_t now_s, bool ageing)
{
    uint32_t removed = 0;
    struct fdb_table *table = fdb->table;
    for (uint64_t done = 0; done < count;) {
        fdb_lock(fdb);
        for (unsigned i = 0; i < FDB_LOCKED && done < count; i++, done++) {
            struct fdb_bucket *bucket = &table->buckets[(from + done) & table->mask];
            for (unsigned way = 0; way < FDB_WAYS; way++)
                removed += sweep_entry(fdb, fdb_slot(bucket, way), now_s, ageing);
        }
        fdb_unlock(fdb);
    }
    return removed;
}

void fdb_maintain(struct fdb *fdb, uint32_t now_s)
{
    uint64_t buckets = fdb->table->mask + 1;
    fdb_lock(fdb);
    uint64_t used = fdb->used;
    fdb_unlock(fdb);
    fdb->now_s = now_s;
    bool full = used * 2 > buckets * FDB_WAYS, refused = __atomic_load_n(&fdb->grow_wanted, __ATOMIC_RELAXED);
    if (full || refused) {
        if (fdb_grow(fdb, full && refused ? FDB_GROWTH_FAST : 2) == 0)
            return;
        __atomic_store_n(&fdb->grow_wanted, 0, __ATOMIC_RELAXED); /* it stays as it is */
    }
    uint64_t count = buckets / FDB_SWEEPS < FDB_BUCKETS_MIN ? FDB_BUCKETS_MIN : buckets / FDB_SWEEPS;
    if (used)
        sweep(fdb, fdb->sweep_position, count, now_s, true);
    fdb->sweep_position += count;
}

static bool key_matches(uint64_t key, uint64_t value, uint32_t segment, uint32_t port)
{
    return key && !(value & FDB_VALUE_STATIC) && (!segment || fdb_key_segment(key) == segment) &&
           (!port || FDB_VALUE_PORT(value) == port);
}

/* The addresses of one port in one segment have no generation of their own: they are removed one by one. */
static uint32_t flush_both(struct fdb *fdb, uint32_t segment, uint32_t port)
{
    uint32_t removed = 0;
    for (uint64_t b = 0; b <= fdb->table->mask; b += FDB_LOCKED) {
        fdb_lock(fdb);
        for (uint64_t i = b; i < b + FDB_LOCKED; i++)
            for (unsigned way = 0; way < FDB_WAYS; way++) {
                struct fdb_slot slot = fdb_slot(&fdb->table->buckets[i], way);
                uint64_t key = *slot.key, value = __atomic_load_n(slot.value, __ATOMIC_RELAXED);
                if (key_matches(key, value, segment, port)) {
                    entry_remove(fdb, slot, key, value);
                    removed++;
                }
            }
        fdb_unlock(fdb);
    }
    return removed;
}

static void generation_add(struct fdb_owner *owner)
{
    __atomic_store_n(&owner->generation, owner->generation + 1, __ATOMIC_RELAXED);
}

uint32_t fdb_flush(struct fdb *fdb, uint32_t segment, uint32_t port)
{
    if (segment && port)
        return flush_both(fdb, segment, port);
    if (segment)
        generation_add(&fdb->segments[segment]);
    else if (port)
        generation_add(&fdb->ports[port]);
    else
        for (unsigned i = 0; i < DP_SEGMENTS_MAX; i++)
            generation_add(&fdb->segments[i]);
    return sweep(fdb, 0, fdb->table->mask + 1, fdb->now_s, false);
}

unsigned fdb_walk(const struct fdb *fdb, uint64_t *cursor, uint32_t now_s, struct dp_fdb_entry *entries,
                  unsigned count)
{
    const struct fdb_table *table = fdb->table;
    unsigned filled = 0;
    for (; *cursor <= table->mask * FDB_WAYS + (FDB_WAYS - 1) && filled < count; ++*cursor) {
        struct fdb_slot slot = fdb_slot(&table->buckets[*cursor / FDB_WAYS], *cursor % FDB_WAYS);
        uint64_t key = __atomic_load_n(slot.key, __ATOMIC_ACQUIRE), value;
        if (!key || !fdb_value(slot, key, &value) || !fdb_value_valid(fdb, fdb_key_segment(key), value))
            continue;
        struct dp_fdb_entry *out = &entries[filled++];
        memset(out, 0, sizeof(*out));
        out->segment = fdb_key_segment(key);
        memcpy(out->mac, &key, sizeof(out->mac));
        out->is_static = !!(value & FDB_VALUE_STATIC);
        out->port = FDB_VALUE_PORT(value);
        out->age_s = out->is_static ? 0 : fdb_value_age(value, now_s);
    }
    return filled;
}

uint32_t fdb_segment_count(const struct fdb *fdb, uint32_t segment)
{
    return __atomic_load_n(&fdb->segments[segment].learned, __ATOMIC_RELAXED);
}

uint32_t fdb_port_count(const struct fdb *fdb, uint32_t port)
{
    return __atomic_load_n(&fdb->ports[port].learned, __ATOMIC_RELAXED);
}
