/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checks of what address translation is configured with: outside ends lie on interfaces of the outside,
 * inside ends on those of tenants, and no two of them claim one outside port.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "object_check_private.h"

#define PROTOCOL_TCP 6u
#define PROTOCOL_UDP 17u

static bool port_id_valid(uint32_t id)
{
    return id > 0 && id < DP_PORTS_MAX;
}

static bool same_family(const uint8_t a[16], const uint8_t b[16])
{
    return object_address_ipv4(a) == object_address_ipv4(b);
}

static int check_address(const struct dp_nat_address *address, char *text)
{
    char name[46];
    object_address_text(address->address, name);
    if (!port_id_valid(address->port) || !object_address_valid(address->address))
        return object_refuse(text, -EINVAL, "NAT address %s: port id %u or address not valid", name,
                             address->port);
    if (address->port_first == 0 || address->port_first > address->port_last)
        return object_refuse(text, -ERANGE, "NAT address %s: ports %u-%u", name, address->port_first,
                             address->port_last);
    if (address->flags & ~DP_NAT_F_ANSWER)
        return object_refuse(text, -EINVAL, "NAT address %s: unknown flags 0x%x", name, address->flags);
    return 0;
}

static int check_source(const struct dp_nat_source *source, char *text)
{
    if (!port_id_valid(source->port) || !port_id_valid(source->outside) ||
        !object_address_valid(source->address))
        return object_refuse(text, -EINVAL, "NAT of port %u: port id or address not valid", source->port);
    if (source->flags & ~DP_NAT_F_ENDPOINT_INDEPENDENT_FILTER)
        return object_refuse(text, -EINVAL, "NAT of port %u: unknown flags 0x%x", source->port,
                             source->flags);
    return 0;
}

static int check_one_to_one(const struct dp_nat_one_to_one *entry, char *text)
{
    char name[46];
    if (!port_id_valid(entry->port) || !port_id_valid(entry->outside) ||
        !object_address_valid(entry->address) || !object_address_valid(entry->inside) ||
        !same_family(entry->address, entry->inside))
        return object_refuse(text, -EINVAL, "1:1 address %s: port ids or addresses not valid",
                             object_address_text(entry->address, name));
    return 0;
}

static int check_forward(const struct dp_nat_forward *forward, char *text)
{
    char name[46];
    object_address_text(forward->address, name);
    if (!port_id_valid(forward->port) || !port_id_valid(forward->outside) ||
        !object_address_valid(forward->address) || !object_address_valid(forward->inside) ||
        !same_family(forward->address, forward->inside))
        return object_refuse(text, -EINVAL, "forward from %s: port ids or addresses not valid", name);
    if (forward->protocol != PROTOCOL_TCP && forward->protocol != PROTOCOL_UDP)
        return object_refuse(text, -EINVAL, "forward from %s: protocol %u is neither TCP nor UDP", name,
                             forward->protocol);
    if (forward->first == 0 || forward->first > forward->last || forward->to_first == 0 ||
        (uint32_t)forward->to_first + forward->last - forward->first > UINT16_MAX)
        return object_refuse(text, -ERANGE, "forward from %s: ports %u-%u to %u", name, forward->first,
                             forward->last, forward->to_first);
    return 0;
}

int object_check_nat(enum dp_kind kind, const void *object, char *text)
{
    switch (kind) {
    case DP_KIND_NAT_ADDRESS:
        return check_address(object, text);
    case DP_KIND_NAT_SOURCE:
        return check_source(object, text);
    case DP_KIND_NAT_ONE_TO_ONE:
        return check_one_to_one(object, text);
    default:
        return check_forward(object, text);
    }
}

/* The interface is there, and on the side where it must be. */
static int check_side(const struct objects *objects, uint32_t port, bool outside, const char *what,
                      char *text)
{
    const struct dp_interface *interface = object_interface(objects, port);
    if (!interface)
        return object_refuse(text, -ENOENT, "%s: port %u has no interface", what, port);
    if ((interface->router == 0) != outside)
        return object_refuse(text, -EPERM, "%s: port %u is %s interface", what, port,
                             outside ? "a tenant's" : "an outside");
    return 0;
}

static const struct dp_nat_address *find_address(const struct objects *objects, uint32_t outside,
                                                 const uint8_t address[16])
{
    struct dp_nat_address key = {.port = outside};
    memcpy(key.address, address, 16);
    return objects_find(objects, DP_KIND_NAT_ADDRESS, &key);
}

static int check_addresses(const struct objects *objects, char *text)
{
    int error = 0;
    for (size_t i = 0; i < objects_count(objects, DP_KIND_NAT_ADDRESS) && !error; i++) {
        const struct dp_nat_address *address = objects_at(objects, DP_KIND_NAT_ADDRESS, i);
        error = check_side(objects, address->port, true, "NAT address", text);
    }
    for (size_t i = 0; i < objects_count(objects, DP_KIND_NAT_SOURCE) && !error; i++) {
        const struct dp_nat_source *source = objects_at(objects, DP_KIND_NAT_SOURCE, i);
        error = check_side(objects, source->port, false, "NAT source", text);
        if (!error)
            error = check_side(objects, source->outside, true, "NAT source", text);
        if (!error && !find_address(objects, source->outside, source->address))
            error = object_refuse(text, -ENOENT, "NAT of port %u: outside port %u has no such NAT address",
                                  source->port, source->outside);
    }
    for (size_t i = 0; i < objects_count(objects, DP_KIND_NAT_ONE_TO_ONE) && !error; i++) {
        const struct dp_nat_one_to_one *entry = objects_at(objects, DP_KIND_NAT_ONE_TO_ONE, i);
        char name[46];
        error = check_side(objects, entry->outside, true, "1:1 address", text);
        if (!error)
            error = check_side(objects, entry->port, false, "1:1 address", text);
        if (!error && find_address(objects, entry->outside, entry->address))
            error = object_refuse(text, -EEXIST, "1:1 address %s is a NAT address as well",
                                  object_address_text(entry->address, name));
    }
    return error;
}

static int compare_forwards(const void *a, const void *b)
{
    const struct dp_nat_forward *const *x = a, *const *y = b;
    if ((*x)->outside != (*y)->outside)
        return (*x)->outside < (*y)->outside ? -1 : 1;
    int order = memcmp((*x)->address, (*y)->address, 16);
    if (order)
        return order;
    if ((*x)->protocol != (*y)->protocol)
        return (*x)->protocol < (*y)->protocol ? -1 : 1;
    return (*x)->first < (*y)->first ? -1 : (*x)->first > (*y)->first;
}

static bool overlap(const struct dp_nat_forward *a, const struct dp_nat_forward *b)
{
    return a->outside == b->outside && memcmp(a->address, b->address, 16) == 0 &&
           a->protocol == b->protocol && b->first <= a->last;
}

static int check_forwards(const struct objects *objects, const struct dp_nat_forward **sorted, size_t count,
                          char *text)
{
    char name[46];
    int error = 0;
    for (size_t i = 0; i < count && !error; i++) {
        sorted[i] = objects_at(objects, DP_KIND_NAT_FORWARD, i);
        error = check_side(objects, sorted[i]->outside, true, "forward", text);
        if (!error)
            error = check_side(objects, sorted[i]->port, false, "forward", text);
    }
    if (error)
        return error;
    qsort(sorted, count, sizeof(struct dp_nat_forward *), compare_forwards);
    for (size_t i = 1; i < count; i++)
        if (overlap(sorted[i - 1], sorted[i]))
            return object_refuse(text, -EEXIST, "forwards from %s: ports %u and %u overlap",
                                 object_address_text(sorted[i]->address, name), sorted[i - 1]->first,
                                 sorted[i]->first);
    return 0;
}

int objects_check_nat(const struct objects *objects, char *text)
{
    int error = check_addresses(objects, text);
    size_t count = objects_count(objects, DP_KIND_NAT_FORWARD);
    if (error || count == 0)
        return error;
    const struct dp_nat_forward **sorted = calloc(count, sizeof(struct dp_nat_forward *));
    if (!sorted)
        return object_refuse(text, -ENOMEM, "no memory to check %zu forwards", count);
    error = check_forwards(objects, sorted, count, text);
    free(sorted);
    return error;
}
