/* SPDX-License-Identifier: BSD-3-Clause */
/* lint: syscalls allowed, one write a round wakes the control thread when it has work */
/*
 * The worker's end of its two rings to the control thread. One producer, one consumer; an entry is the
 * producer's from its tail's passing to the head's. A full ring drops, and the drop is counted where the
 * packet came in. A channel that is full stops the control thread from taking punts out, so that it is the
 * ring that fills, and the worker that counts.
 */
#include <sys/eventfd.h>
#include "checksum.h"
#include "program.h"
#include "router_private.h"

struct router_note *router_note_get(struct router_stage *stage)
{
    struct router_rings *rings = stage->rings;
    uint32_t head = rings->note_head;
    if (head - __atomic_load_n(&rings->note_tail, __ATOMIC_ACQUIRE) == ROUTER_NOTES)
        return NULL;
    return &rings->notes[head & (ROUTER_NOTES - 1)];
}

void router_note_put(struct router_stage *stage)
{
    struct router_rings *rings = stage->rings;
    __atomic_store_n(&rings->note_head, rings->note_head + 1, __ATOMIC_RELEASE);
    stage->told = true;
}

bool router_punt(struct program *program, struct routed *routed, enum dp_punt_reason reason)
{
    struct router_stage *stage = program->router;
    struct router_rings *rings = stage->rings;
    struct packet *packet = routed->packet;
    uint32_t head = rings->punt_head;
    if (!__atomic_load_n(&rings->channel, __ATOMIC_RELAXED) || packet->gso_type != VNET_GSO_NONE ||
        head - __atomic_load_n(&rings->punt_tail, __ATOMIC_ACQUIRE) == ROUTER_PUNTS)
        return false;
    struct router_punt *punt = &rings->punts[head & (ROUTER_PUNTS - 1)];
    if ((packet->flags & VNET_F_NEEDS_CSUM && !checksum_complete(packet)) ||
        !router_flatten(packet, punt->frame, sizeof(punt->frame)))
        return false;
    punt->header = (struct dp_punt){.port = routed->port,
                                    .reason = (uint16_t)reason,
                                    .size = (uint16_t)packet->size,
                                    .from = routed->from};
    __atomic_store_n(&rings->punt_head, head + 1, __ATOMIC_RELEASE);
    stage->told = true;
    return true;
}

/* An eventfd that is full is readable already. */
void router_tell(struct router_stage *stage)
{
    stage->told = false;
    if (stage->wake_fd >= 0)
        eventfd_write(stage->wake_fd, 1);
}
