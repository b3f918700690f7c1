/* SPDX-License-Identifier: BSD-3-Clause */
#include "vlan.h"

#define VLAN_VID_RESERVED 0xfffu /* IEEE 802.1Q, table 9-2 */
#define ADDRESSES_SIZE    12u    /* destination and source */

enum dp_drop vlan_ingress_tagged(const struct ingress *ingress, const struct frame_info *info,
                                 struct vlan_state *state, struct bridge **bridge)
{
    uint16_t vid = info->tci & VLAN_VID_MASK;
    *state = (struct vlan_state){
        .tpid = vid ? info->tpid : ETHERTYPE_VLAN,
        .priority = info->tci & (uint16_t)~VLAN_VID_MASK,
        .tagged = vid != 0,
        .inner = info->tag_count > 1,
    };
    if (!ingress->by_vid && (vid || state->inner))
        return DP_DROP_VLAN_TAG;
    if (!vid)
        *bridge = ingress->native;
    else
        *bridge = vid == VLAN_VID_RESERVED ? NULL : ingress->by_vid[vid];
    return *bridge ? DP_DROP_COUNT : DP_DROP_VLAN_UNKNOWN;
}

/* The offsets of an offload request count from the start of the frame. The header's length too, also without
 * segmentation: a tap refuses a frame that is shorter than it. */
static void move_offsets(struct packet *packet, int bytes)
{
    if (!(packet->flags & VNET_F_NEEDS_CSUM))
        return;
    packet->csum_start = (uint16_t)(packet->csum_start + bytes);
    packet->hdr_len = (uint16_t)(packet->hdr_len + bytes);
}

static void pop(struct packet *packet)
{
    memmove(packet->data + VLAN_TAG_SIZE, packet->data, ADDRESSES_SIZE);
    packet->data += VLAN_TAG_SIZE;
    packet->size -= VLAN_TAG_SIZE;
    packet->header_size = (uint16_t)(packet->header_size - VLAN_TAG_SIZE);
    move_offsets(packet, -(int)VLAN_TAG_SIZE);
}

static void write_tag(struct packet *packet, const struct vlan_state *state, uint16_t vid)
{
    uint16_t tag[2] = {htobe16(state->tpid), htobe16(state->priority | vid)};
    memcpy(packet->data + ADDRESSES_SIZE, tag, sizeof(tag));
}

static void push(struct packet *packet, const struct vlan_state *state, uint16_t vid)
{
    memmove(packet->data - VLAN_TAG_SIZE, packet->data, ADDRESSES_SIZE);
    packet->data -= VLAN_TAG_SIZE;
    packet->size += VLAN_TAG_SIZE;
    packet->header_size = (uint16_t)(packet->header_size + VLAN_TAG_SIZE);
    move_offsets(packet, VLAN_TAG_SIZE);
    write_tag(packet, state, vid);
}

void vlan_normalise(struct packet *packet, const struct frame_info *info)
{
    if (info->tag_count && !(info->tci & VLAN_VID_MASK))
        pop(packet);
}

void vlan_egress_edit(struct packet *packet, struct vlan_state *state, uint16_t vid)
{
    if (vid && state->tagged)
        write_tag(packet, state, vid);
    else if (vid)
        push(packet, state, vid);
    else if (state->tagged)
        pop(packet);
    state->tagged = vid != 0;
}
