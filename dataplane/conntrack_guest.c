/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How many sessions an inside address has.
 *
 * Theory of operation. A guest is an inside address of an interface while it has sessions: 32 bytes and an
 * index entry, made with its first session and gone with its last. There is room for as many guests as for
 * sessions, so none can use up another's. Everything happens under the guest's stripe; an index probe may
 * look at guests of other stripes that change, and takes only one whose `interface`, which is 0 while it is
 * not whole, says the same before and after.
 */
#include "conntrack.h"

static inline uint32_t *guest_stripe(struct nat *nat, uint64_t hash)
{
    return &nat->guest_stripes[hash >> 8 & (GUEST_STRIPES - 1)].lock;
}

uint64_t guest_hash(const struct nat *nat, const uint64_t address[2], uint16_t interface)
{
    struct nat_key key = {{address[0], address[1]}, {0, 0}, key_meta(KEY_GUEST, 0, 0, interface, 0)};
    return nat_hash(nat, &key);
}

static bool guest_is(const struct guest *guest, const uint64_t address[2], uint16_t interface)
{
    return __atomic_load_n(&guest->interface, __ATOMIC_ACQUIRE) == interface &&
           __atomic_load_n(&guest->address[0], __ATOMIC_ACQUIRE) == address[0] &&
           __atomic_load_n(&guest->address[1], __ATOMIC_ACQUIRE) == address[1] &&
           __atomic_load_n(&guest->interface, __ATOMIC_RELAXED) == interface;
}

static uint32_t table_find(const struct nat *nat, const struct index_table *table, uint64_t hash,
                           const uint64_t address[2], uint16_t interface)
{
    for (const struct index_bucket *bucket = index_home(table, hash);; bucket++) {
        for (uint32_t matches = index_matches(bucket, index_tag(hash)); matches; matches &= matches - 1) {
            uint32_t id = __atomic_load_n(&bucket->slots[__builtin_ctz(matches)], __ATOMIC_ACQUIRE);
            id &= SESSION_IDS_MASK;
            if (id && guest_is(&nat->guests[id], address, interface))
                return id;
        }
        if (!__atomic_load_n(&bucket->overflow, __ATOMIC_ACQUIRE) ||
            bucket == table->buckets + table->count + INDEX_TAIL - 1)
            return 0;
    }
}

static uint32_t guest_new(struct nat *nat, const struct index_tables *tables, uint64_t hash,
                          const uint64_t address[2], uint16_t interface)
{
    struct pool *pool = &nat->guest_pool;
    spin_lock(&pool->lock);
    uint32_t id = pool->free;
    if (id)
        pool->free = nat->guests[id].next_free;
    else if (pool->fresh < pool->capacity)
        id = __atomic_fetch_add(&pool->fresh, 1, __ATOMIC_RELAXED);
    spin_unlock(&pool->lock);
    if (!id) {
        __atomic_store_n(&nat->grow_wanted, 1, __ATOMIC_RELAXED);
        return 0;
    }
    struct guest *guest = &nat->guests[id];
    __atomic_store_n(&guest->address[0], address[0], __ATOMIC_RELAXED);
    __atomic_store_n(&guest->address[1], address[1], __ATOMIC_RELAXED);
    guest->sessions = guest->inbound = 0;
    guest->epoch = tables->epoch;
    __atomic_store_n(&guest->interface, interface, __ATOMIC_RELEASE);
    if (index_insert(&tables->current, hash, id))
        return id;
    __atomic_store_n(&guest->interface, 0, __ATOMIC_RELEASE);
    spin_lock(&pool->lock);
    guest->next_free = pool->free;
    pool->free = id;
    spin_unlock(&pool->lock);
    return 0;
}

uint32_t guest_join(struct nat *nat, uint64_t hash, const uint64_t address[2], uint16_t interface,
                    uint32_t limit, bool inbound, enum dp_drop *drop)
{
    uint32_t *stripe = guest_stripe(nat, hash);
    spin_lock(stripe);
    const struct index_tables *tables = index_tables(&nat->guest_index);
    uint32_t id = table_find(nat, &tables->current, hash, address, interface);
    if (!id && tables->old.buckets)
        id = table_find(nat, &tables->old, hash, address, interface);
    if (!id)
        id = guest_new(nat, tables, hash, address, interface);
    if (!id) {
        *drop = DP_DROP_NAT_TABLE_FULL;
    } else if (limit && (nat->guests[id].sessions >= limit ||
                         (inbound && nat->guests[id].inbound >= inbound_part(limit)))) {
        *drop = DP_DROP_NAT_SESSION_LIMIT;
        id = 0;
    } else {
        nat->guests[id].sessions++;
        nat->guests[id].inbound += inbound;
    }
    spin_unlock(stripe);
    return id;
}

void guest_leave(struct nat *nat, uint32_t id, bool inbound)
{
    struct guest *guest = &nat->guests[id];
    uint64_t hash = guest_hash(nat, guest->address, guest->interface);
    uint32_t *stripe = guest_stripe(nat, hash);
    spin_lock(stripe);
    guest->inbound -= inbound;
    bool last = --guest->sessions == 0;
    if (last) {
        const struct index_tables *tables = index_tables(&nat->guest_index);
        index_remove(guest->epoch == tables->epoch ? &tables->current : &tables->old, hash, id);
        __atomic_store_n(&guest->interface, 0, __ATOMIC_RELEASE);
    }
    spin_unlock(stripe);
    if (!last)
        return;
    struct pool *pool = &nat->guest_pool;
    spin_lock(&pool->lock);
    guest->next_free = pool->free;
    pool->free = id;
    spin_unlock(&pool->lock);
}

/* control. The guest's entry to the index in use. */
bool guest_move(struct nat *nat, uint32_t id)
{
    struct guest *guest = &nat->guests[id];
    uint64_t address[2] = {__atomic_load_n(&guest->address[0], __ATOMIC_RELAXED),
                           __atomic_load_n(&guest->address[1], __ATOMIC_RELAXED)};
    uint16_t interface = __atomic_load_n(&guest->interface, __ATOMIC_ACQUIRE);
    uint64_t hash = guest_hash(nat, address, interface);
    uint32_t *stripe = guest_stripe(nat, hash);
    spin_lock(stripe);
    const struct index_tables *tables = index_tables(&nat->guest_index);
    /* Another guest has come into its place meanwhile: that one is in the right index. */
    bool moves = interface && guest->epoch != tables->epoch && guest_is(guest, address, interface);
    bool moved = moves && index_insert(&tables->current, hash, id);
    if (moved) {
        index_remove(&tables->old, hash, id);
        guest->epoch = tables->epoch;
    }
    spin_unlock(stripe);
    return moved || !moves;
}

void guest_barrier(struct nat *nat)
{
    for (unsigned i = 0; i < GUEST_STRIPES; i++) {
        spin_lock(&nat->guest_stripes[i].lock);
        spin_unlock(&nat->guest_stripes[i].lock);
    }
}
