/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How many sessions an inside address has.
 *
 * Theory of operation. A guest is an inside address of an interface while it has sessions: 32 bytes and an
 * index entry, made with its first session and gone with its last. There may be as many guests as sessions.
 * While there is not memory for so many yet, tenants share what there is as they share that of sessions
 * (share_allows), so none can use up another's. All of it is the writer's alone.
 */
#include "nat_private.h"

uint64_t guest_hash(const struct nat *nat, const uint64_t address[2], uint16_t interface)
{
    struct nat_key key = {{address[0], address[1]}, {0, 0}, key_meta(KEY_GUEST, 0, 0, interface, 0)};
    return nat_hash(nat, &key);
}

static bool guest_is(const struct guest *guest, const uint64_t address[2], uint16_t interface)
{
    return guest->interface == interface && guest->address[0] == address[0] &&
           guest->address[1] == address[1];
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

static void guest_free(struct nat *nat, uint32_t id)
{
    struct guest *guest = &nat->guests[id];
    guest->interface = 0;
    guest->next_free = nat->guest_pool.free;
    nat->guest_pool.free = id;
    nat->guest_pool.used--;
}

/* Is there room for one more of the tenant? It has no more guests than sessions. */
static bool guest_share(const struct nat_context *context, uint16_t tenant)
{
    const struct nat *nat = context->nat;
    const struct pool *pool = &nat->guest_pool;
    return share_allows(nat->tenants[tenant].sessions - 1, pool->used, pool->capacity,
                        context->config->tenant_count);
}

static uint32_t guest_new(struct nat *nat, const struct index_tables *tables, uint64_t hash,
                          const uint64_t address[2], uint16_t interface, bool allowed)
{
    struct pool *pool = &nat->guest_pool;
    uint32_t id = allowed ? pool->free : 0;
    if (id) {
        pool->free = nat->guests[id].next_free;
    } else if (allowed && pool->fresh < pool->capacity) {
        id = pool->fresh;
        writer_add(&pool->fresh, 1);
    } else {
        __atomic_store_n(&nat->grow_wanted, 1, __ATOMIC_RELAXED);
        return 0;
    }
    pool->used++;
    nat->guests[id] =
        (struct guest){.address = {address[0], address[1]}, .interface = interface, .epoch = tables->epoch};
    if (index_insert(&tables->current, hash, id))
        return id;
    guest_free(nat, id);
    return 0;
}

uint32_t guest_join(const struct nat_context *context, uint64_t hash, const uint64_t address[2],
                    const struct nat_interface *interface, bool inbound, enum dp_drop *drop)
{
    struct nat *nat = context->nat;
    const struct index_tables *tables = index_tables(&nat->guest_index);
    uint16_t port = (uint16_t)interface->port;
    uint32_t limit = interface->guest_session_limit;
    uint32_t id = table_find(nat, &tables->current, hash, address, port);
    if (!id && tables->old.buckets)
        id = table_find(nat, &tables->old, hash, address, port);
    if (!id)
        id = guest_new(nat, tables, hash, address, port, guest_share(context, interface->tenant));
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
    return id;
}

void guest_leave(struct nat *nat, uint32_t id, bool inbound)
{
    struct guest *guest = &nat->guests[id];
    guest->inbound -= inbound;
    if (--guest->sessions)
        return;
    const struct index_tables *tables = index_tables(&nat->guest_index);
    uint64_t hash = guest_hash(nat, guest->address, guest->interface);
    index_remove(guest->epoch == tables->epoch ? &tables->current : &tables->old, hash, id);
    guest_free(nat, id);
}

bool guest_move(struct nat *nat, uint32_t id)
{
    struct guest *guest = &nat->guests[id];
    const struct index_tables *tables = index_tables(&nat->guest_index);
    if (!guest->interface || guest->epoch == tables->epoch)
        return true;
    uint64_t hash = guest_hash(nat, guest->address, guest->interface);
    if (!index_insert(&tables->current, hash, id))
        return false;
    index_remove(&tables->old, hash, id);
    guest->epoch = tables->epoch;
    return true;
}
