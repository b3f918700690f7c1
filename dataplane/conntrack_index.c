/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The index of the session table: buckets of one cache line, 15 entries of 32 bits (8 of the hash, 24 of the
 * session's number) and a count of the entries that found no room.
 *
 * An entry goes to its home bucket, or to the next one that has room; each full bucket it passes counts it.
 * A reader goes on to the next bucket while that count is not zero, so that nearly always one line decides.
 * Readers need no lock; who changes it has the writer's (conntrack.c).
 *
 * An entry of the same session under another key may have the same value (1 in 256 of those in one bucket).
 * Such twins are as good as each other, whichever is removed first.
 */
#include "conntrack.h"

/* The first slot with that value gets the other. */
static inline bool bucket_swap(struct index_bucket *bucket, uint32_t from, uint32_t to)
{
    for (uint32_t matches = index_matches(bucket, from & ~SESSION_IDS_MASK); matches;
         matches &= matches - 1) {
        uint32_t *slot = &bucket->slots[__builtin_ctz(matches)];
        if (slot_load(slot) == from) {
            __atomic_store_n(slot, to, __ATOMIC_RELEASE);
            return true;
        }
    }
    return false;
}

static inline void overflow_add(struct index_bucket *bucket, int change)
{
    __atomic_store_n(&bucket->overflow, slot_load(&bucket->overflow) + (uint32_t)change, __ATOMIC_RELEASE);
}

bool index_insert(const struct index_table *table, uint64_t hash, uint32_t id)
{
    struct index_bucket *home = index_home(table, hash), *end = table->buckets + table->count + INDEX_TAIL;
    for (struct index_bucket *bucket = home; bucket < end; bucket++) {
        if (bucket_swap(bucket, 0, index_tag(hash) | id))
            return true;
        /* Before the entry is further on: who finds the entry's bucket must find the way there. */
        overflow_add(bucket, 1);
    }
    for (struct index_bucket *bucket = home; bucket < end; bucket++)
        overflow_add(bucket, -1);
    return false;
}

bool index_replace(const struct index_table *table, uint64_t hash, uint32_t id, uint32_t other)
{
    struct index_bucket *end = table->buckets + table->count + INDEX_TAIL;
    for (struct index_bucket *bucket = index_home(table, hash); bucket < end; bucket++) {
        if (bucket_swap(bucket, index_tag(hash) | id, other ? index_tag(hash) | other : 0))
            return true;
        if (!slot_load(&bucket->overflow))
            return false;
    }
    return false;
}

bool index_remove(const struct index_table *table, uint64_t hash, uint32_t id)
{
    struct index_bucket *end = table->buckets + table->count + INDEX_TAIL;
    struct index_bucket *home = index_home(table, hash), *bucket;
    for (bucket = home; bucket < end; bucket++) {
        if (bucket_swap(bucket, index_tag(hash) | id, 0))
            break;
        if (!slot_load(&bucket->overflow))
            return false;
    }
    if (bucket == end)
        return false;
    for (; home < bucket; home++)
        overflow_add(home, -1);
    return true;
}
