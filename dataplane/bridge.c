/* SPDX-License-Identifier: BSD-3-Clause */
#include "bridge.h"

#include "flood.h"
#include "storm.h"

#define GROUP_BIT 1u /* of the first byte of an address, which is the lowest of a key */

/* The end of a known address. */
struct way {
    struct ingress *to; /* NULL: not known */
    struct output_batch *batch;
    const struct bridge *bridge;
    uint64_t value; /* of the address table */
    uint16_t vid;
};

/* What frames from one VLAN of the port have in common for the address table. */
static struct fdb_source source_of(const struct program *program, const struct frame *frame)
{
    const struct ingress *ingress = program->ingress;
    uint32_t to = ingress->id | (uint32_t)frame->vid << 12;
    return (struct fdb_source){
        .to = to,
        .port_limit = ingress->mac_limit,
        .segment_limit = frame->bridge->mac_limit,
        .now_s = program->now_s,
        .value = fdb_source_value(program->snapshot->fdb, frame->bridge->id, to, program->now_s),
    };
}

/* Rows of frames with the same address: the hash stands in the first one of a row only. */
struct row {
    uint64_t address, hash;
};

static inline uint64_t row_hash(struct row *row, uint64_t address, uint64_t hash)
{
    if (address != row->address)
        *row = (struct row){.address = address, .hash = hash};
    return row->hash;
}

/* The sender that was last allowed. */
struct sender {
    uint64_t address;         /* 0: none yet */
    struct fdb_source source; /* for frames of this segment with this tag; segment 0: none yet */
    uint64_t segment;
    uint16_t vid;
};

static inline bool sender_allowed(struct program *program, const struct frame *frame, uint64_t hash,
                                  struct sender *sender)
{
    if (frame->source == sender->address)
        return true;
    if (frame->source >> 48 != sender->segment || frame->vid != sender->vid) {
        sender->source = source_of(program, frame);
        sender->segment = frame->source >> 48;
        sender->vid = frame->vid;
    }
    enum fdb_learned learned =
        fdb_learn(program->snapshot->fdb, program->table, frame->source, hash, &sender->source);
    if (__builtin_expect(learned != FDB_LEARNED, 0)) {
        program_drop(program, learned == FDB_LIMIT ? DP_DROP_MAC_LIMIT : DP_DROP_RX_PROTECTED);
        return false;
    }
    sender->address = frame->source;
    return true;
}

/* The port must be a member of this bridge by that tag in this very configuration: an entry from before a
 * change, or of another segment, is not a way out. True: the same way as before. */
static inline bool way_find(const struct program *program, const struct frame *frame, uint64_t hash,
                            struct way *way)
{
    uint64_t valid = frame->bridge == way->bridge ? way->value : 0;
    uint64_t value = fdb_lookup(program->snapshot->fdb, program->table, frame->destination, hash, valid);
    if (valid && fdb_value_same(value, valid))
        return true;
    *way = (struct way){.bridge = frame->bridge, .value = value};
    if (!value)
        return false;
    struct ingress *to = program->snapshot->ingress[FDB_VALUE_PORT(value)];
    uint16_t vid = (uint16_t)FDB_VALUE_VID(value);
    if (!to || (vid && !to->by_vid))
        return false;
    if ((vid ? to->by_vid[vid] : to->native) == frame->bridge) {
        way->to = to;
        way->vid = vid;
    }
    return false;
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

/* What a frame has in common with the one before it. */
static void frame_complete(struct frame *frame)
{
    struct packet *packet = frame->packet;
    *frame = frame[-1];
    frame->packet = packet;
    frame->repeats = false;
    frame->vlan = (struct vlan_state){.tpid = ETHERTYPE_VLAN}; /* the other may have left with a tag */
}

void bridge_forward(struct program *program, unsigned count)
{
    struct row sources = {0}, destinations = {0};
    struct sender sender = {0};
    struct way way = {0};
    uint64_t last_destination = 0;
    unsigned forwarded = 0, flooded = 0;
    bool open = false; /* the frame before this one went by `way`, without a change of its header */

    for (unsigned i = 0; i < count; i++) {
        struct frame *frame = &program->frames[i];
        if (__builtin_expect(frame->repeats, 0)) {
            if (__builtin_expect(open, 1)) {
                output_push(way.batch, frame->packet);
                forwarded++;
                continue;
            }
            frame_complete(frame);
        }
        uint64_t source_hash = row_hash(&sources, frame->source, frame->source_hash);
        uint64_t destination_hash = row_hash(&destinations, frame->destination, frame->destination_hash);
        if (!sender_allowed(program, frame, source_hash, &sender)) {
            open = false;
            continue;
        }
        if (frame->destination & GROUP_BIT) {
            open = false;
            if (flood_allowed(program))
                program->flooded[flooded++] = frame;
            continue;
        }
        if (frame->destination != last_destination) {
            open &= way_find(program, frame, destination_hash, &way);
            last_destination = frame->destination;
        }
        if (open && !frame->vlan.tagged && !frame->vlan.inner) {
            output_push(way.batch, frame->packet);
            forwarded++;
            continue;
        }
        open = false;
        if (way.to) {
            bool addressed = output_known(program, frame, &way);
            forwarded += addressed;
            open = addressed && way.batch && !way.vid;
        } else if (flood_allowed(program)) {
            program->flooded[flooded++] = frame;
        }
    }
    output_flush(&program->output);
    if (forwarded)
        counter_add(&program->counters->rx_forwarded, forwarded);
    if (flooded)
        flood_frames(program, flooded);
}
