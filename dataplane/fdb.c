/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The address table.
 *
 * Theory of operation. A hash table of four keys and four values to a bucket of one cache line. An address
 * may be in either of two buckets; it goes to the first unless that is full. If both are full an entry of the
 * first moves to its own other bucket, for which up to two more may have to move. The table starts small and
 * the control thread replaces it by a larger copy when it is half full, so memory grows with the addresses
 * and a small switch stays within its cache.
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
#include "fdb_private.h"

#define FDB_MOVES 2u /* entries that move on for one that comes, beside the first */

/* Makes room in `bucket` by moving one of its entries to that entry's other bucket, where that takes up to
 * `depth` further moves. With two, no address was refused in 100 fillings to one half. */
static struct fdb_slot table_displace(struct fdb_table *table, struct fdb_bucket *bucket, unsigned depth)
{
    for (unsigned i = 0; i < FDB_WAYS; i++) {
        struct fdb_slot slot = fdb_slot(bucket, i);
        uint64_t hash = fdb_hash(table, *slot.key);
        struct fdb_bucket *other = fdb_first(table, hash);
        if (other == bucket)
            other = fdb_second(table, hash);
        struct fdb_slot room = fdb_find_in(other, 0);
        if (!room.key && depth)
            room = table_displace(table, other, depth - 1);
        if (!room.key)
            continue;
        fdb_slot_fill(room, *slot.key, __atomic_load_n(slot.value, __ATOMIC_RELAXED));
        fdb_slot_clear(slot);
        return slot;
    }
    return (struct fdb_slot){NULL, NULL};
}

/* Under the lock (or on a table nobody sees yet). The key is not there. False: no room. */
bool fdb_insert(struct fdb_table *table, uint64_t key, uint64_t value)
{
    uint64_t hash = fdb_hash(table, key);
    struct fdb_slot slot = fdb_find_in(fdb_first(table, hash), 0);
    if (!slot.key)
        slot = fdb_find_in(fdb_second(table, hash), 0);
    if (!slot.key)
        slot = table_displace(table, fdb_first(table, hash), FDB_MOVES);
    if (!slot.key)
        slot = table_displace(table, fdb_second(table, hash), FDB_MOVES);
    if (!slot.key)
        return false;
    fdb_slot_fill(slot, key, value);
    return true;
}

/* Under the lock. A station moved, or its entry was flushed. */
static enum fdb_learned learn_move(struct fdb *fdb, struct fdb_slot slot, uint64_t key, uint64_t fresh,
                                   const struct fdb_source *source)
{
    uint64_t old = __atomic_load_n(slot.value, __ATOMIC_RELAXED);
    uint32_t from = FDB_VALUE_PORT(old), to = FDB_VALUE_PORT(fresh);
    if (old & FDB_VALUE_STATIC)
        return from == to ? FDB_LEARNED : FDB_PROTECTED;
    if (from != to) {
        if (fdb_owner_full(&fdb->ports[to], source->port_limit))
            return FDB_LIMIT;
        fdb_owner_count(&fdb->ports[from], -1);
        fdb_owner_count(&fdb->ports[to], 1);
    }
    __atomic_store_n(slot.value, fresh, __ATOMIC_RELEASE);
    return FDB_LEARNED;
}

/* Under the lock. */
static enum fdb_learned learn_new(struct fdb *fdb, struct fdb_table *table, uint64_t key, uint64_t fresh)
{
    if (fdb->used >= fdb->addresses_max)
        return FDB_LIMIT;
    if (!fdb_insert(table, key, fresh)) {
        __atomic_store_n(&fdb->grow_wanted, 1, __ATOMIC_RELAXED);
        return FDB_LEARNED; /* flooded until the table has grown */
    }
    fdb->used++;
    fdb_learned_count(fdb, key, fresh, 1);
    return FDB_LEARNED;
}

enum fdb_learned fdb_learn_slow(struct fdb *fdb, const struct fdb_table *table, uint64_t key, uint64_t hash,
                                const struct fdb_source *source)
{
    uint32_t segment = fdb_key_segment(key), port = source->to & 0xfffu;
    uint64_t fresh = fdb_source_value(fdb, segment, source->to, source->now_s), value;
    struct fdb_slot slot = fdb_find(table, key, hash);

    if (slot.key && fdb_value(slot, key, &value)) {
        if (value == fresh)
            return FDB_LEARNED;
        if (value & FDB_VALUE_STATIC)
            return FDB_VALUE_PORT(value) == port ? FDB_LEARNED : FDB_PROTECTED;
        if (FDB_VALUE_TO(value) == source->to && fdb_value_valid(fdb, fdb_key_segment(key), value)) {
            if (fdb_value_age(value, source->now_s))
                __atomic_compare_exchange_n(slot.value, &value, fresh, false, __ATOMIC_RELEASE,
                                            __ATOMIC_RELAXED);
            return FDB_LEARNED;
        }
    } else if (fdb_owner_full(&fdb->segments[segment], source->segment_limit) ||
               fdb_owner_full(&fdb->ports[port], source->port_limit)) {
        return FDB_LIMIT;
    } else if (__atomic_load_n(&fdb->grow_wanted, __ATOMIC_RELAXED)) {
        return FDB_LEARNED; /* no use looking for room before the table has grown */
    }

    if (!fdb_trylock(fdb))
        return FDB_LEARNED;
    struct fdb_table *current = __atomic_load_n(&fdb->table, __ATOMIC_ACQUIRE);
    hash = fdb_hash(current, key);
    slot = fdb_find(current, key, hash);
    enum fdb_learned learned;
    if (slot.key)
        learned = learn_move(fdb, slot, key, fresh, source);
    else if (fdb_owner_full(&fdb->segments[segment], source->segment_limit) ||
             fdb_owner_full(&fdb->ports[port], source->port_limit))
        learned = FDB_LIMIT;
    else
        learned = learn_new(fdb, current, key, fresh);
    fdb_unlock(fdb);
    return learned;
}
