/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The output stage: collects the frames of a round by output port, adapts them to what the port takes
 * (checksum, segmentation, size) and hands them over in one call a port. Every copy addressed to a port is
 * counted here, once as offered and once as sent or dropped.
 *
 * Threads: a stage belongs to one worker. Nothing stays in it between rounds.
 */
#include "counters.h"
#include "snapshot.h"

/* Frames for one port, in the order of their arrival. */
struct output_batch {
    struct ingress *to;
    unsigned count;
    uint32_t size_max; /* bytes of the largest */
    uint32_t offloads; /* any of them wants one */
    struct packet *packets[PACKET_VECTOR_MAX];
};

/* A frame of a flood before its checksum was completed for one of the outputs. */
struct output_saved {
    struct packet *packet;
    struct packet original;
    uint8_t checksum[2];
};

struct output_stage {
    struct worker_io io;
    struct segmenter *segmenter;
    unsigned source_queue;          /* of this round */
    unsigned count;                 /* batches in use */
    uint8_t batch_of[DP_PORTS_MAX]; /* a hint: batches[] says whose batch it is */
    struct output_batch batches[PACKET_VECTOR_MAX];
    struct output_saved saved[PACKET_VECTOR_MAX];
};

/* 0 or -ENOMEM */
int output_init(struct output_stage *stage, struct notifier *notifier, unsigned worker);
void output_fini(struct output_stage *stage);

/* The port's batch, a new one if it has none yet. At most PACKET_VECTOR_MAX ports a round. */
struct output_batch *output_batch_of(struct output_stage *stage, struct ingress *to);

/* May a frame of this tenant leave by that port? The second of the two checks; the first is the compiler's.
 */
static inline bool output_tenant_matches(const struct ingress *to, const struct bridge *bridge)
{
    return !to->tenant || to->tenant == bridge->tenant;
}

static inline void output_push(struct output_batch *batch, struct packet *packet)
{
    batch->packets[batch->count++] = packet;
    batch->offloads |= (uint32_t)(packet->flags | packet->gso_type);
    batch->size_max = packet->size > batch->size_max ? packet->size : batch->size_max;
}

/* Counts a frame that is refused at the output. */
void output_refuse(struct output_stage *stage, const struct ingress *to, enum dp_drop reason, unsigned count);

/* Sends and empties a batch. keep: the packets are needed again for the next output (but for their headroom).
 */
void output_send(struct output_stage *stage, struct output_batch *batch, bool keep);
/* Sends all batches of the round. */
void output_flush(struct output_stage *stage);
