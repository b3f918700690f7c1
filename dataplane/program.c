/* SPDX-License-Identifier: BSD-3-Clause */
#include "program.h"

#include <errno.h>
#include "bridge.h"
#include "router.h"
#include "storm.h"
#include "tsc.h"

/* of eight bytes, little endian, that begin with an address */
#define ADDRESS_MASK       UINT64_C(0xffffffffffff)
#define GROUP_BIT          1u
#define RESERVED_MASK      UINT64_C(0xf0ffffffffff)
#define RESERVED_ADDRESSES UINT64_C(0x000000c28001) /* 01:80:c2:00:00:00..0f, IEEE 802.1Q table 8-1 */

int program_init(struct program *program, struct notifier *notifier, unsigned worker, int wake_fd)
{
    program->router = program->output.io.router = router_stage_new(wake_fd);
    if (!program->router)
        return -ENOMEM;
    program->storm_burst = storm_burst();
    return output_init(&program->output, notifier, worker);
}

void program_fini(struct program *program)
{
    router_stage_free(program->router);
    output_fini(&program->output);
}

/* All checks of a frame by itself. DP_DROP_COUNT: it may go on, and frame has its bridge and VLAN. */
static inline enum dp_drop admit(const struct ingress *ingress, struct packet *packet, struct frame *frame)
{
    struct frame_info info;
    if (__builtin_expect(packet->size > __atomic_load_n(&ingress->port->max_frame, __ATOMIC_RELAXED), 0) &&
        packet->gso_type == VNET_GSO_NONE)
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

/* The Ethernet header of the last frame that went on. */
struct last_header {
    uint64_t first, second; /* bytes 0-7 and 6-13 */
    bool plain;             /* nothing else was looked at to let it pass */
};

static inline uint64_t load_8(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

/* Untagged IP without an offload request, into `bridge`, which is NULL for ports without one and those that
 * check sources: the 14 bytes say all that admit() would find out. */
static inline bool is_plain(const struct packet *packet, const struct bridge *bridge, uint32_t max_frame,
                            uint64_t first, uint64_t second)
{
    uint16_t type = (uint16_t)(second >> 48);
    return bridge && (type == htobe16(ETHERTYPE_IPV4) || type == htobe16(ETHERTYPE_IPV6)) &&
           !(packet->flags | packet->gso_type) && packet->size <= max_frame &&
           packet->header_size >= ETHERNET_HEADER_SIZE && !(second & GROUP_BIT) &&
           (first & RESERVED_MASK) != RESERVED_ADDRESSES;
}

/* First pass. Returns how many frames go on, in program->frames. Their buckets of the address table are on
 * the way to the cache while the rest of the batch is looked at. */
static unsigned classify(struct program *program, struct packet_vector *vector, uint64_t *bytes)
{
    const struct ingress *ingress = program->ingress;
    const struct fdb_table *table = program->table;
    struct last_header last = {.plain = false};
    uint32_t max_frame = __atomic_load_n(&ingress->port->max_frame, __ATOMIC_RELAXED);
    struct bridge *plain_bridge = ingress->spoof ? NULL : ingress->native;
    uint64_t sum = 0, last_source = 0, last_destination = 0;
    unsigned count = 0;

    for (unsigned i = 0; i < vector->count; i++) {
        struct packet *packet = &vector->packets[i];
        struct frame *frame = &program->frames[count];
        uint64_t first = load_8(packet->data), second = load_8(packet->data + 6);
        sum += packet->size;
        frame->packet = packet;
        if (__builtin_expect(!((first ^ last.first) | (second ^ last.second)), 0) && last.plain &&
            !(packet->flags | packet->gso_type) && packet->size <= max_frame &&
            packet->header_size >= ETHERNET_HEADER_SIZE) {
            frame->repeats = true;
            count++;
            continue;
        }
        frame->repeats = false;
        bool plain = is_plain(packet, plain_bridge, max_frame, first, second);
        if (__builtin_expect(plain, 1)) {
            frame->bridge = plain_bridge;
            frame->vlan = (struct vlan_state){.tpid = ETHERTYPE_VLAN};
            frame->vid = DP_MEMBER_UNTAGGED;
        } else {
            enum dp_drop drop = admit(ingress, packet, frame);
            if (__builtin_expect(drop != DP_DROP_COUNT, 0)) {
                program_drop(program, drop);
                continue;
            }
        }
        last = (struct last_header){first, second, plain};
        frame->source = fdb_key(frame->bridge->id, second & ADDRESS_MASK);
        frame->destination = fdb_key(frame->bridge->id, first & ADDRESS_MASK);
        if (frame->source != last_source) {
            last_source = frame->source;
            frame->source_hash = fdb_hash(table, frame->source);
            __builtin_prefetch(fdb_first(table, frame->source_hash));
        }
        if (frame->destination != last_destination) {
            last_destination = frame->destination;
            frame->destination_hash = fdb_hash(table, frame->destination);
            __builtin_prefetch(fdb_first(table, frame->destination_hash));
        }
        count++;
    }
    *bytes = sum;
    return count;
}

void program_start(struct program *program, const struct snapshot *snapshot)
{
    program->snapshot = snapshot;
    program->table = __atomic_load_n(&snapshot->fdb->table, __ATOMIC_ACQUIRE);
}

void program_emit(struct program *program, struct ingress *ingress, struct packet *const *packets,
                  unsigned count)
{
    struct bridge *bridge = ingress->native;
    struct port_counters *counters = ingress->port->counters[program->output.io.worker];
    uint64_t bytes = 0, last_destination = 0, last_source = 0;
    program->ingress = ingress;
    program->counters = counters;
    for (unsigned i = 0; i < count; i++) {
        struct frame *frame = &program->frames[i];
        frame->packet = packets[i];
        frame->repeats = false;
        frame->bridge = bridge;
        frame->vid = DP_MEMBER_UNTAGGED;
        frame->vlan = (struct vlan_state){.tpid = ETHERTYPE_VLAN};
        bytes += packets[i]->size;
        if (!bridge)
            continue;
        frame->source = fdb_key(bridge->id, load_8(packets[i]->data + 6) & ADDRESS_MASK);
        frame->destination = fdb_key(bridge->id, load_8(packets[i]->data) & ADDRESS_MASK);
        if (frame->source != last_source) {
            last_source = frame->source;
            frame->source_hash = fdb_hash(program->table, frame->source);
        }
        if (frame->destination != last_destination) {
            last_destination = frame->destination;
            frame->destination_hash = fdb_hash(program->table, frame->destination);
            __builtin_prefetch(fdb_first(program->table, frame->destination_hash));
        }
    }
    counter_add(&counters->rx_packets, count);
    counter_add(&counters->rx_bytes, bytes);
    counter_add(&counters->queues[0].rx_packets, count);
    counter_add(&counters->queues[0].rx_bytes, bytes);
    if (ingress->flags & DP_PORT_F_DOWN)
        counter_add(&counters->rx_drops[DP_DROP_PORT_DOWN], count);
    else if (!bridge)
        counter_add(&counters->rx_drops[DP_DROP_VLAN_UNKNOWN], count);
    else
        bridge_forward(program, count);
}

void program_run(struct program *program, const struct snapshot *snapshot, struct ingress *ingress,
                 unsigned queue, struct packet_vector *vector)
{
    uint64_t bytes = 0;
    program_start(program, snapshot);
    program->ingress = ingress;
    program->counters = ingress->port->counters[program->output.io.worker];
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
    if (__builtin_expect(program->router->count, 0))
        router_run(program, ingress->id);
}
