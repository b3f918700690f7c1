/* SPDX-License-Identifier: BSD-3-Clause */
/* The neighbours as the programming socket shows them. */
#include <string.h>
#include "neighbour_private.h"
#include "router.h"

static void read_static(const struct interface *interface, const struct static_neighbour *neighbour,
                        struct dp_neighbour_state *state)
{
    *state = (struct dp_neighbour_state){.port = interface->ingress->id, .is_static = 1, .reachable = 1};
    memcpy(state->address, neighbour->address, 16);
    memcpy(state->mac, &neighbour->mac, 6);
}

static void read_dynamic(const struct router_port *port, const struct neighbour *neighbour, uint32_t now_s,
                         struct dp_neighbour_state *state)
{
    *state = (struct dp_neighbour_state){.port = port->port->config.id};
    memcpy(state->address, neighbour->address, 16);
    state->reachable = (neighbour->value & NEIGHBOUR_F_USABLE) != 0;
    if (state->reachable)
        memcpy(state->mac, &neighbour->value, 6);
    state->age_s = now_s - (state->reachable ? neighbour->confirmed_s : neighbour->created_s);
}

size_t neighbours_read(uint64_t *cursor, uint32_t now_s, struct dp_neighbour_state *states, size_t capacity)
{
    const struct snapshot *snapshot = neighbour_table.ops->snapshot();
    uint64_t at = 0;
    size_t count = 0;
    for (unsigned i = 0; snapshot && i < snapshot->interface_count; i++) {
        const struct interface *interface = &snapshot->interfaces[i];
        for (uint32_t slot = 0; slot <= interface->neighbour_mask && count < capacity; slot++)
            if (!address_is_zero(interface->neighbours[slot].address) && at++ >= *cursor)
                read_static(interface, &interface->neighbours[slot], &states[count++]);
    }
    for (const struct router_port *port = neighbour_table.ports; port; port = port->next)
        for (const struct neighbour *neighbour = port->list; neighbour && count < capacity;
             neighbour = neighbour->list_next)
            if (at++ >= *cursor)
                read_dynamic(port, neighbour, now_s, &states[count++]);
    *cursor = count < capacity ? UINT64_MAX : *cursor + count;
    return count;
}
