/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The configuration as workers see it: immutable once published, replaced as a whole by one release store, freed after
 * a grace period. compile.c (control) builds it from the objects of the programming socket; program.c and bridge.c
 * (workers) only read it. What changes while it is in force (learned addresses, counters, link) lives in objects that
 * the snapshot points to and that outlive it (struct port, struct bridge_state, the FDB).
 */
#include "port.h"
#include "spoof.h"

struct fdb;

/* Learned-address bookkeeping of a segment; workers: rw atomically, control: r. Lives as long as the segment id. */
struct bridge_state {
    uint32_t learned;    /* addresses in the FDB */
    uint32_t generation; /* flush: entries with another generation are not there */
} __attribute__((aligned(64)));

/* One way out of a segment. */
struct output {
    struct port *port;
    uint16_t vid;       /* tag that the frame gets; 0: untagged */
    uint8_t is_trunk;   /* the port carries tagged members too: an untagged frame that still bears an inner tag is
                           not sent here (VLAN hopping) */
    uint8_t isolated;   /* DP_PORT_F_ISOLATED */
    uint32_t tenant;    /* the port's; 0: any */
};

struct bridge {
    uint32_t id;     /* segment id */
    uint32_t tenant;
    uint32_t ageing_s;
    uint32_t mac_limit;
    struct bridge_state *state;
    unsigned output_count;
    struct output *outputs; /* every member, for flooding */
};

/* One port as ingress. */
struct ingress {
    struct port *port;
    uint32_t flags;                /* DP_PORT_F_* */
    uint32_t mac_limit;
    uint32_t storm_pps;
    struct bridge *native;         /* untagged and priority-tagged frames; NULL: refused */
    struct bridge **by_vid;        /* trunk: 4096 entries; NULL: tagged frames are refused (access port) */
    struct spoof_table *spoof;     /* NULL: no check */
};

struct poll_queue {
    struct ingress *ingress;
    uint32_t queue;
};

struct snapshot {
    uint64_t generation;
    struct fdb *fdb;
    struct ingress *ingress[DP_PORTS_MAX];  /* by port id; NULL: no such port */
    struct bridge *bridges[DP_SEGMENTS_MAX]; /* by segment id */
    unsigned poll_count[DP_WORKERS_MAX];
    struct poll_queue *polls[DP_WORKERS_MAX]; /* receive queues of each worker */
};

/* control */
void snapshot_free(struct snapshot *snapshot);
