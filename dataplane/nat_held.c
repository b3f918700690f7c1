/* SPDX-License-Identifier: BSD-3-Clause */
/* Copies of fragments that came before the first of their datagram; see nat_fragment.c. */
#include "nat_rewrite.h"
#include "nat_fragment.h"

#include <errno.h>

int fragments_prepare(struct nat *nat)
{
    if (nat->fragments)
        return 0;
    struct fragments *fragments = conntrack_map(sizeof(*fragments));
    if (!fragments)
        return -ENOMEM;
    for (unsigned i = 0; i < BLOCKS; i++) {
        fragments->blocks[i].next = fragments->free;
        fragments->free = &fragments->blocks[i];
    }
    nat->fragments = fragments;
    return 0;
}

void fragments_free(struct nat *nat)
{
    conntrack_unmap(nat->fragments, sizeof(*nat->fragments));
}

/* The blocks of one fragment. */
void held_free(struct nat *nat, struct held *held)
{
    struct fragments *fragments = nat->fragments;
    unsigned count = 0;
    uint16_t tenant = held->tenant, guest = held->guest;
    spin_lock(&fragments->lock);
    for (struct held *more; held; held = more, count++) {
        more = held->more;
        held->next = fragments->free;
        fragments->free = held;
    }
    spin_unlock(&fragments->lock);
    count_add(&nat->tenants[tenant].held, -(int)count);
    count_add(&fragments->guests[guest].held, -(int)count);
}

static struct held *block_take(struct nat *nat, uint16_t tenant, uint16_t guest)
{
    struct fragments *fragments = nat->fragments;
    struct held *block = NULL;
    if (!fragment_within_quota(&nat->tenants[tenant].held, tenant) ||
        !fragment_within_guests(&fragments->guests[guest].held, guest))
        return NULL;
    spin_lock(&fragments->lock);
    if (fragments->free) {
        block = fragments->free;
        fragments->free = block->next;
    }
    spin_unlock(&fragments->lock);
    if (!block)
        return NULL;
    count_add(&nat->tenants[tenant].held, 1);
    count_add(&fragments->guests[guest].held, 1);
    block->next = block->more = NULL;
    block->tenant = tenant;
    block->guest = guest;
    return block;
}

/* Where the copy goes on; takes blocks as it needs them. False: no more. */
static bool held_append(struct nat *nat, struct held **tail, uint32_t *used, const uint8_t *bytes,
                        uint64_t size)
{
    while (size) {
        if (*used == sizeof((*tail)->bytes)) {
            struct held *block = block_take(nat, (*tail)->tenant, (*tail)->guest);
            if (!block)
                return false;
            (*tail)->more = block;
            *tail = block;
            *used = 0;
        }
        uint64_t part = sizeof((*tail)->bytes) - *used;
        part = part < size ? part : size;
        memcpy((*tail)->bytes + *used, bytes, part);
        *used += (uint32_t)part;
        bytes += part;
        size -= part;
    }
    return true;
}

struct held *held_copy(struct nat *nat, const struct packet *packet, uint16_t tenant, uint16_t guest)
{
    struct held *held = NULL, *tail;
    uint32_t used = 0;
    if (packet->size > (NAT_RELEASE_SPANS - 1) * sizeof(held->bytes))
        return NULL;
    held = tail = block_take(nat, tenant, guest);
    if (!held)
        return NULL;
    held->size = (uint16_t)packet->size;
    bool good = held_append(nat, &tail, &used, packet->data, packet->header_size);
    for (unsigned i = 0; good && i < packet->span_count; i++)
        good = held_append(nat, &tail, &used, packet->spans[i].base, packet->spans[i].size);
    if (good)
        return held;
    held_free(nat, held);
    return NULL;
}

/* The frame as a packet: its beginning in private bytes, the rest where it is. */
static void packet_fill(struct packet *packet, struct held *held)
{
    uint32_t left = held->size, part = left < PACKET_HEADER_MAX ? left : PACKET_HEADER_MAX;
    packet->data = packet->buffer + PACKET_HEADROOM;
    memcpy(packet->data, held->bytes, part);
    packet->size = held->size;
    packet->header_size = (uint16_t)part;
    packet->span_count = 0;
    packet->flags = packet->gso_type = 0;
    packet->hdr_len = packet->gso_size = packet->csum_start = packet->csum_offset = 0;
    left -= part;
    for (uint32_t from = part; held && left; held = held->more, from = 0) {
        uint32_t size = (uint32_t)sizeof(held->bytes) - from;
        size = size < left ? size : left;
        packet->spans[packet->span_count++] = (struct packet_span){held->bytes + from, size};
        left -= size;
    }
}

bool nat_release(const struct nat_context *context, struct packet *packet, struct nat_outcome *outcome)
{
    struct nat *nat = context->nat;
    struct wheel *wheel = &nat->wheels[context->worker];
    struct frame_info info;
    if (wheel->released) {
        held_free(nat, wheel->released);
        wheel->released = NULL;
    }
    struct held *held = wheel->release;
    if (!held)
        return false;
    wheel->release = held->next;
    wheel->released = held;
    packet_fill(packet, held);
    if (!parse_l2(packet, &info) || !parse_l3(packet, &info))
        return false; /* it was parsed when it came */
    rewrite_address(packet->data + info.l3_offset, info.flags & FRAME_F_IPV4, held->outbound, held->address);
    *outcome = held->outcome;
    return true;
}
