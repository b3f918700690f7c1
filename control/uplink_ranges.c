/* SPDX-License-Identifier: BSD-3-Clause */
#include "uplink_ranges.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define IP_PROTO_TCP 6u

struct collection {
    const struct object_set *objects;
    uint32_t uplink;
    struct steer_range *ranges;
    unsigned count;
};

/* Untagged: what is in a VLAN is to an address and a MAC that the host does not have. */
static bool in_segment(const struct object_set *objects, uint32_t port, uint32_t segment)
{
    const struct object_list *members = &objects->lists[DP_KIND_MEMBER];
    const struct dp_member *items = members->items;
    for (size_t i = 0; i < members->count; i++)
        if (items[i].port == port && items[i].segment == segment && items[i].vid == DP_MEMBER_UNTAGGED)
            return true;
    return false;
}

/* The router's interface and the uplink are in one segment. */
static bool is_outside_of(const struct collection *collection, uint32_t interface)
{
    const struct object_list *members = &collection->objects->lists[DP_KIND_MEMBER];
    const struct dp_member *items = members->items;
    for (size_t i = 0; i < members->count; i++)
        if (items[i].port == interface &&
            in_segment(collection->objects, collection->uplink, items[i].segment))
            return true;
    return false;
}

static void add(struct collection *collection, const uint8_t address[16], bool whole, enum steer_kind kind,
                uint16_t first, uint16_t last)
{
    struct steer_range *range = &collection->ranges[collection->count++];
    *range = (struct steer_range){.whole = whole, .kind = kind, .first = first, .last = last};
    memcpy(range->address, address, sizeof(range->address));
}

static void add_addresses(struct collection *collection)
{
    const struct object_list *list = &collection->objects->lists[DP_KIND_NAT_ADDRESS];
    const struct dp_nat_address *items = list->items;
    for (size_t i = 0; i < list->count; i++) {
        const struct dp_nat_address *item = &items[i];
        bool whole = (item->flags & DP_NAT_F_ANSWER) != 0; /* not the host's at all */
        if (!is_outside_of(collection, item->port))
            continue;
        for (enum steer_kind kind = STEER_TCP; kind < STEER_KINDS; kind++)
            add(collection, item->address, whole, kind, item->port_first, item->port_last);
    }
}

static void add_one_to_one(struct collection *collection)
{
    const struct object_list *list = &collection->objects->lists[DP_KIND_NAT_ONE_TO_ONE];
    const struct dp_nat_one_to_one *items = list->items;
    for (size_t i = 0; i < list->count; i++)
        if (is_outside_of(collection, items[i].outside))
            add(collection, items[i].address, true, STEER_TCP, 0, 0);
}

static void add_forwards(struct collection *collection)
{
    const struct object_list *list = &collection->objects->lists[DP_KIND_NAT_FORWARD];
    const struct dp_nat_forward *items = list->items;
    for (size_t i = 0; i < list->count; i++)
        if (is_outside_of(collection, items[i].outside))
            add(collection, items[i].address, false,
                items[i].protocol == IP_PROTO_TCP ? STEER_TCP : STEER_UDP, items[i].first, items[i].last);
}

int uplink_ranges(const struct object_set *objects, uint32_t uplink, struct steer_range **ranges,
                  unsigned *count)
{
    size_t most = STEER_KINDS * objects->lists[DP_KIND_NAT_ADDRESS].count +
                  objects->lists[DP_KIND_NAT_ONE_TO_ONE].count + objects->lists[DP_KIND_NAT_FORWARD].count;
    struct collection collection = {.objects = objects, .uplink = uplink};
    *ranges = NULL;
    *count = 0;
    if (most == 0)
        return 0;
    collection.ranges = calloc(most, sizeof(*collection.ranges));
    if (!collection.ranges)
        return -ENOMEM;
    add_addresses(&collection);
    add_one_to_one(&collection);
    add_forwards(&collection);
    *ranges = collection.ranges;
    *count = collection.count;
    return 0;
}
