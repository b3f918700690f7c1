/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The address table.
 *
 * Theory of operation. A hash table of 16-byte entries, four to a bucket of one cache line. An address may be
 * in either of two buckets; it goes to the first unless that is full. If both are full an entry of the first
 * moves to its own other bucket, one step. The table starts small and the control thread replaces it by a
 * copy of twice the size when it is half full, so memory grows with the addresses and a small switch stays
 * within its cache.
 *
 * Readers take no lock. A key is stored after its value, and a slot is emptied (key 0) before its value
 * changes; a reader that finds its key on both sides of the value's read has that key's value. What it may
 * see is a state of a moment ago, or (while an entry moves to its other bucket) nothing: the frame is
 * flooded, which a bridge may always do. That a value belongs to another segment is excluded a second time by
 * the bridge, which checks the membership of the port it names.
 *
 * Writers hold one lock, except for ages, which are a compare-and-swap of the value. Workers only try the
 * lock: whoever does not get it forwards without learning and learns from the next frame. The control thread
 * waits for it and holds it for a few buckets at a time (for the whole copy when the table grows: learning
 * pauses, forwarding does not).
 *
 * Flush adds one to the generation of the segment or port, which takes effect at once; the sweep that follows
 * on the control thread only gives the room back. An entry is valid while its generation is the sum of both,
 * modulo 2^16: sums only grow and a sweep passes the whole table within 64 calls of fdb_maintain, so a stale
 * entry cannot become valid.
 *
 * `learned` of segment and port count entries that are in the table; they change under the lock, with the
 * entry.
 *
 * Limits: ages are modulo 2^23 seconds; entries that never age are kept at most FDB_AGE_MAX old.
 */
#include "fdb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define FDB_BUCKETS_MIN 4096u      /* 256 KiB */
#define FDB_HUGEPAGE    (2u << 20) /* bytes */
#define FDB_AGE_MAX     (1u << 21) /* seconds, 24 days */
#define FDB_SWEEPS      64u        /* calls of fdb_maintain for a whole table */
#define FDB_LOCKED      64u        /* buckets the control thread handles under one taking of the lock */

static bool fdb_trylock(struct fdb *fdb)
{
    return !__atomic_load_n(&fdb->lock, __ATOMIC_RELAXED) &&
           !__atomic_exchange_n(&fdb->lock, 1, __ATOMIC_ACQUIRE);
}

static void fdb_lock(struct fdb *fdb)
{
    while (!fdb_trylock(fdb))
        __builtin_ia32_pause();
}

static void fdb_unlock(struct fdb *fdb)
{
    __atomic_store_n(&fdb->lock, 0, __ATOMIC_RELEASE);
}

static uint32_t key_segment(uint64_t key)
{
    return (uint32_t)(key >> 48);
}

static uint64_t value_make(uint32_t to, uint32_t generation, uint32_t now_s)
{
    return (uint64_t)to | (uint64_t)generation << 25 | (uint64_t)(now_s & FDB_SEEN_MASK) << 41;
}

/* Workers' and control's clocks may differ by a moment: an entry from the future is 0 seconds old. */
static uint32_t value_age(uint64_t value, uint32_t now_s)
{
    uint32_t age = (now_s - FDB_VALUE_SEEN(value)) & FDB_SEEN_MASK;
    return age > FDB_SEEN_MASK / 2 ? 0 : age;
}

static bool value_valid(const struct fdb *fdb, uint64_t key, uint64_t value)
{
    return value & FDB_VALUE_STATIC ||
           FDB_VALUE_GENERATION(value) == fdb_generation(fdb, key_segment(key), FDB_VALUE_PORT(value));
}

/* Tables */

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

static void entry_fill(struct fdb_entry *entry, uint64_t key, uint64_t value)
{
    __atomic_store_n(&entry->value, value, __ATOMIC_RELEASE);
    __atomic_store_n(&entry->key, key, __ATOMIC_RELEASE);
}

static void entry_clear(struct fdb_entry *entry)
{
    __atomic_store_n(&entry->key, 0, __ATOMIC_RELEASE);
}

/* Makes room in `bucket` by moving one of its entries to that entry's other bucket. */
static struct fdb_entry *table_displace(struct fdb_table *table, struct fdb_bucket *bucket)
{
    for (unsigned i = 0; i < FDB_WAYS; i++) {
        struct fdb_entry *entry = &bucket->entries[i];
        uint64_t hash = fdb_hash(table, entry->key);
        struct fdb_bucket *other = fdb_first(table, hash);
        if (other == bucket)
            other = fdb_second(table, hash);
        struct fdb_entry *room = fdb_find_in(other, 0);
        if (other == bucket || !room)
            continue;
        entry_fill(room, entry->key, __atomic_load_n(&entry->value, __ATOMIC_RELAXED));
        entry_clear(entry);
        return entry;
    }
    return NULL;
}

/* Under the lock (or on a table nobody sees yet). The key is not there. False: no room. */
static bool table_insert(struct fdb_table *table, uint64_t key, uint64_t value)
{
    uint64_t hash = fdb_hash(table, key);
    struct fdb_entry *entry = fdb_find_in(fdb_first(table, hash), 0);
    if (!entry)
        entry = fdb_find_in(fdb_second(table, hash), 0);
    if (!entry)
        entry = table_displace(table, fdb_first(table, hash));
    if (!entry)
        entry = table_displace(table, fdb_second(table, hash));
    if (!entry)
        return false;
    entry_fill(entry, key, value);
    return true;
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

/* Counts of owners, under the lock */

static void owner_count(struct fdb_owner *owner, int change)
{
    __atomic_store_n(&owner->learned, owner->learned + (uint32_t)change, __ATOMIC_RELAXED);
}

static void learned_count(struct fdb *fdb, uint64_t key, uint64_t value, int change)
{
    owner_count(&fdb->segments[key_segment(key)], change);
    owner_count(&fdb->ports[FDB_VALUE_PORT(value)], change);
}

static bool owner_full(const struct fdb_owner *owner, uint32_t limit)
{
    return limit && __atomic_load_n(&owner->learned, __ATOMIC_RELAXED) >= limit;
}

/* Workers: learning */

/* Under the lock. A station moved, or its entry was flushed. */
static enum fdb_learned learn_move(struct fdb *fdb, struct fdb_entry *entry, uint64_t key, uint64_t fresh,
                                   const struct fdb_source *source)
{
    uint64_t old = __atomic_load_n(&entry->value, __ATOMIC_RELAXED);
    uint32_t from = FDB_VALUE_PORT(old), to = FDB_VALUE_PORT(fresh);
    if (old & FDB_VALUE_STATIC)
        return from == to ? FDB_LEARNED : FDB_PROTECTED;
    if (from != to) {
        if (owner_full(&fdb->ports[to], source->port_limit))
            return FDB_LIMIT;
        owner_count(&fdb->ports[from], -1);
        owner_count(&fdb->ports[to], 1);
    }
    __atomic_store_n(&entry->value, fresh, __ATOMIC_RELEASE);
    return FDB_LEARNED;
}

/* Under the lock. */
static enum fdb_learned learn_new(struct fdb *fdb, struct fdb_table *table, uint64_t key, uint64_t fresh)
{
    if (fdb->used >= fdb->addresses_max)
        return FDB_LIMIT;
    if (!table_insert(table, key, fresh)) {
        __atomic_store_n(&fdb->grow_wanted, 1, __ATOMIC_RELAXED);
        return FDB_LEARNED; /* flooded until the table has grown */
    }
    fdb->used++;
    learned_count(fdb, key, fresh, 1);
    return FDB_LEARNED;
}

enum fdb_learned fdb_learn_slow(struct fdb *fdb, const struct fdb_table *table, uint64_t key, uint64_t hash,
                                const struct fdb_source *source)
{
    uint32_t segment = key_segment(key), port = source->to & 0xfffu;
    uint64_t fresh = value_make(source->to, fdb_generation(fdb, segment, port), source->now_s), value;
    struct fdb_entry *entry = fdb_find(table, key, hash);

    if (entry && fdb_value(entry, key, &value)) {
        if (value == fresh)
            return FDB_LEARNED;
        if (value & FDB_VALUE_STATIC)
            return FDB_VALUE_PORT(value) == port ? FDB_LEARNED : FDB_PROTECTED;
        if (FDB_VALUE_TO(value) == source->to && value_valid(fdb, key, value)) {
            if (value_age(value, source->now_s))
                __atomic_compare_exchange_n(&entry->value, &value, fresh, false, __ATOMIC_RELEASE,
                                            __ATOMIC_RELAXED);
            return FDB_LEARNED;
        }
    } else if (owner_full(&fdb->segments[segment], source->segment_limit) ||
               owner_full(&fdb->ports[port], source->port_limit)) {
        return FDB_LIMIT;
    }

    if (!fdb_trylock(fdb))
        return FDB_LEARNED;
    struct fdb_table *current = __atomic_load_n(&fdb->table, __ATOMIC_ACQUIRE);
    hash = fdb_hash(current, key);
    entry = fdb_find(current, key, hash);
    enum fdb_learned learned;
    if (entry)
        learned = learn_move(fdb, entry, key, fresh, source);
    else if (owner_full(&fdb->segments[segment], source->segment_limit) ||
             owner_full(&fdb->ports[port], source->port_limit))
        learned = FDB_LIMIT;
    else
        learned = learn_new(fdb, current, key, fresh);
    fdb_unlock(fdb);
    return learned;
}

/* Control */

void fdb_set_ageing(struct fdb *fdb, uint32_t segment, uint32_t ageing_s)
{
    fdb->segments[segment].ageing_s = ageing_s;
}

/* A table twice the size with the same entries. Under the lock a copy is complete: nobody else writes but
 * ages, of which the last few may be lost. */
static int fdb_grow(struct fdb *fdb)
{
    struct fdb_table *old = fdb->table;
    if (old->mask + 1 >= (uint64_t)fdb->addresses_max * 2)
        return -ENOSPC;
    struct fdb_table *table = table_new((old->mask + 1) * 2, old->seed);
    if (!table)
        return -ENOMEM;
    fdb_lock(fdb);
    for (uint64_t b = 0; b <= old->mask; b++)
        for (unsigned i = 0; i < FDB_WAYS; i++) {
            uint64_t key = old->buckets[b].entries[i].key;
            uint64_t value = __atomic_load_n(&old->buckets[b].entries[i].value, __ATOMIC_RELAXED);
            if (!key || table_insert(table, key, value))
                continue;
            fdb->used--; /* twice the room and yet none: forgotten, as by ageing */
            if (!(value & FDB_VALUE_STATIC))
                learned_count(fdb, key, value, -1);
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
    struct fdb_entry *entry = fdb_find(fdb->table, key, fdb_hash(fdb->table, key));
    if (entry) {
        uint64_t old = __atomic_load_n(&entry->value, __ATOMIC_RELAXED);
        if (!(old & FDB_VALUE_STATIC))
            learned_count(fdb, key, old, -1);
        __atomic_store_n(&entry->value, value, __ATOMIC_RELEASE);
        return 0;
    }
    if (fdb->used >= fdb->addresses_max)
        return -ENOSPC;
    if (!table_insert(fdb->table, key, value))
        return -EAGAIN;
    fdb->used++;
    return 0;
}

int fdb_static_set(struct fdb *fdb, uint32_t segment, const uint8_t mac[6], uint32_t port, uint32_t vid)
{
    uint64_t key = fdb_key(segment, mac_address(mac));
    uint64_t value = value_make(port | vid << 12, 0, 0) | FDB_VALUE_STATIC;
    for (;;) {
        fdb_lock(fdb);
        int result = static_put(fdb, key, value);
        fdb_unlock(fdb);
        if (result != -EAGAIN)
            return result;
        result = fdb_grow(fdb);
        if (result)
            return result;
    }
}

static void entry_remove(struct fdb *fdb, struct fdb_entry *entry, uint64_t key, uint64_t value)
{
    entry_clear(entry);
    fdb->used--;
    if (!(value & FDB_VALUE_STATIC))
        learned_count(fdb, key, value, -1);
}

int fdb_static_del(struct fdb *fdb, uint32_t segment, const uint8_t mac[6])
{
    uint64_t key = fdb_key(segment, mac_address(mac));
    int result = -ENOENT;
    fdb_lock(fdb);
    struct fdb_entry *entry = fdb_find(fdb->table, key, fdb_hash(fdb->table, key));
    if (entry && entry->value & FDB_VALUE_STATIC) {
        entry_remove(fdb, entry, key, entry->value);
        result = 0;
    }
    fdb_unlock(fdb);
    return result;
}

/* One entry of a sweep, under the lock: 1 if it was removed (flushed; with `ageing` also if it is too old).
 */
static unsigned sweep_entry(struct fdb *fdb, struct fdb_entry *entry, uint32_t now_s, bool ageing)
{
    uint64_t key = entry->key, value = __atomic_load_n(&entry->value, __ATOMIC_RELAXED);
    uint32_t age = value_age(value, now_s), limit = fdb->segments[key_segment(key)].ageing_s;
    if (!key || value & FDB_VALUE_STATIC)
        return 0;
    if (!value_valid(fdb, key, value) || (ageing && limit && age > limit)) {
        entry_remove(fdb, entry, key, value);
        return 1;
    }
    if (age > FDB_AGE_MAX) {
        uint64_t kept = value_make(FDB_VALUE_TO(value), FDB_VALUE_GENERATION(value), now_s - FDB_AGE_MAX);
        __atomic_compare_exchange_n(&entry->value, &value, kept, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
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
                removed += sweep_entry(fdb, &bucket->entries[way], now_s, ageing);
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
    if (used * 2 > buckets * FDB_WAYS || __atomic_load_n(&fdb->grow_wanted, __ATOMIC_RELAXED)) {
        if (fdb_grow(fdb) == 0) /* without memory it stays as it is and is tried again */
            return;
    }
    uint64_t count = buckets / FDB_SWEEPS < FDB_BUCKETS_MIN ? FDB_BUCKETS_MIN : buckets / FDB_SWEEPS;
    if (used)
        sweep(fdb, fdb->sweep_position, count, now_s, true);
    fdb->sweep_position += count;
}

static bool key_matches(uint64_t key, uint64_t value, uint32_t segment, uint32_t port)
{
    return key && !(value & FDB_VALUE_STATIC) && (!segment || key_segment(key) == segment) &&
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
                struct fdb_entry *entry = &fdb->table->buckets[i].entries[way];
                uint64_t key = entry->key, value = __atomic_load_n(&entry->value, __ATOMIC_RELAXED);
                if (key_matches(key, value, segment, port)) {
                    entry_remove(fdb, entry, key, value);
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
        const struct fdb_entry *entry = &table->buckets[*cursor / FDB_WAYS].entries[*cursor % FDB_WAYS];
        uint64_t key = __atomic_load_n(&entry->key, __ATOMIC_ACQUIRE), value;
        if (!key || !fdb_value(entry, key, &value) || !value_valid(fdb, key, value))
            continue;
        struct dp_fdb_entry *out = &entries[filled++];
        memset(out, 0, sizeof(*out));
        out->segment = key_segment(key);
        memcpy(out->mac, &key, sizeof(out->mac));
        out->is_static = !!(value & FDB_VALUE_STATIC);
        out->port = FDB_VALUE_PORT(value);
        out->age_s = out->is_static ? 0 : value_age(value, now_s);
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
