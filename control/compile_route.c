/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>
#include "compile_network.h"

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

void compile_routes_end(struct compile_routes *routes, struct object_set *set)
{
    if (routes->count)
        qsort(routes->items, routes->count, sizeof(*routes->items), compare);
    for (size_t i = 0; i < routes->count; i++) {
        const struct dp_route *route = &routes->items[i].route;
        if (i == 0 || object_compare(DP_KIND_ROUTE, route, &routes->items[i - 1].route) != 0)
            object_set_add(set, DP_KIND_ROUTE, route);
    }
    free(routes->items);
    *routes = (struct compile_routes){0};
}
