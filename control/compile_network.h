/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The parts of compile_model() for subnets and address translation, and what follows the kernel.
 *
 * Threads: weftd has one.
 */
#include "compile.h"
#include "netlink.h"

/* What the model alone says. */
void compile_network(const struct model *model, struct object_set *set);
/* What depends on the kernel's interfaces as well (NULL: nothing is known of them). Two calls may add the
 * same object twice: object_set_sort() makes one of them. Notes how many routes were too many. */
void compile_outside(const struct model *model, const struct netlink *netlink, struct object_set *set);

/* The MAC address of weft's own port of that number. */
void compile_own_mac(uint32_t port, uint8_t mac[6]);

/* Routes by an outside interface: one a prefix, the one with the lowest metric. */
struct compile_routes {
    struct compile_route *items;
    size_t count, room;
};
void compile_route_add(struct compile_routes *routes, const struct dp_route *route, uint32_t metric);
/* Adds those that count to the set, DP_ROUTES_MAX of them at most; frees the rest. How many were left out
 * because they are too many: on-link and general ones stay. */
size_t compile_routes_end(struct compile_routes *routes, struct object_set *set);
