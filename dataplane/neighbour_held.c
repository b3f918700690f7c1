/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * Packets that wait for a neighbour: HELD_PER_NEIGHBOUR for each, in the order they came, and HELD_ROOM bytes
 * of all neighbours of all ports, of which a packet takes at least HELD_COST_MIN. What is held belongs to the
 * source of the packet. When the room is used up, the oldest packet of whoever has the most fails
 * (neighbour_quota.c), so that a scan leaves everybody else's share alone.
 */
#include <errno.h>
#include <stdlib.h>
#include "neighbour_private.h"
#include "router.h"

#define HELD_PER_NEIGHBOUR 4u
#define HELD_ROOM          (4u << 20)
#define HELD_COST_MIN      4096u
#define HELD_FRAME_MIN     60u

struct neighbour_held {
    struct neighbour_held *next;
    struct neighbour *neighbour;
    struct quota_item item;
    struct router_note note; /* its frame is as long as the packet */
};

static struct quota room = {.room = HELD_ROOM};
static unsigned held_count;

struct port *neighbour_port_of(uint32_t id)
{
    const struct snapshot *snapshot = neighbour_table.ops->snapshot();
    const struct ingress *ingress = snapshot ? snapshot->ingress[id] : NULL;
    return ingress && ingress->interface ? ingress->port : NULL;
}

/* Out of its neighbour's list, for which more may wait now. */
static void held_free(struct neighbour_held *held)
{
    struct neighbour *neighbour = held->neighbour;
    struct neighbour_held **link = &neighbour->held;
    while (*link != held)
        link = &(*link)->next;
    *link = held->next;
    neighbour->held_count--;
    __atomic_store_n(&neighbour->value, neighbour->value & ~NEIGHBOUR_F_WAITING, __ATOMIC_RELAXED);
    quota_release(&room, &held->item);
    held_count--;
    free(held);
}

/* False: the port takes nothing at the moment, and the packet goes on waiting. */
static bool give_back(struct neighbour_held *held, bool failed)
{
    struct port *port = neighbour_port_of(held->note.in);
    if (port && neighbour_table.ops->resume(port, &held->note, failed) == -EAGAIN)
        return false;
    held_free(held);
    return true;
}

void neighbour_release(struct neighbour *neighbour, bool failed)
{
    while (neighbour->held && give_back(neighbour->held, failed))
        ;
}

void neighbour_discard(struct neighbour *neighbour)
{
    neighbour_release(neighbour, true);
    while (neighbour->held)
        held_free(neighbour->held);
}

void neighbour_forget_packets_of(uint32_t id)
{
    for (struct router_port *port = neighbour_table.ports; port; port = port->next)
        for (struct neighbour *neighbour = port->list; neighbour; neighbour = neighbour->list_next)
            for (struct neighbour_held *held = neighbour->held, *next; held; held = next) {
                next = held->next;
                if (held->note.in == id)
                    held_free(held);
            }
}

static bool make_room(struct quota_source source, uint32_t cost)
{
    while (room.used + cost > room.room) {
        struct quota_item *item = quota_claim(&room, source, cost);
        if (!item ||
            !give_back((struct neighbour_held *)((uint8_t *)item - offsetof(struct neighbour_held, item)),
                       true))
            return false;
    }
    return true;
}

bool neighbour_hold(struct neighbour *neighbour, const struct router_note *note, struct quota_source source)
{
    size_t size = offsetof(struct neighbour_held, note.frame) +
                  (note->size < HELD_FRAME_MIN ? HELD_FRAME_MIN : note->size);
    uint32_t cost = size < HELD_COST_MIN ? HELD_COST_MIN : (uint32_t)size;
    if (neighbour->held_count >= HELD_PER_NEIGHBOUR || !make_room(source, cost))
        return false;
    struct neighbour_held *held = malloc(size), **last = &neighbour->held;
    if (!held || quota_charge(&room, source, &held->item, cost)) {
        free(held);
        return false;
    }
    held->next = NULL;
    held->neighbour = neighbour;
    memcpy(&held->note, note, offsetof(struct router_note, frame) + note->size);
    while (*last)
        last = &(*last)->next;
    *last = held;
    held_count++;
    if (++neighbour->held_count == HELD_PER_NEIGHBOUR && !(neighbour->value & NEIGHBOUR_F_USABLE))
        __atomic_store_n(&neighbour->value, neighbour->value | NEIGHBOUR_F_WAITING, __ATOMIC_RELAXED);
    return true;
}

unsigned neighbours_held(void)
{
    return held_count;
}
