/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control thread's side of address translation: life of the table, a changed configuration, what is
 * shown.
 *
 * Threads: control. Sessions are read as workers read them, and ended under the writer's lock.
 */
#include "nat_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EXPIRED_STRIPES 8u /* of fragments, a call */

struct nat *nat_new(uint32_t sessions, uint32_t first, void (*quiesce)(void))
{
    if (sessions == 0 || sessions >= NAT_SESSIONS_MAX - SESSIONS_CHUNK) {
        errno = EINVAL;
        return NULL;
    }
    struct nat *nat = conntrack_map(sizeof(*nat));
    if (!nat)
        return NULL;
    nat->quiesce = quiesce;
    nat->first = first;
    nat->address_count = 1;
    nat->addresses = conntrack_map(ADDRESSES_MAX * sizeof(struct nat_address *));
    nat->tenants = conntrack_map(TENANTS_MAX * sizeof(*nat->tenants));
    if (!nat->addresses || !nat->tenants || conntrack_new(nat, sessions) < 0) {
        nat_free(nat);
        errno = ENOMEM;
        return NULL;
    }
    return nat;
}

void nat_free(struct nat *nat)
{
    if (!nat)
        return;
    for (uint32_t i = 1; i < nat->address_count; i++)
        if (nat->addresses[i])
            nat_address_free(nat, nat->addresses[i]);
    conntrack_free(nat);
    fragments_free(nat);
    conntrack_unmap(nat->addresses, ADDRESSES_MAX * sizeof(struct nat_address *));
    conntrack_unmap(nat->tenants, TENANTS_MAX * sizeof(*nat->tenants));
    conntrack_unmap(nat, sizeof(*nat));
}

void nat_maintain(struct nat *nat, uint32_t now_s)
{
    conntrack_grow(nat);
    conntrack_turn_late(nat, now_s);
    fragments_expire(nat, now_s, EXPIRED_STRIPES);
}

/* Is the outside endpoint still this guest's? */
static bool view_allowed(const struct nat *nat, const struct nat_config *config,
                         const struct session_view *view, uint8_t protocol)
{
    const struct nat_interface *interface = config->interfaces[view->interface];
    const struct nat_address *state = nat->addresses[ports_address(view->ports)];
    uint16_t port = __builtin_bswap16(ports_translated(view->ports));
    if (!interface || interface->tenant != __atomic_load_n(&nat->cold[view->id].tenant, __ATOMIC_RELAXED) ||
        !state)
        return false;
    if (view->state & SESSION_MAPPED) {
        unsigned kind = nat_protocol_of(protocol), family = !address_is_ipv4(view->inside);
        for (unsigned i = 0; i < interface->pool_count[family]; i++)
            if (interface->pools[family][i].address == state)
                return !(interface->pools[family][i].blocked[kind][port / 64] >> (port & 63) & 1);
        return false;
    }
    const struct nat_config_address *address = nat_config_find(config, state->outside, state->address);
    if (!address)
        return false;
    const struct nat_forward *forward = nat_config_forward(address, protocol, port);
    if (forward)
        return forward->interface == interface && address_equal(forward->inside, view->inside) &&
               forward->to_first + (port - forward->first) == __builtin_bswap16(ports_inside(view->ports));
    return address->one_to_one && address->one_to_one->interface == interface &&
           address_equal(address->one_to_one->inside, view->inside);
}

static uint32_t ids_end(const struct nat *nat)
{
    return __atomic_load_n(&nat->session_pool.fresh, __ATOMIC_RELAXED);
}

/* Mappings made before the address had a table of heads: under the lock, or a later one might be
 * overwritten. */
static void set_head(struct nat *nat, const struct session_view *view)
{
    spin_lock(&nat->writer);
    if (nat->sessions[view->id].generation == view->generation && nat->cold[view->id].flags & SESSION_F_HEAD)
        mapping_set_head(nat, &nat->sessions[view->id], view->id);
    spin_unlock(&nat->writer);
}

void nat_config_changed(struct nat *nat, const struct nat_config *config)
{
    for (uint32_t id = 1; id < ids_end(nat); id++) {
        struct session_view view;
        uint8_t protocol = __atomic_load_n(&nat->sessions[id].protocol, __ATOMIC_RELAXED);
        if (!conntrack_read(nat, id, &view))
            continue;
        if (!view_allowed(nat, config, &view, protocol))
            conntrack_end(nat, id, view.generation, false, 0);
        else if (view.state & SESSION_MAPPED)
            set_head(nat, &view);
    }
    nat_config_collect(nat, config);
}

static enum dp_session_state shown_state(uint8_t state)
{
    switch (state & SESSION_PHASE) {
    case PHASE_ESTABLISHED:
        return DP_SESSION_ESTABLISHED;
    case PHASE_FIN_OUT:
    case PHASE_FIN_IN:
        return DP_SESSION_CLOSING;
    case PHASE_CLOSED:
    case PHASE_RESET:
        return DP_SESSION_CLOSED;
    default:
        return DP_SESSION_NEW;
    }
}

static uint64_t packets_of(const struct session *session, unsigned direction)
{
    return __atomic_load_n(&session->packets_low[direction], __ATOMIC_RELAXED) |
           (uint64_t)__atomic_load_n(&session->packets_high[direction], __ATOMIC_RELAXED) << 32;
}

/* False: it ended meanwhile. */
static bool session_show(const struct nat *nat, uint32_t id, uint32_t now_s, struct dp_session *out)
{
    const struct session *session = &nat->sessions[id];
    struct session_view view;
    uint64_t remote[2];
    memset(out, 0, sizeof(*out));
    if (!conntrack_read(nat, id, &view))
        return false;
    /* Between two readings of the same generation: all of one session. */
    uint8_t protocol = __atomic_load_n(&session->protocol, __ATOMIC_RELAXED);
    uint32_t seen = __atomic_load_n(&session->last_seen, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < 2; i++)
        remote[i] = __atomic_load_n(&session->remote[i], __ATOMIC_RELAXED);
    uint32_t idle = (int32_t)(now_s - seen) < 0 ? 0 : now_s - seen;
    uint32_t timeout = session_timeout(protocol, view.state);
    const struct nat_address *address = nat->addresses[ports_address(view.ports)];
    *out = (struct dp_session){
        .router = nat->tenants[__atomic_load_n(&nat->cold[id].tenant, __ATOMIC_RELAXED)].id,
        .port = view.interface,
        .protocol = protocol,
        .state = (uint8_t)shown_state(view.state),
        .inbound = !!(view.state & SESSION_INBOUND),
        .inside_port = __builtin_bswap16(ports_inside(view.ports)),
        .translated_port = __builtin_bswap16(ports_translated(view.ports)),
        .remote_port = __builtin_bswap16(ports_remote(view.ports)),
        .age_s = idle,
        .expires_s = idle > timeout ? 0 : timeout - idle,
        .packets_out = packets_of(session, 0),
        .packets_in = packets_of(session, 1),
    };
    memcpy(out->inside, view.inside, 16);
    memcpy(out->remote, remote, 16);
    if (address) {
        out->outside = address->outside;
        memcpy(out->translated, address->address, 16);
    }
    struct session_view after;
    return conntrack_read(nat, id, &after) && after.generation == view.generation;
}

unsigned nat_sessions(const struct nat *nat, uint64_t *cursor, uint32_t now_s, struct dp_session *sessions,
                      unsigned count)
{
    unsigned filled = 0;
    if (*cursor == 0)
        *cursor = 1;
    for (; *cursor < ids_end(nat) && filled < count; ++*cursor)
        if (session_show(nat, (uint32_t)*cursor, now_s, &sessions[filled]))
            filled++;
    return filled;
}

void nat_router_state(const struct nat *nat, uint32_t router, struct dp_router_state *state)
{
    memset(state, 0, sizeof(*state));
    state->id = router;
    for (unsigned i = 1; i < TENANTS_MAX; i++) {
        const struct tenant_state *tenant = &nat->tenants[i];
        if (!tenant->used || tenant->id != router)
            continue;
        state->sessions = __atomic_load_n(&tenant->sessions, __ATOMIC_RELAXED);
        state->sessions_created = __atomic_load_n(&tenant->created, __ATOMIC_RELAXED);
        state->sessions_refused = __atomic_load_n(&tenant->refused, __ATOMIC_RELAXED);
        state->mappings = __atomic_load_n(&tenant->mappings, __ATOMIC_RELAXED);
        state->fragments = __atomic_load_n(&tenant->fragments, __ATOMIC_RELAXED);
        return;
    }
}

void nat_address_state(const struct nat *nat, const struct dp_nat_address *address,
                       struct dp_nat_address_state *state)
{
    memset(state, 0, sizeof(*state));
    state->port = address->port;
    memcpy(state->address, address->address, 16);
    if (address->port_first <= address->port_last)
        state->ports = address->port_last - address->port_first + 1u - (address->port_first == 0);
    for (uint32_t i = 1; i < nat->address_count; i++) {
        const struct nat_address *known = nat->addresses[i];
        if (!known || known->outside != address->port || memcmp(known->address, address->address, 16) != 0)
            continue;
        state->tcp_used = __atomic_load_n(&known->used[NAT_TCP], __ATOMIC_RELAXED);
        state->udp_used = __atomic_load_n(&known->used[NAT_UDP], __ATOMIC_RELAXED);
        state->icmp_used = __atomic_load_n(&known->used[NAT_ICMP], __ATOMIC_RELAXED);
        state->refused = __atomic_load_n(&known->refused, __ATOMIC_RELAXED);
        return;
    }
}
