/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The configuration as workers see it: immutable once published, replaced as a whole by one release store,
 * freed after a grace period. compile.c (control) builds it from the objects of the programming socket;
 * program.c and bridge.c (workers) only read it. What changes while it is in force (learned addresses,
 * counters, link) lives in objects that the snapshot points to and that outlive it (struct port, struct fdb).
 *
 * A commit, on the control thread: open new ports; fdb_set_ageing and fdb_static_set for what is new; build
 * the snapshot; workers_publish(); workers_quiesce(); fdb_static_del and fdb_flush for removed segments and
 * ports; close removed ports; snapshot_free(old).
 */
#include "port.h"
#include "spoof.h"

struct fdb;
struct ingress;
struct interface;
struct nat;
struct nat_config;
struct router;

/* One way out of a segment: a member. */
struct output {
    struct ingress *to; /* the member's port, in the same snapshot */
    uint16_t vid;       /* tag that the frame gets; 0: untagged */
};

struct bridge {
    uint32_t id; /* segment id */
    uint32_t tenant;
    uint32_t mac_limit; /* learned addresses; 0: none but the table's */
    unsigned output_count;
    struct output *outputs; /* every member, for flooding */
};

/* One port, as the place where frames come in and as the end of a known address. */
struct ingress {
    struct port *port;
    uint32_t id;               /* the port's */
    uint32_t tenant;           /* the port's; 0: any. Output is refused if it is another than the bridge's */
    uint32_t flags;            /* DP_PORT_F_*; two ports with DP_PORT_F_ISOLATED do not reach each other */
    uint32_t mac_limit;        /* learned addresses; 0: none but the segment's */
    uint64_t storm_interval;   /* TSC cycles a flooded frame costs: storm_interval(pps); 0: no limit */
    struct bridge *native;     /* untagged and priority-tagged frames; NULL: refused */
    struct bridge **by_vid;    /* trunk: 4096 entries; NULL: tagged frames are refused (access port) */
    struct spoof_table *spoof; /* NULL: no check */
    const struct interface *interface; /* router port: its interface; NULL: none, or another kind of port */
};

struct poll_queue {
    struct ingress *ingress;
    uint32_t queue;
};

struct snapshot {
    uint64_t generation;
    uint64_t serial; /* no other snapshot of the process has it */
    struct fdb *fdb;
    struct nat *nat;                         /* sessions; NULL: none */
    struct nat_config *nat_config;           /* NULL: nothing is translated */
    struct ingress *ingress[DP_PORTS_MAX];   /* by port id; NULL: no such port */
    struct bridge *bridges[DP_SEGMENTS_MAX]; /* by segment id */
    unsigned poll_count[DP_WORKERS_MAX];
    struct poll_queue *polls[DP_WORKERS_MAX]; /* receive queues of each worker */
    unsigned router_count, interface_count;
    struct router *routers;       /* one a tenant, one an outside interface */
    struct interface *interfaces; /* router.h */
};

/* control */
void snapshot_free(struct snapshot *snapshot);
