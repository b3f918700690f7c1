/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What the files of the router stage share; nobody else includes it.
 *
 * Threads: worker.
 */
#include "router.h"

/* The neighbour's MAC; 0: the packet was dropped or waits, and is accounted for. */
uint64_t router_neighbour(struct program *program, struct routed *routed, const struct router_way *way);
/* False: dropped. `router`: whose packet it is. */
bool router_may_leave(struct program *program, const struct routed *routed, const struct router *router,
                      const struct interface *out);
/* Ethernet header, hop count, and out of the interface. */
void router_send(struct program *program, const struct interface *out, struct packet *packet, uint64_t mac);
/* router_local.c: `address` says it has `mac`: told to the control thread if it is a neighbour of ours. */
void router_seen(struct program *program, const struct routed *routed, const uint8_t address[16],
                 const uint8_t mac[6], bool solicited, bool override);
/* router_ring.c: wakes the control thread for what was put into the rings. */
void router_tell(struct router_stage *stage);

/* A place in the ring of notes; NULL: it is full. router_note_put publishes it. */
struct router_note *router_note_get(struct router_stage *stage);
void router_note_put(struct router_stage *stage);

static inline uint16_t load_be16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline void store_be16(uint8_t *bytes, uint32_t value)
{
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}
