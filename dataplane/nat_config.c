/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Address translation's configuration as workers read it, compiled from objects. Control thread; what
 * workers look up is in nat_lookup.c.
 *
 * Theory of operation. A configuration is part of a snapshot and immutable. What outlives it (sessions and
 * counters of a tenant, port bitmaps of an address) is state of struct nat, found by tenant number or by
 * interface and address, and kept while configured or in use. Two configurations are alive at a commit; the
 * state that only the old one knew goes in nat_config_changed, when nobody uses that one any more.
 */
#include "nat_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "objects.h"

#define PORTS       65536u
#define TUNNEL_PORT 4789u /* VXLAN, RFC 7348, 5: no guest speaks as the tunnel endpoint */

static void address_load(uint64_t to[2], const uint8_t from[16])
{
    memcpy(to, from, 16);
}

/* The tenant's slot; 0: none is free. */
static uint16_t tenant_slot(struct nat *nat, uint32_t router)
{
    uint16_t unused = 0;
    for (uint16_t i = TENANTS_MAX - 1; i; i--) {
        if (nat->tenants[i].used && nat->tenants[i].id == router)
            return i;
        if (!nat->tenants[i].used)
            unused = i;
    }
    if (unused) {
        struct tenant_state *tenant = &nat->tenants[unused];
        *tenant = (struct tenant_state){.id = router, .used = 1};
    }
    return unused;
}

void nat_address_free(struct nat *nat, struct nat_address *address)
{
    for (unsigned i = 0; i < NAT_PROTOCOLS; i++) {
        free(address->bitmap[i]);
        free(address->used_by[i]);
        conntrack_unmap(address->heads[i], PORTS * sizeof(uint32_t));
    }
    nat->addresses[address->id] = NULL;
    free(address);
}

/* Addresses are few and this is rare: a walk. */
static struct nat_address *address_state(struct nat *nat, uint32_t outside, const uint64_t address[2])
{
    uint32_t unused = 0;
    for (uint32_t i = 1; i < nat->address_count; i++) {
        struct nat_address *state = nat->addresses[i];
        if (state && state->outside == outside && memcmp(state->address, address, 16) == 0)
            return state;
        if (!state && !unused)
            unused = i;
    }
    if (!unused && nat->address_count == ADDRESSES_MAX)
        return NULL;
    struct nat_address *state = aligned_alloc(64, sizeof(*state));
    if (!state)
        return NULL;
    *state = (struct nat_address){.address = {address[0], address[1]}, .outside = outside};
    state->id = (uint16_t)(unused ? unused : nat->address_count++);
    nat->addresses[state->id] = state;
    return state;
}

static struct nat_config_address *address_add(struct nat *nat, struct nat_config *config, uint32_t outside,
                                              const uint8_t bytes[16])
{
    uint64_t address[2];
    address_load(address, bytes);
    struct nat_config_address *slot = nat_config_slot(config, outside, address);
    if (slot->outside)
        return slot;
    struct nat_address *state = address_state(nat, outside, address);
    if (!state)
        return NULL;
    state->configured = true;
    *slot =
        (struct nat_config_address){.outside = outside, .address = {address[0], address[1]}, .state = state};
    return slot;
}

static struct nat_interface *interface_of(const struct nat_config *config, uint32_t port)
{
    return port < DP_PORTS_MAX ? config->interfaces[port] : NULL;
}

static int add_interfaces(struct nat *nat, struct nat_config *config, const struct objects *objects)
{
    for (size_t i = 0; i < objects_count(objects, DP_KIND_INTERFACE); i++) {
        const struct dp_interface *object = objects_at(objects, DP_KIND_INTERFACE, i);
        if (object->router == 0 || object->port >= DP_PORTS_MAX)
            continue;
        struct nat_interface *interface = calloc(1, sizeof(*interface));
        if (!interface)
            return -ENOMEM;
        config->interfaces[object->port] = interface;
        interface->port = object->port;
        interface->router = object->router;
        interface->tenant = tenant_slot(nat, object->router);
        if (!interface->tenant)
            return -ENOMEM;
        const struct dp_router key = {.id = object->router};
        const struct dp_router *router = objects_find(objects, DP_KIND_ROUTER, &key);
        if (router) {
            interface->session_limit = router->session_limit;
            interface->guest_session_limit = router->guest_session_limit;
        }
        uint32_t sessions = interface->session_limit ? interface->session_limit : nat->session_pool.limit;
        interface->half_open_limit = sessions / 4 ? sessions / 4 : 1;
        interface->inbound_limit = inbound_part(sessions);
    }
    return 0;
}

static void block(uint64_t *blocked, uint32_t first, uint32_t last)
{
    for (uint32_t word = first / 64; word < PORT_WORDS && word * 64 <= last; word++) {
        uint64_t from = word == first / 64 ? UINT64_MAX << (first & 63) : UINT64_MAX;
        uint64_t to = word == last / 64 ? UINT64_MAX >> (63 - (last & 63)) : UINT64_MAX;
        blocked[word] |= from & to;
    }
}

static int add_addresses(struct nat *nat, struct nat_config *config, const struct objects *objects)
{
    for (size_t i = 0; i < objects_count(objects, DP_KIND_NAT_ADDRESS); i++) {
        const struct dp_nat_address *object = objects_at(objects, DP_KIND_NAT_ADDRESS, i);
        struct nat_config_address *address = address_add(nat, config, object->port, object->address);
        if (!address)
            return -ENOMEM;
        address->answer = object->flags & DP_NAT_F_ANSWER;
        address->translates = object->port_first <= object->port_last;
        address->port_first = object->port_first;
        address->port_last = object->port_last;
        for (unsigned kind = 0; kind < NAT_PROTOCOLS; kind++) {
            address->blocked[kind] = calloc(PORT_WORDS, sizeof(uint64_t));
            if (!address->blocked[kind])
                return -ENOMEM;
            block(address->blocked[kind], 0, object->port_first ? object->port_first - 1u : 0);
            block(address->blocked[kind], object->port_last + 1u, PORTS - 1);
            if (!address->state->bitmap[kind])
                address->state->bitmap[kind] = calloc(PORT_WORDS, sizeof(uint64_t));
            if (!address->state->used_by[kind])
                address->state->used_by[kind] = calloc(PORT_SHARERS, sizeof(uint32_t));
            if (!address->state->bitmap[kind] || !address->state->used_by[kind])
                return -ENOMEM;
        }
        block(address->blocked[NAT_UDP], TUNNEL_PORT, TUNNEL_PORT);
    }
    return 0;
}

static int compare_inside(const void *a, const void *b)
{
    const struct nat_one_to_one *const *x = a, *const *y = b;
    return memcmp((*x)->inside, (*y)->inside, 16);
}

/* What an object joins: an outside address (NULL: no memory) and a tenant's interface (NULL: it is none). */
struct joint {
    struct nat_config_address *address;
    struct nat_interface *interface;
};

static struct joint join(struct nat *nat, struct nat_config *config, uint32_t outside,
                         const uint8_t address[16], uint32_t port)
{
    return (struct joint){address_add(nat, config, outside, address), interface_of(config, port)};
}

/* An array of pointers with one more at its end; NULL: no memory, it is as it was. */
static void *append(void *array, unsigned *count, const void *pointer)
{
    uint8_t *more = reallocarray(array, *count + 1u, sizeof(pointer));
    if (more)
        memcpy(more + (*count)++ * sizeof(pointer), &pointer, sizeof(pointer));
    return more;
}

static int add_one_to_ones(struct nat *nat, struct nat_config *config, const struct objects *objects)
{
    size_t count = objects_count(objects, DP_KIND_NAT_ONE_TO_ONE);
    config->one_to_ones = calloc(count + 1, sizeof(*config->one_to_ones));
    if (!config->one_to_ones)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        const struct dp_nat_one_to_one *object = objects_at(objects, DP_KIND_NAT_ONE_TO_ONE, i);
        struct joint joint = join(nat, config, object->outside, object->address, object->port);
        struct nat_one_to_one *one = &config->one_to_ones[i];
        if (!joint.address)
            return -ENOMEM;
        if (!joint.interface)
            continue;
        *one = (struct nat_one_to_one){.address = joint.address->state, .interface = joint.interface};
        address_load(one->inside, object->inside);
        joint.address->answer = true;
        joint.address->one_to_one = one;
        const struct nat_one_to_one **ones =
            append(joint.interface->one_to_ones, &joint.interface->one_to_one_count, one);
        if (!ones)
            return -ENOMEM;
        joint.interface->one_to_ones = ones;
        joint.interface->serves = true;
    }
    for (unsigned i = 0; i < DP_PORTS_MAX; i++)
        if (config->interfaces[i] && config->interfaces[i]->one_to_one_count)
            qsort(config->interfaces[i]->one_to_ones, config->interfaces[i]->one_to_one_count,
                  sizeof(struct nat_one_to_one *), compare_inside);
    return 0;
}

static int compare_forward(const void *a, const void *b)
{
    const struct nat_forward *x = a, *y = b;
    return x->protocol != y->protocol ? x->protocol - y->protocol : x->first - y->first;
}

static int compare_forward_inside(const void *a, const void *b)
{
    const struct nat_forward *x = *(const struct nat_forward *const *)a,
                             *y = *(const struct nat_forward *const *)b;
    if (x->protocol != y->protocol)
        return x->protocol - y->protocol;
    int order = memcmp(x->inside, y->inside, 16);
    return order ? order : x->to_first - y->to_first;
}

/* Once all of an address's forwards are there: each interface gets its own, by inside endpoint. */
static int forwards_of_interfaces(struct nat_config *config)
{
    for (uint32_t i = 0; i <= config->address_mask; i++) {
        struct nat_config_address *address = &config->addresses[i];
        if (address->forward_count)
            qsort(address->forwards, address->forward_count, sizeof(*address->forwards), compare_forward);
        for (unsigned j = 0; j < address->forward_count; j++) {
            struct nat_interface *interface = interface_of(config, address->forwards[j].interface->port);
            const struct nat_forward **forwards =
                append(interface->forwards, &interface->forward_count, &address->forwards[j]);
            if (!forwards)
                return -ENOMEM;
            interface->forwards = forwards;
        }
    }
    for (unsigned i = 0; i < DP_PORTS_MAX; i++)
        if (config->interfaces[i] && config->interfaces[i]->forward_count)
            qsort(config->interfaces[i]->forwards, config->interfaces[i]->forward_count,
                  sizeof(struct nat_forward *), compare_forward_inside);
    return 0;
}

static int add_forwards(struct nat *nat, struct nat_config *config, const struct objects *objects)
{
    for (size_t i = 0; i < objects_count(objects, DP_KIND_NAT_FORWARD); i++) {
        const struct dp_nat_forward *object = objects_at(objects, DP_KIND_NAT_FORWARD, i);
        struct joint joint = join(nat, config, object->outside, object->address, object->port);
        struct nat_config_address *address = joint.address;
        if (!address)
            return -ENOMEM;
        if (!joint.interface)
            continue;
        struct nat_forward *forwards =
            reallocarray(address->forwards, address->forward_count + 1u, sizeof(*forwards));
        if (!forwards)
            return -ENOMEM;
        address->forwards = forwards;
        struct nat_forward *forward = &forwards[address->forward_count++];
        *forward = (struct nat_forward){.address = address->state,
                                        .interface = joint.interface,
                                        .first = object->first,
                                        .last = object->last,
                                        .to_first = object->to_first,
                                        .protocol = (uint8_t)object->protocol};
        address_load(forward->inside, object->inside);
        uint64_t *blocked = address->blocked[nat_protocol_of(forward->protocol)];
        if (blocked)
            block(blocked, forward->first, forward->last);
    }
    return forwards_of_interfaces(config);
}

/* By port, whom a packet from anybody goes to: only where somebody wants that. */
static int prepare_heads(struct nat_address *address)
{
    for (unsigned kind = 0; kind < NAT_PROTOCOLS; kind++) {
        if (address->heads[kind])
            continue;
        uint32_t *heads = conntrack_map(PORTS * sizeof(uint32_t));
        if (!heads)
            return -ENOMEM;
        __atomic_store_n(&address->heads[kind], heads, __ATOMIC_RELEASE);
    }
    return 0;
}

static int add_sources(struct nat_config *config, const struct objects *objects)
{
    for (size_t i = 0; i < objects_count(objects, DP_KIND_NAT_SOURCE); i++) {
        const struct dp_nat_source *object = objects_at(objects, DP_KIND_NAT_SOURCE, i);
        struct nat_interface *interface = interface_of(config, object->port);
        uint64_t bytes[2];
        address_load(bytes, object->address);
        const struct nat_config_address *address = nat_config_slot(config, object->outside, bytes);
        if (!interface || !address->outside || !address->translates)
            continue;
        unsigned family = !address_is_ipv4(bytes);
        struct nat_pool *pools =
            realloc(interface->pools[family], (interface->pool_count[family] + 1) * sizeof(*pools));
        if (!pools)
            return -ENOMEM;
        interface->pools[family] = pools;
        struct nat_pool *pool = &pools[interface->pool_count[family]++];
        *pool =
            (struct nat_pool){.address = address->state,
                              .port_first = address->port_first,
                              .port_last = address->port_last,
                              .endpoint_independent = object->flags & DP_NAT_F_ENDPOINT_INDEPENDENT_FILTER};
        for (unsigned kind = 0; kind < NAT_PROTOCOLS; kind++) {
            pool->blocked[kind] = address->blocked[kind];
            pool->usable[kind] = PORTS;
            for (unsigned word = 0; word < PORT_WORDS; word++) {
                pool->usable[kind] -= (uint32_t)__builtin_popcountll(pool->blocked[kind][word]);
                if (pool->blocked[kind][word])
                    pool->blocked_groups[kind] |= UINT64_C(1) << word / PORT_GROUP;
            }
        }
        interface->serves = true;
        if (pool->endpoint_independent && prepare_heads(address->state) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int pool_tables(const struct nat *nat, const struct nat_config *config)
{
    int error = 0;
    for (unsigned port = 0; port < DP_PORTS_MAX && !error; port++)
        for (unsigned family = 0; family < 2 && config->interfaces[port] && !error; family++)
            error = nat_pool_table(nat, config->interfaces[port], family);
    return error;
}

static int compare_tenants(const void *a, const void *b)
{
    const struct nat_interface *x = *(struct nat_interface *const *)a, *y = *(struct nat_interface *const *)b;
    return x->tenant - y->tenant;
}

/* The interface's addresses; those of a tenant's interfaces come one after the other. */
static void add_sharer(const struct nat_config *config, const struct nat_interface *interface)
{
    for (unsigned family = 0; family < 2; family++)
        for (unsigned i = 0; i < interface->pool_count[family]; i++) {
            const struct nat_address *state = interface->pools[family][i].address;
            struct nat_config_address *address = nat_config_slot(config, state->outside, state->address);
            address->sharers += address->last_sharer != interface->tenant;
            address->last_sharer = interface->tenant;
        }
}

/* Among how many tenants the table, and each address, is shared. */
static int count_sharers(struct nat_config *config)
{
    struct nat_interface **served = calloc(DP_PORTS_MAX, sizeof(struct nat_interface *));
    unsigned count = 0;
    if (!served)
        return -ENOMEM;
    for (unsigned port = 0; port < DP_PORTS_MAX; port++)
        if (config->interfaces[port] &&
            (config->interfaces[port]->serves || config->interfaces[port]->forward_count))
            served[count++] = config->interfaces[port];
    qsort(served, count, sizeof(struct nat_interface *), compare_tenants);
    for (unsigned i = 0; i < count; i++) {
        config->tenant_count += i == 0 || served[i]->tenant != served[i - 1]->tenant;
        add_sharer(config, served[i]);
    }
    for (unsigned i = 0; i < 2 * count; i++)
        for (unsigned j = 0; j < served[i / 2]->pool_count[i & 1]; j++) {
            struct nat_pool *pool = &served[i / 2]->pools[i & 1][j];
            pool->sharers = nat_config_slot(config, pool->address->outside, pool->address->address)->sharers;
        }
    free(served);
    return 0;
}

static int compile(struct nat *nat, struct nat_config *config, const struct objects *objects)
{
    size_t count = objects_count(objects, DP_KIND_NAT_ADDRESS) +
                   objects_count(objects, DP_KIND_NAT_ONE_TO_ONE) +
                   objects_count(objects, DP_KIND_NAT_FORWARD);
    uint32_t slots = 16;
    while (slots < count * 2)
        slots *= 2;
    config->addresses = calloc(slots, sizeof(*config->addresses));
    config->address_mask = slots - 1;
    if (!config->addresses || (count && (conntrack_prepare(nat) < 0 || fragments_prepare(nat) < 0)))
        return -ENOMEM;
    int error = add_interfaces(nat, config, objects);
    if (!error)
        error = add_addresses(nat, config, objects);
    if (!error)
        error = add_one_to_ones(nat, config, objects);
    if (!error)
        error = add_forwards(nat, config, objects);
    if (!error)
        error = add_sources(config, objects);
    if (!error)
        error = pool_tables(nat, config);
    return error ? error : count_sharers(config);
}

struct nat_config *nat_config_new(struct nat *nat, const struct objects *objects)
{
    struct nat_config *config = calloc(1, sizeof(*config));
    if (config && compile(nat, config, objects) == 0)
        return config;
    nat_config_free(config);
    errno = ENOMEM;
    return NULL;
}

void nat_config_free(struct nat_config *config)
{
    if (!config)
        return;
    for (unsigned i = 0; i < DP_PORTS_MAX; i++) {
        struct nat_interface *interface = config->interfaces[i];
        if (!interface)
            continue;
        free(interface->pools[0]);
        free(interface->pools[1]);
        free(interface->pool_slots[0]);
        free(interface->pool_slots[1]);
        free(interface->forwards);
        free(interface->one_to_ones);
        free(interface);
    }
    for (uint32_t i = 0; config->addresses && i <= config->address_mask; i++) {
        free(config->addresses[i].forwards);
        for (unsigned kind = 0; kind < NAT_PROTOCOLS; kind++)
            free(config->addresses[i].blocked[kind]);
    }
    free(config->addresses);
    free(config->one_to_ones);
    free(config);
}

/* What neither a configuration nor a session needs. */
void nat_config_collect(struct nat *nat, const struct nat_config *config)
{
    bool tenants[TENANTS_MAX] = {false};
    for (unsigned i = 0; i < DP_PORTS_MAX; i++)
        if (config->interfaces[i])
            tenants[config->interfaces[i]->tenant] = true;
    for (unsigned i = 1; i < TENANTS_MAX; i++)
        if (!tenants[i] && !__atomic_load_n(&nat->tenants[i].sessions, __ATOMIC_RELAXED) &&
            !__atomic_load_n(&nat->tenants[i].fragments, __ATOMIC_RELAXED))
            nat->tenants[i].used = 0;
    nat->quiesce(); /* who still looks at a session that ended a moment ago */
    for (uint32_t i = 1; i < nat->address_count; i++) {
        struct nat_address *state = nat->addresses[i];
        if (!state)
            continue;
        state->configured = nat_config_slot(config, state->outside, state->address)->outside != 0;
        if (!state->configured && !__atomic_load_n(&state->sessions, __ATOMIC_RELAXED))
            nat_address_free(nat, state);
    }
}
