/* SPDX-License-Identifier: BSD-3-Clause */
#include "bridge.h"

#include "flood.h"
#include "storm.h"

#define GROUP_BIT 1u /* of the first byte of an address, which is the lowest of a key */

/* The end of a known address. */
struct way {
    struct ingress *to; /* NULL: not known */
    struct output_batch *batch;
    uint16_t vid;
};

static bool source_allowed(struct program *program, const struct frame *frame, uint64_t hash)
{
    const struct ingress *ingress = program->ingress;
    struct fdb_source source = {
        .to = ingress->id | (uint32_t)frame->vid << 12,
        .port_limit = ingress->mac_limit,
        .segment_limit = frame->bridge->mac_limit,
        .now_s = program->now_s,
    };
    enum fdb_learned learned =
        fdb_learn(program->snapshot->fdb, program->table, frame->source, hash, &source);
    if (__builtin_expect(learned == FDB_LEARNED, 1))
        return true;
    program_drop(program, learned == FDB_LIMIT ? DP_DROP_MAC_LIMIT : DP_DROP_RX_PROTECTED);
    return false;
}

/* The port must be a member of this bridge by that tag in this very configuration: an entry from before a
 * change, or of another segment, is not a way out. */
static struct way way_to(const struct program *program, const struct frame *frame, uint64_t hash)
{
    struct way way = {0};
    uint64_t value = fdb_lookup(program->snapshot->fdb, program->table, frame->destination, hash);
    if (!value)
        return way;
    struct ingress *to = program->snapshot->ingress[FDB_VALUE_PORT(value)];
    uint16_t vid = (uint16_t)FDB_VALUE_VID(value);
    if (!to || (vid && !to->by_vid))
        return way;
    if ((vid ? to->by_vid[vid] : to->native) == frame->bridge) {
        way.to = to;
        way.vid = vid;
    }
    return way;
}

/* True: addressed to the output. */
static inline bool output_known(struct program *program, struct frame *frame, struct way *way)
{
    struct ingress *to = way->to;
    if (__builtin_expect(to == program->ingress, 0)) {
        program_drop(program, DP_DROP_SAME_PORT);
        return false;
    }
    if (__builtin_expect(bridge_isolated(program->ingress, to), 0)) {
        program_drop(program, DP_DROP_ISOLATED_PORT);
        return false;
    }
    if (__builtin_expect(!output_tenant_matches(to, frame->bridge), 0)) {
        output_refuse(&program->output, to, DP_DROP_TENANT, 1);
        return true;
    }
    if (__builtin_expect(!vlan_egress(frame->packet, &frame->vlan, way->vid, to->by_vid != NULL), 0)) {
        output_refuse(&program->output, to, DP_DROP_VLAN_TAG, 1);
        return true;
    }
    if (!way->batch)
        way->batch = output_batch_of(&program->output, to);
    output_push(way->batch, frame->packet);
    return true;
}

static inline bool flood_allowed(struct program *program)
{
    const struct ingress *ingress = program->ingress;
    if (__builtin_expect(!ingress->storm_interval, 1) ||
        storm_allows(ingress->port, ingress->storm_interval, program->storm_burst, program->now))
        return true;
    program_drop(program, DP_DROP_STORM);
    return false;
}

void bridge_forward(struct program *program, unsigned count)
{
    uint64_t last_source = 0, last_destination = 0, source_hash = 0, destination_hash = 0;
    uint64_t row_source = 0, row_destination = 0;
    unsigned forwarded = 0, flooded = 0;
    struct way way = {0};

    for (unsigned i = 0; i < count; i++) {
        struct frame *frame = &program->frames[i];
        if (frame->source != row_source) {
            row_source = frame->source;
            source_hash = frame->source_hash;
        }
        if (frame->destination != row_destination) {
            row_destination = frame->destination;
            destination_hash = frame->destination_hash;
        }
        if (frame->source != last_source) {
            if (!source_allowed(program, frame, source_hash))
                continue;
            last_source = frame->source;
        }
        if (frame->destination & GROUP_BIT) {
            if (flood_allowed(program))
                program->flooded[flooded++] = frame;
            continue;
        }
        if (frame->destination != last_destination) {
            way = way_to(program, frame, destination_hash);
            last_destination = frame->destination;
        }
        if (way.to)
            forwarded += output_known(program, frame, &way);
        else if (flood_allowed(program))
            program->flooded[flooded++] = frame;
    }
    output_flush(&program->output);
    if (forwarded)
        counter_add(&program->counters->rx_forwarded, forwarded);
    if (flooded)
        flood_frames(program, flooded);
}
