/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. All interfaces that uplinks share with the kernel are watched (netlink.c). When
 * something about them changes, what the dataplane must hold is computed anew and programmed like after any
 * other event (apply_follow): the difference, in one transaction, in the same generation.
 *
 * Neighbours are the kernel's, who must be asked to find and to confirm them as if it had sent the packets
 * itself:
 *   - DP_PUNT_RESOLVE: the dataplane has a packet for somebody unknown; the address is remembered for a
 *     while;
 *   - a next hop of a route, or a remembered address, that became stale: probed, so that the kernel confirms
 *     it (which it says by an event) or gives it up. A stale neighbour is used meanwhile. So a next hop in
 *     use is confirmed about every 30 seconds (base_reachable_time), as if the host used it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "compile_network.h"
#include "controller.h"
#include "datagram.h"
#include "events.h"
#include "log.h"
#include "outside.h"

#define ASKED_MAX 256u /* addresses remembered; the oldest goes */

struct asked {
    uint32_t index; /* 0: free */
    uint8_t family;
    uint8_t address[16];
};

struct outside_follower {
    struct controller *controller;
    struct netlink *netlink;
    struct asked asked[ASKED_MAX];
    unsigned next;
    bool crowded[DP_PORTS_MAX]; /* by outside port: more routes than fit, which was said */
};

static bool was_asked(const struct outside_follower *follower, uint32_t index, uint8_t family,
                      const uint8_t address[16])
{
    for (unsigned i = 0; i < ASKED_MAX; i++) {
        const struct asked *asked = &follower->asked[i];
        if (asked->index == index && asked->family == family && memcmp(asked->address, address, 16) == 0)
            return true;
    }
    return false;
}

static bool is_next_hop(const struct netlink_tables *tables, uint32_t index, uint8_t family,
                        const uint8_t address[16])
{
    for (size_t i = 0; i < tables->route_count; i++) {
        const struct netlink_route *route = &tables->routes[i];
        if (route->index == index && route->next_hop_family == family &&
            memcmp(route->next_hop, address, 16) == 0)
            return true;
    }
    return false;
}

static const struct netlink_neighbour *neighbour_of(const struct netlink_tables *tables, uint32_t index,
                                                    uint8_t family, const uint8_t address[16])
{
    for (size_t i = 0; i < tables->neighbour_count; i++) {
        const struct netlink_neighbour *neighbour = &tables->neighbours[i];
        if (neighbour->index == index && neighbour->family == family &&
            memcmp(neighbour->address, address, 16) == 0)
            return neighbour;
    }
    return NULL;
}

static bool same_next_hop(const struct netlink_route *a, const struct netlink_route *b)
{
    return a->index == b->index && a->next_hop_family == b->next_hop_family &&
           memcmp(a->next_hop, b->next_hop, sizeof(a->next_hop)) == 0;
}

/* Stale ones that are used, and next hops that nobody knows. */
static void probe(struct outside_follower *follower)
{
    const struct netlink_tables *tables = netlink_tables(follower->netlink);
    for (size_t i = 0; i < tables->neighbour_count; i++) {
        const struct netlink_neighbour *neighbour = &tables->neighbours[i];
        if (neighbour->stale &&
            (is_next_hop(tables, neighbour->index, neighbour->family, neighbour->address) ||
             was_asked(follower, neighbour->index, neighbour->family, neighbour->address)))
            netlink_probe(follower->netlink, neighbour->index, neighbour->family, neighbour->address);
    }
    for (size_t i = 0; i < tables->route_count; i++) {
        const struct netlink_route *route = &tables->routes[i];
        if (route->next_hop_family && !(i && same_next_hop(route, route - 1)) &&
            !neighbour_of(tables, route->index, route->next_hop_family, route->next_hop))
            netlink_probe(follower->netlink, route->index, route->next_hop_family, route->next_hop);
    }
}

static bool leaves_by(const struct model *model)
{
    for (unsigned i = 0; model && i < model->uplink_count; i++) {
        if (model->uplinks[i].outside_port && model->uplinks[i].netdev[0])
            return true;
    }
    return false;
}

void outside_changed(struct outside_follower *follower)
{
    if (!follower || !leaves_by(follower->controller->model))
        return;
    apply_follow(follower->controller);
    probe(follower);
}

struct outside_follower *outside_new(struct controller *controller)
{
    struct outside_follower *follower = calloc(1, sizeof(*follower));
    if (!follower)
        return NULL;
    follower->controller = controller;
    follower->netlink = controller->netlink;
    return follower;
}

void outside_free(struct outside_follower *follower)
{
    free(follower);
}

void outside_compile(struct outside_follower *follower, const struct model *model, struct object_set *set)
{
    const char **names = calloc(model->uplink_count + 1, sizeof(*names));
    size_t count = 0;
    if (!names)
        abort();
    for (unsigned i = 0; i < model->uplink_count; i++) {
        if (model->uplinks[i].netdev[0])
            names[count++] = model->uplinks[i].netdev;
    }
    if (follower) {
        int error = netlink_watch(follower->netlink, names, count);
        if (error)
            log_warning("netlink: %s; looking again", strerror(-error));
    }
    free(names);
    compile_outside(model, follower ? follower->netlink : NULL, set);
    object_set_sort(set);
    if (follower && leaves_by(model))
        probe(follower);
}

void outside_settled(struct outside_follower *follower, const struct model *model)
{
    for (unsigned i = 0; follower && i < model->uplink_count; i++) {
        const struct model_uplink *uplink = &model->uplinks[i];
        bool crowded = uplink->routes_left_out > 0;
        if (follower->crowded[uplink->outside_port] == crowded)
            continue;
        follower->crowded[uplink->outside_port] = crowded;
        if (crowded)
            events_add(follower->controller->events, "routes-left-out", uplink->name, 0,
                       "%zu of the host's routes are not used by guests: %u by one interface are, links and "
                       "the most general ones",
                       uplink->routes_left_out, DP_ROUTES_MAX);
        else
            events_add(follower->controller->events, "routes-left-out", uplink->name, 0,
                       "all of the host's routes are used by guests again");
    }
}

void outside_resolve(struct outside_follower *follower, const struct model *model, uint32_t port,
                     const uint8_t address[16])
{
    const struct netlink_link *link = NULL;
    for (unsigned i = 0; follower && i < model->uplink_count; i++) {
        if (model->uplinks[i].outside_port == port && port)
            link = netlink_link(follower->netlink, model->uplinks[i].netdev);
    }
    if (!link || !link->index)
        return;
    struct asked asked = {.index = link->index, .family = address_is_mapped(address) ? 4 : 6};
    memcpy(asked.address, address + (asked.family == 4 ? 12 : 0), asked.family == 4 ? 4 : 16);
    if (!was_asked(follower, asked.index, asked.family, asked.address))
        follower->asked[follower->next++ % ASKED_MAX] = asked;
    int error = netlink_probe(follower->netlink, asked.index, asked.family, asked.address);
    if (error && error != -EAGAIN && error != -ENOBUFS)
        log_warning("netlink: a neighbour cannot be asked for: %s", strerror(-error));
}
