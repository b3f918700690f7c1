/* SPDX-License-Identifier: BSD-3-Clause */
#include "output.h"

#include <errno.h>

int output_init(struct output_stage *stage, struct notifier *notifier, unsigned worker)
{
    stage->io.notifier = notifier;
    stage->io.worker = worker;
    stage->count = 0;
    stage->segmenter = segmenter_new();
    return stage->segmenter ? 0 : -ENOMEM;
}

void output_fini(struct output_stage *stage)
{
    segmenter_free(stage->segmenter);
}

struct output_batch *output_batch_of(struct output_stage *stage, struct ingress *to)
{
    unsigned index = stage->batch_of[to->id];
    if (index < stage->count && stage->batches[index].to == to)
        return &stage->batches[index];
    stage->batch_of[to->id] = (uint8_t)stage->count;
    struct output_batch *batch = &stage->batches[stage->count++];
    batch->to = to;
    batch->count = 0;
    batch->size_max = 0;
    batch->offloads = 0;
    return batch;
}

void output_refuse(struct output_stage *stage, const struct ingress *to, enum dp_drop reason, unsigned count)
{
    struct port_counters *counters = to->port->counters[stage->io.worker];
    counter_add(&counters->tx_offered, count);
    counter_add(&counters->tx_drops[reason], count);
}

static unsigned output_queue(const struct output_stage *stage, const struct port *port)
{
    return __atomic_load_n(&port->tx_map[(stage->io.worker + stage->source_queue) & (PORT_TX_MAP - 1)],
                           __ATOMIC_RELAXED);
}

static void transmit(struct output_stage *stage, struct port *port, struct packet *const *packets,
                     unsigned count)
{
    struct port_counters *counters = port->counters[stage->io.worker];
    unsigned queue = output_queue(stage, port);
    struct vring_tx_result result = {0};
    port->ops->tx(port, queue, packets, count, &stage->io, &result);
    counter_add(&counters->tx_packets, result.sent);
    counter_add(&counters->tx_bytes, result.sent_bytes);
    counter_add(&counters->queues[queue].tx_packets, result.sent);
    counter_add(&counters->queues[queue].tx_bytes, result.sent_bytes);
    if (__builtin_expect(result.sent != count, 0)) {
        counter_add(&counters->tx_drops[DP_DROP_TX_FULL], result.no_room);
        counter_add(&counters->tx_drops[DP_DROP_TX_OVERSIZE], result.too_big);
    }
}

/* A frame of which not all pieces were written is lost to its receiver's TCP at that point: it counts as
 * dropped. */
static void transmit_segmented(struct output_stage *stage, struct port *port, const struct packet *packet)
{
    struct port_counters *counters = port->counters[stage->io.worker];
    unsigned queue = output_queue(stage, port), count;
    uint32_t offloads = __atomic_load_n(&port->offloads, __ATOMIC_RELAXED);
    struct packet *pieces[PACKET_VECTOR_MAX];
    enum dp_drop drop = DP_DROP_COUNT;

    segmenter_start(stage->segmenter, packet, offloads);
    while (drop == DP_DROP_COUNT &&
           (count = segmenter_next(stage->segmenter, pieces, PACKET_VECTOR_MAX)) > 0) {
        struct vring_tx_result result = {0};
        port->ops->tx(port, queue, pieces, count, &stage->io, &result);
        counter_add(&counters->tx_segments, result.sent);
        counter_add(&counters->tx_bytes, result.sent_bytes);
        counter_add(&counters->queues[queue].tx_bytes, result.sent_bytes);
        if (result.sent != count)
            drop = result.too_big ? DP_DROP_TX_OVERSIZE : DP_DROP_TX_FULL;
    }
    if (drop == DP_DROP_COUNT) {
        counter_add(&counters->tx_packets, 1);
        counter_add(&counters->queues[queue].tx_packets, 1);
    } else {
        counter_add(&counters->tx_drops[drop], 1);
    }
}

static bool output_too_big(const struct packet *packet, uint32_t max_frame)
{
    if (packet->gso_type == VNET_GSO_NONE)
        return packet->size > max_frame;
    return (uint32_t)packet->hdr_len + packet->gso_size > max_frame;
}

/* checksum_complete, with the original remembered if it is needed again. */
static bool complete(struct output_stage *stage, struct packet *packet, unsigned *saved, bool keep)
{
    if (!keep)
        return checksum_complete(packet);
    struct output_saved *save = &stage->saved[*saved];
    uint32_t field = (uint32_t)packet->csum_start + packet->csum_offset;
    if (field + sizeof(save->checksum) > packet->header_size)
        return false;
    save->packet = packet;
    save->original = *packet;
    memcpy(save->checksum, packet->data + field, sizeof(save->checksum));
    ++*saved;
    return checksum_complete(packet);
}

static void restore(struct output_stage *stage, unsigned saved)
{
    for (unsigned i = 0; i < saved; i++) {
        struct output_saved *save = &stage->saved[i];
        *save->packet = save->original;
        memcpy(save->packet->data + save->packet->csum_start + save->packet->csum_offset, save->checksum,
               sizeof(save->checksum));
    }
}

/* The output takes the packet as it is, or with its checksum completed. */
static bool ready(struct output_stage *stage, struct packet *packet, uint32_t offloads, unsigned *saved,
                  bool keep)
{
    return offload_fits(packet, offloads) ||
           (packet->gso_type == VNET_GSO_NONE && complete(stage, packet, saved, keep));
}

/* The way of batches with an offload request or a large frame in them; frames stay in order. */
static void send_adapted(struct output_stage *stage, struct port *port, const struct output_batch *batch,
                         bool keep)
{
    struct port_counters *counters = port->counters[stage->io.worker];
    uint32_t offloads = __atomic_load_n(&port->offloads, __ATOMIC_RELAXED);
    uint32_t max_frame = __atomic_load_n(&port->max_frame, __ATOMIC_RELAXED);
    struct packet *run[PACKET_VECTOR_MAX];
    unsigned count = 0, saved = 0;

    for (unsigned i = 0; i < batch->count; i++) {
        struct packet *packet = batch->packets[i];
        if (output_too_big(packet, max_frame)) {
            counter_add(&counters->tx_drops[DP_DROP_TX_OVERSIZE], 1);
        } else if (ready(stage, packet, offloads, &saved, keep)) {
            run[count++] = packet;
        } else if (packet->gso_type != VNET_GSO_NONE) {
            if (count)
                transmit(stage, port, run, count);
            count = 0;
            transmit_segmented(stage, port, packet);
        } else {
            counter_add(&counters->tx_drops[DP_DROP_TX_CHECKSUM], 1);
        }
    }
    if (count)
        transmit(stage, port, run, count);
    restore(stage, saved);
}

void output_send(struct output_stage *stage, struct output_batch *batch, bool keep)
{
    const struct ingress *to = batch->to;
    struct port *port = to->port;
    uint32_t max_frame = __atomic_load_n(&port->max_frame, __ATOMIC_RELAXED);
    unsigned count = batch->count;
    if (!count)
        return;
    counter_add(&port->counters[stage->io.worker]->tx_offered, count);
    if (__builtin_expect(!__atomic_load_n(&port->link, __ATOMIC_RELAXED) || to->flags & DP_PORT_F_DOWN, 0))
        counter_add(&port->counters[stage->io.worker]->tx_drops[DP_DROP_TX_DOWN], count);
    else if (__builtin_expect(batch->size_max <= max_frame && !batch->offloads, 1))
        transmit(stage, port, batch->packets, count);
    else
        send_adapted(stage, port, batch, keep);
}

void output_flush(struct output_stage *stage)
{
    for (unsigned i = 0; i < stage->count; i++)
        output_send(stage, &stage->batches[i], false);
    stage->count = 0;
}
