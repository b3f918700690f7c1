/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* What fdb.c (workers) and fdb_control.c (control thread) share of the address table. Nobody else includes
 * this. */
#include "fdb.h"

static inline bool fdb_trylock(struct fdb *fdb)
{
    return !__atomic_load_n(&fdb->lock, __ATOMIC_RELAXED) &&
           !__atomic_exchange_n(&fdb->lock, 1, __ATOMIC_ACQUIRE);
}

static inline void fdb_lock(struct fdb *fdb)
{
    while (!fdb_trylock(fdb))
        __builtin_ia32_pause();
}

static inline void fdb_unlock(struct fdb *fdb)
{
    __atomic_store_n(&fdb->lock, 0, __ATOMIC_RELEASE);
}

static inline uint32_t fdb_key_segment(uint64_t key)
{
    return (uint32_t)(key >> 48);
}

static inline uint64_t fdb_value_make(uint32_t to, uint32_t generation, uint32_t now_s)
{
    return (uint64_t)to | (uint64_t)generation << 25 |
           (uint64_t)(now_s & FDB_SEEN_MASK) << FDB_VALUE_SEEN_SHIFT;
}

/* Workers' and control's clocks may differ by a moment: an entry from the future is 0 seconds old. */
static inline uint32_t fdb_value_age(uint64_t value, uint32_t now_s)
{
    uint32_t age = (now_s - FDB_VALUE_SEEN(value)) & FDB_SEEN_MASK;
    return age > FDB_SEEN_MASK / 2 ? 0 : age;
}

static inline void fdb_slot_fill(struct fdb_slot slot, uint64_t key, uint64_t value)
{
    __atomic_store_n(slot.value, value, __ATOMIC_RELEASE);
    __atomic_store_n(slot.key, key, __ATOMIC_RELEASE);
}

static inline void fdb_slot_clear(struct fdb_slot slot)
{
    __atomic_store_n(slot.key, 0, __ATOMIC_RELEASE);
}

/* Counts of owners, under the lock */

static inline void fdb_owner_count(struct fdb_owner *owner, int change)
{
    __atomic_store_n(&owner->learned, owner->learned + (uint32_t)change, __ATOMIC_RELAXED);
}

static inline void fdb_learned_count(struct fdb *fdb, uint64_t key, uint64_t value, int change)
{
    fdb_owner_count(&fdb->segments[fdb_key_segment(key)], change);
    fdb_owner_count(&fdb->ports[FDB_VALUE_PORT(value)], change);
}

static inline bool fdb_owner_full(const struct fdb_owner *owner, uint32_t limit)
{
    return limit && __atomic_load_n(&owner->learned, __ATOMIC_RELAXED) >= limit;
}

/* Under the lock (or on a table nobody sees yet). The key is not there. False: no room. */
bool fdb_insert(struct fdb_table *table, uint64_t key, uint64_t value);
