/* SPDX-License-Identifier: BSD-3-Clause */
#include "program.h"

#include <errno.h>
#include "bridge.h"
#include "storm.h"
#include "tsc.h"

#define ADDRESS_MASK UINT64_C(0xffffffffffff)

int program_init(struct program *program, struct notifier *notifier, unsigned worker)
{
    program->storm_burst = storm_burst();
    return output_init(&program->output, notifier, worker);
}

void program_fini(struct program *program)
{
    output_fini(&program->output);
}

/* All checks of a frame by itself. DP_DROP_COUNT: it may go on, and frame has its bridge and VLAN. */
static inline enum dp_drop admit(const struct ingress *ingress, struct packet *packet, struct frame *frame)
{
    struct frame_info info;
    if (__builtin_expect(packet->size > ingress->port->max_frame, 0) && packet->gso_type == VNET_GSO_NONE)
        return DP_DROP_RX_OVERSIZE;
    if (!parse_l2(packet, &info))
        return DP_DROP_RX_MALFORMED;
    if (__builtin_expect(info.flags & (FRAME_F_RESERVED | FRAME_F_SOURCE_GROUP), 0))
        return DP_DROP_RESERVED_MAC;
    enum dp_drop drop = vlan_ingress(ingress, &info, &frame->vlan, &frame->bridge);
    if (__builtin_expect(drop != DP_DROP_COUNT, 0))
        return drop;
    /* A trunk's native VLAN is reached untagged, also if this frame came with its tag. */
    frame->vid = frame->bridge == ingress->native ? DP_MEMBER_UNTAGGED : info.tci & VLAN_VID_MASK;
    if ((packet->flags | packet->gso_type) && !offload_validate(packet, &info))
        return DP_DROP_RX_OFFLOAD;
    if (ingress->spoof) {
        drop = spoof_check(ingress->spoof, packet, &info);
        if (drop != DP_DROP_COUNT)
            return drop;
    }
    if (__builtin_expect(info.tag_count, 0))
        vlan_normalise(packet, &info);
    return DP_DROP_COUNT;
}

/* Keys of the address table; their buckets are on the way to the cache while the rest of the batch is looked
 * at. */
static inline void address_keys(const struct program *program, struct frame *frame, uint64_t last_source,
                                uint64_t last_destination)
{
    uint64_t destination, source;
    memcpy(&destination, frame->packet->data, sizeof(destination));
    memcpy(&source, frame->packet->data + 6, sizeof(source));
    frame->source = fdb_key(frame->bridge->id, source & ADDRESS_MASK);
    frame->destination = fdb_key(frame->bridge->id, destination & ADDRESS_MASK);
    if (frame->source != last_source) {
        frame->source_hash = fdb_hash(program->table, frame->source);
        __builtin_prefetch(fdb_first(program->table, frame->source_hash));
    }
    if (frame->destination != last_destination) {
        frame->destination_hash = fdb_hash(program->table, frame->destination);
        __builtin_prefetch(fdb_first(program->table, frame->destination_hash));
    }
}

/* First pass. Returns how many frames go on, in program->frames. */
static unsigned classify(struct program *program, struct packet_vector *vector, uint64_t *bytes)
{
    const struct ingress *ingress = program->ingress;
    uint64_t last_source = 0, last_destination = 0, sum = 0;
    unsigned count = 0;

    for (unsigned i = 0; i < vector->count; i++) {
        struct packet *packet = &vector->packets[i];
        struct frame *frame = &program->frames[count];
        sum += packet->size;
        enum dp_drop drop = admit(ingress, packet, frame);
        if (__builtin_expect(drop != DP_DROP_COUNT, 0)) {
            program_drop(program, drop);
            continue;
        }
        frame->packet = packet;
        address_keys(program, frame, last_source, last_destination);
        last_source = frame->source;
        last_destination = frame->destination;
        count++;
    }
    *bytes = sum;
    return count;
}

void program_run(struct program *program, const struct snapshot *snapshot, struct ingress *ingress,
                 unsigned queue, struct packet_vector *vector)
{
    uint64_t bytes = 0;
    program->snapshot = snapshot;
    program->ingress = ingress;
    program->counters = ingress->port->counters[program->output.io.worker];
    program->table = __atomic_load_n(&snapshot->fdb->table, __ATOMIC_ACQUIRE);
    program->output.source_queue = queue;

    if (__builtin_expect(ingress->flags & DP_PORT_F_DOWN, 0)) {
        for (unsigned i = 0; i < vector->count; i++)
            bytes += vector->packets[i].size;
        counter_add(&program->counters->rx_drops[DP_DROP_PORT_DOWN], vector->count);
    } else {
        unsigned count = classify(program, vector, &bytes);
        bridge_forward(program, count);
    }
    counter_add(&program->counters->rx_packets, vector->count);
    counter_add(&program->counters->rx_bytes, bytes);
    counter_add(&program->counters->queues[queue].rx_packets, vector->count);
    counter_add(&program->counters->queues[queue].rx_bytes, bytes);
}
