/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * VLAN tags (IEEE 802.1Q, 9) at the edges of a segment: which bridge a frame belongs to when it comes in, and
 * which tag it bears when it leaves. Inside a segment frames have no tag of their own; inner tags (802.1ad,
 * QinQ) are payload.
 *
 * Threads: worker; changes nothing but the packet's private header.
 */
#include "snapshot.h"

/* What the program remembers of a frame's outer tag. */
struct vlan_state {
    uint16_t tpid;     /* for a tag to be written: the one that came, or 0x8100 */
    uint16_t priority; /* PCP and DEI that came, at their places in a TCI */
    bool tagged;       /* the tag of the port's VLAN is in the header now */
    bool inner;        /* another tag follows it */
};

/* The rest of vlan_ingress: frames with tags. */
enum dp_drop vlan_ingress_tagged(const struct ingress *ingress, const struct frame_info *info,
                                 struct vlan_state *state, struct bridge **bridge);

/* The bridge of a frame as received. DP_DROP_COUNT, or VLAN_TAG (access port), VLAN_UNKNOWN. The frame is not
 * changed yet: see vlan_normalise. */
static inline enum dp_drop vlan_ingress(const struct ingress *ingress, const struct frame_info *info,
                                        struct vlan_state *state, struct bridge **bridge)
{
    if (__builtin_expect(info->tag_count != 0, 0))
        return vlan_ingress_tagged(ingress, info, state, bridge);
    *state = (struct vlan_state){.tpid = ETHERTYPE_VLAN};
    *bridge = ingress->native;
    return *bridge ? DP_DROP_COUNT : DP_DROP_VLAN_UNKNOWN;
}

/* Takes the priority tag (VID 0) off a frame that came with one; for frames with info->tag_count only. */
void vlan_normalise(struct packet *packet, const struct frame_info *info);

/* Gives the frame the tag with which it leaves by a member: vid, or none for 0. May be called again for the
 * next member of a flood. */
void vlan_egress_edit(struct packet *packet, struct vlan_state *state, uint16_t vid);

/* False: the frame may not leave so. Untagged on a trunk with an inner tag in front, it would enter another
 * VLAN there. */
static inline bool vlan_egress(struct packet *packet, struct vlan_state *state, uint16_t vid, bool is_trunk)
{
    if (__builtin_expect(!vid && !state->tagged && !state->inner, 1))
        return true;
    if (!vid && is_trunk && state->inner)
        return false;
    vlan_egress_edit(packet, state, vid);
    return true;
}
