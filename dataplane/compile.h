/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Objects of the programming socket to the snapshot that workers read.
 *
 * Threads: control. Errors: NULL and ENOMEM; the objects are expected to have passed objects_check().
 */
#include "objects.h"
#include "snapshot.h"

/* A port as it is open: what polls it, and which worker polls which of its receive queues. */
struct compile_port {
    struct port *port; /* NULL: not open, left out of the snapshot */
    uint8_t workers[DP_QUEUES_MAX];
};

/* `nat`: NULL: nothing is translated. `ports`: DP_PORTS_MAX of them, by port id. Queues that are polled: the
 * configured ones. */
struct snapshot *compile(const struct objects *objects, struct fdb *fdb, struct nat *nat,
                         const struct compile_port *ports);

/* The port's output in the segment; NULL: not a member (or not open). */
const struct output *snapshot_output(const struct snapshot *snapshot, uint32_t segment, uint32_t port);
