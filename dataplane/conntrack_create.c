/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * New sessions.
 *
 * Theory of operation. Under the writer's lock, in this order: is it there already (another worker was
 * first); the tenant's limit; its share of the table; for sessions opened from outside three quarters of that
 * limit, and a quarter as long as they are not answered (what floods a forwarded port leaves the tenant the
 * rest for its own); the guest's limit, and three quarters of it likewise; memory; the mapping. What fails
 * undoes what came before it and has a name. Then the fields, the generation, and the index entries.
 */
#include "nat_private.h"

/* What has been taken for a session that is being made. */
struct claim {
    struct tenant_state *tenant;
    const struct hint *hint; /* NULL: none */
    uint64_t guest_hash;
    uint32_t guest, id;
    struct mapping mapping;
    uint64_t hashes[SESSION_ENTRIES];
};

static bool count_within(uint32_t *counter, uint32_t limit)
{
    if (limit && *counter >= limit)
        return false;
    writer_add(counter, 1);
    return true;
}

static void session_fill(const struct nat_context *context, const struct session_request *request,
                         const struct claim *claim)
{
    struct nat *nat = context->nat;
    struct session *session = &nat->sessions[claim->id];
    uint8_t state = PHASE_NEW | (request->inbound ? SESSION_INBOUND | SESSION_HALF_OPEN : 0) |
                    (request->pool ? SESSION_MAPPED : 0);
    uint64_t ports = request->inside_port | (uint64_t)request->remote_port << 16 |
                     (uint64_t)claim->mapping.port << 32 | (uint64_t)claim->mapping.address << 48;
    __atomic_store_n(&session->inside[0], request->inside[0], __ATOMIC_RELAXED);
    __atomic_store_n(&session->inside[1], request->inside[1], __ATOMIC_RELAXED);
    __atomic_store_n(&session->remote[0], request->remote[0], __ATOMIC_RELAXED);
    __atomic_store_n(&session->remote[1], request->remote[1], __ATOMIC_RELAXED);
    __atomic_store_n(&session->ports, ports, __ATOMIC_RELAXED);
    __atomic_store_n(&session->interface, (uint16_t)request->interface->port, __ATOMIC_RELAXED);
    __atomic_store_n(&session->protocol, request->protocol, __ATOMIC_RELAXED);
    __atomic_store_n(&session->state, state, __ATOMIC_RELAXED);
    __atomic_store_n(&session->last_seen, context->now_s, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < 2; i++) {
        __atomic_store_n(&session->packets_low[i], 0, __ATOMIC_RELAXED);
        __atomic_store_n(&session->packets_high[i], 0, __ATOMIC_RELAXED);
    }
    struct session_cold *cold = &nat->cold[claim->id];
    cold->guest = claim->guest;
    cold->flags = (request->pool ? SESSION_F_OWNS_PORT : 0) | (request->inbound ? SESSION_F_INBOUND : 0);
    cold->epoch = index_tables(&nat->index)->epoch;
    __atomic_store_n(&cold->tenant, request->interface->tenant, __ATOMIC_RELAXED);
    __atomic_store_n(&session->generation, session->generation + 1, __ATOMIC_RELEASE);
}

/* False: no room in the index; nothing is left in it. */
static bool session_enter(struct nat *nat, const struct session_request *request, const struct claim *claim)
{
    const struct index_table *table = session_table(nat, claim->id);
    if (!index_insert(table, claim->hashes[1], claim->id))
        return false;
    if (index_insert(table, claim->hashes[0], claim->id)) {
        if (!request->pool || mapping_join(nat, claim->id, &claim->mapping, claim->hashes[2]))
            return true;
        index_remove(table, claim->hashes[0], claim->id);
    }
    index_remove(table, claim->hashes[1], claim->id);
    return false;
}

/* The outside endpoint. False: no port. */
static bool claim_mapping(const struct nat_context *context, const struct session_request *request,
                          struct claim *claim)
{
    if (!request->pool) {
        claim->mapping = (struct mapping){0, request->address->id, request->translated_port};
        return true;
    }
    struct nat_key key = key_endpoint(request->inside, request->inside_port,
                                      (uint16_t)request->interface->port, request->protocol);
    if (mapping_find(context->nat, &key, claim->hashes[2], &claim->mapping))
        return true;
    if (request->inbound)
        return false; /* the mapping it was let in by is gone */
    claim->mapping = (struct mapping){0, request->pool->address->id,
                                      mapping_allocate(context, request->pool, request->interface->tenant,
                                                       request->protocol, claim->hashes[2])};
    if (claim->mapping.port)
        return true;
    writer_total_add(&request->pool->address->refused);
    return false;
}

static void claim_hashes(const struct nat *nat, const struct session_request *request,
                         const struct nat_key *outbound, struct claim *claim)
{
    uint16_t port = (uint16_t)request->interface->port;
    if (__builtin_expect(claim->hint != NULL, 1)) {
        claim->guest_hash = claim->hint->guest;
        claim->hashes[0] = claim->hint->hashes[0];
        claim->hashes[2] = claim->hint->hashes[2];
        return;
    }
    struct nat_key endpoint = key_endpoint(request->inside, request->inside_port, port, request->protocol);
    claim->guest_hash = guest_hash(nat, request->inside, port);
    claim->hashes[0] = nat_hash(nat, outbound);
    claim->hashes[2] = nat_hash(nat, &endpoint);
}

static uint64_t inbound_hash(const struct nat *nat, const struct session_request *request,
                             const struct claim *claim)
{
    const struct mapping *mapping = &claim->mapping;
    if (claim->hint && claim->hint->port == mapping->port && claim->hint->address == mapping->address)
        return claim->hint->hashes[1];
    struct nat_key key = key_inbound(mapping->address, mapping->port, request->remote, request->remote_port,
                                     request->protocol);
    return nat_hash(nat, &key);
}

static enum dp_drop create_claimed(const struct nat_context *context, const struct session_request *request,
                                   struct claim *claim)
{
    struct nat *nat = context->nat;
    struct wheel *wheel = &nat->wheels[context->worker];
    if (!claim_mapping(context, request, claim))
        return request->inbound ? DP_DROP_NAT_NO_SESSION : DP_DROP_NAT_NO_PORT;
    claim->id = conntrack_take(nat);
    if (claim->id) {
        struct session *session = &nat->sessions[claim->id];
        session_fill(context, request, claim);
        claim->hashes[1] = inbound_hash(nat, request, claim);
        if (session_enter(nat, request, claim)) {
            writer_add(&nat->addresses[claim->mapping.address]->sessions, 1);
            writer_total_add(&claim->tenant->created);
            wheel_add_new(nat, wheel, claim->id, context->now_s);
            nat->creator = context->worker + 1;
            return DP_DROP_COUNT;
        }
        __atomic_store_n(&session->generation, session->generation + 1, __ATOMIC_RELEASE);
        conntrack_give(nat, claim->id);
    }
    if (request->pool && !claim->mapping.head)
        mapping_release(nat, claim->mapping.address, request->interface->tenant, request->protocol,
                        claim->mapping.port);
    return DP_DROP_NAT_TABLE_FULL;
}

/* Of the memory that is there: also while the table grows, a tenant that floods it leaves the others theirs.
 */
static bool table_share(const struct nat_context *context, const struct tenant_state *tenant)
{
    struct nat *nat = context->nat;
    if (context->config->tenant_count < 2)
        return true;
    uint32_t fresh = __atomic_load_n(&nat->session_pool.fresh, __ATOMIC_RELAXED);
    uint32_t free = __atomic_load_n(&nat->session_pool.free, __ATOMIC_RELAXED);
    uint32_t capacity = __atomic_load_n(&nat->session_pool.capacity, __ATOMIC_RELAXED);
    uint32_t own = __atomic_load_n(&tenant->sessions, __ATOMIC_RELAXED);
    if (__builtin_expect(share_allows(own - 1, fresh - free, capacity, context->config->tenant_count), 1))
        return true;
    __atomic_store_n(&nat->grow_wanted, 1, __ATOMIC_RELAXED);
    return false;
}

static enum dp_drop create_locked(const struct nat_context *context, const struct session_request *request,
                                  struct claim *claim, struct session_view *view)
{
    struct nat *nat = context->nat;
    const struct nat_interface *interface = request->interface;
    enum dp_drop drop = DP_DROP_NAT_SESSION_LIMIT;

    if (!count_within(&claim->tenant->sessions, interface->session_limit))
        return drop;
    if (!table_share(context, claim->tenant)) {
        drop = DP_DROP_NAT_TABLE_FULL;
        goto no_session;
    }
    if (request->inbound && !count_within(&claim->tenant->inbound, interface->inbound_limit))
        goto no_session;
    if (request->inbound && !count_within(&claim->tenant->half_open, interface->half_open_limit))
        goto no_inbound;
    claim->guest =
        guest_join(context, claim->guest_hash, request->inside, interface, request->inbound, &drop);
    if (!claim->guest)
        goto no_half_open;
    drop = create_claimed(context, request, claim);
    if (drop == DP_DROP_COUNT) {
        conntrack_read(nat, claim->id, view);
        return drop;
    }
    guest_leave(nat, claim->guest, request->inbound);
no_half_open:
    if (request->inbound)
        writer_add(&claim->tenant->half_open, -1);
no_inbound:
    if (request->inbound)
        writer_add(&claim->tenant->inbound, -1);
no_session:
    writer_add(&claim->tenant->sessions, -1);
    return drop;
}

/* Is it there already? Who did not find it a moment ago, and whose own session was the last that anybody
 * made, need not look again. */
static bool find_again(const struct nat_context *context, const struct session_request *request,
                       const struct nat_key *outbound, uint64_t hash, struct session_view *view)
{
    const struct nat *nat = context->nat;
    if (request->missing && nat->creator == context->worker + 1)
        return false;
    return conntrack_find(nat, outbound, hash, view);
}

enum dp_drop conntrack_create(const struct nat_context *context, const struct session_request *request,
                              struct session_view *view)
{
    struct nat *nat = context->nat;
    uint16_t port = (uint16_t)request->interface->port;
    struct nat_key outbound = key_outbound(request->inside, request->inside_port, request->remote,
                                           request->remote_port, port, request->protocol);
    struct claim claim = {.tenant = &nat->tenants[request->interface->tenant]};
    enum dp_drop drop = DP_DROP_COUNT;

    if (!request->inbound)
        claim.hint = conntrack_hint(&nat->wheels[context->worker].hints, &outbound, request->hash);
    claim_hashes(nat, request, &outbound, &claim);
    spin_lock(&nat->writer);
    if (!find_again(context, request, &outbound, claim.hashes[0], view))
        drop = create_locked(context, request, &claim, view);
    else if (request->inbound && (ports_translated(view->ports) != request->translated_port ||
                                  ports_address(view->ports) != request->address->id))
        drop = DP_DROP_NAT_STATE; /* the same two ends by way of another outside endpoint */
    spin_unlock(&nat->writer);
    if (drop != DP_DROP_COUNT && drop != DP_DROP_NAT_STATE)
        total_add(&claim.tenant->refused);
    return drop;
}
