/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The L2 program: what happens to the frames of one reception. A packet's way:
 *
 *   port rx -> classify (program.c: size, parse, VLAN, offload request, anti-spoofing) -> bridge.c (learn,
 * look up)
 *           -> output.c (known address) or flood.c (every member) -> port tx -> port rx_done
 *                                                                        -> router.c (router ports) ->
 * bridge.c ...
 *
 * Threads: a struct program belongs to one worker; nothing of a frame stays in it after program_run.
 */
#include "fdb.h"
#include "output.h"
#include "vlan.h"

/* A frame that was not dropped so far. */
struct frame {
    struct packet *packet;
    struct bridge *bridge;
    uint64_t source, destination;           /* keys of the address table */
    uint64_t source_hash, destination_hash; /* valid in the first frame of a row with the same key */
    struct vlan_state vlan;
    uint16_t vid; /* outer tag as received; 0: untagged or priority-tagged */
    /* Same Ethernet header as the frame before it: only `packet` is valid, the rest is that frame's. */
    bool repeats;
};

struct program {
    /* this round's */
    const struct snapshot *snapshot;
    struct ingress *ingress;
    struct port_counters *counters; /* the ingress port's, of this worker */
    const struct fdb_table *table;
    uint64_t now;   /* TSC */
    uint32_t now_s; /* CLOCK_MONOTONIC, seconds */
    /* the worker's */
    uint64_t storm_burst; /* storm_burst() */
    struct frame frames[PACKET_VECTOR_MAX];
    struct frame *flooded[PACKET_VECTOR_MAX];
    struct output_stage output;
    struct router_stage *router; /* output.io.router */
};

/* Zeroed memory, 64-byte aligned. wake_fd: of the control thread (router.h); -1: none. 0 or -ENOMEM */
int program_init(struct program *program, struct notifier *notifier, unsigned worker, int wake_fd);
void program_fini(struct program *program);

/* Handles vector->packets[0..count), received from the ingress port's queue. program->now and now_s are the
 * caller's. */
void program_run(struct program *program, const struct snapshot *snapshot, struct ingress *ingress,
                 unsigned queue, struct packet_vector *vector);

/* Sends frames into the segment of a router port as if they had been received from it. At most
 * PACKET_VECTOR_MAX; their headers may be changed. Within program_run, after the L2 program's own frames. */
void program_emit(struct program *program, struct ingress *ingress, struct packet *const *packets,
                  unsigned count);
/* What program_run and router_resume begin with. */
void program_start(struct program *program, const struct snapshot *snapshot);

/* Counts a received frame that goes nowhere. */
static inline void program_drop(struct program *program, enum dp_drop reason)
{
    counter_add(&program->counters->rx_drops[reason], 1);
}
