/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>
#include "compile_network.h"
#include "datagram.h"

struct compile_route {
    struct dp_route route;
    uint32_t metric;
};

void compile_route_add(struct compile_routes *routes, const struct dp_route *route, uint32_t metric)
{
    if (routes->count == routes->room) {
        routes->room = routes->room ? 2 * routes->room : 16;
        routes->items = reallocarray(routes->items, routes->room, sizeof(*routes->items));
        if (!routes->items)
            abort();
    }
    routes->items[routes->count++] = (struct compile_route){*route, metric};
}

/* By key, then metric, then all the rest, so that the result does not depend on the order of the kernel. */
static int compare(const void *a, const void *b)
{
    const struct compile_route *one = a, *other = b;
    int order = object_compare(DP_KIND_ROUTE, &one->route, &other->route);
    if (order)
        return order;
    if (one->metric != other->metric)
        return one->metric < other->metric ? -1 : 1;
    return memcmp(&one->route, &other->route, sizeof(one->route));
}

/* Which of too many stay: links, then the most general ones, the default route first. IPv6 has four bits of
 * prefix for one of IPv4, about as its networks are given out. */
static unsigned rank(const struct dp_route *route)
{
    static const uint8_t on_link[16];
    unsigned length = route->prefix_length;
    bool mapped = length >= 96 && address_is_mapped(route->prefix);
    if (memcmp(route->next_hop, on_link, sizeof(on_link)) == 0)
        return 0;
    return 1 + (mapped ? 4 * (length - 96) : length);
}

static int compare_rank(const void *a, const void *b)
{
    const struct compile_route *one = a, *other = b;
    unsigned left = rank(&one->route), right = rank(&other->route);
    return left != right ? (left < right ? -1 : 1) : compare(a, b);
}

size_t compile_routes_end(struct compile_routes *routes, struct object_set *set)
{
    size_t count = 0, left_out = 0;
    if (routes->count)
        qsort(routes->items, routes->count, sizeof(*routes->items), compare);
    for (size_t i = 0; i < routes->count; i++) {
        const struct compile_route *item = &routes->items[i];
        if (count == 0 || object_compare(DP_KIND_ROUTE, &item->route, &routes->items[count - 1].route) != 0)
            routes->items[count++] = *item;
    }
    if (count > DP_ROUTES_MAX) {
        qsort(routes->items, count, sizeof(*routes->items), compare_rank);
        left_out = count - DP_ROUTES_MAX;
        count = DP_ROUTES_MAX;
    }
    for (size_t i = 0; i < count; i++)
        object_set_add(set, DP_KIND_ROUTE, &routes->items[i].route);
    free(routes->items);
    *routes = (struct compile_routes){0};
    return left_out;
}
