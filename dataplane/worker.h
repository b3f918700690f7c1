/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The polling threads. One process has one set of workers, started once. Workers are pinned pthreads,
 * registered with EAL (rte_thread_register) so that mempools give them a cache; EAL itself needs one lcore
 * only, the control thread's.
 *
 * Threads: everything here is called from the control thread.
 */
#include <stdbool.h>
#include <stdint.h>
#include "dataplane_api.h"
#include "port.h"

struct router_note;
struct router_rings;
struct snapshot;

/* Starts `count` workers, 1..DP_WORKERS_MAX, worker i pinned to CPU cores[i] (-1: not pinned). They sleep
 * until a snapshot gives them queues. 0 or -errno (nothing is left running). */
int workers_start(const int *cores, unsigned count);
/* Stops and joins them. Ports and snapshot may be freed afterwards. */
void workers_stop(void);
unsigned workers_count(void);

/* Release store of the snapshot for all workers; sleeping ones are woken. Brings the workers' wake-up
 * descriptors in line with its polls. The old snapshot (and what only it points to) may be freed after
 * workers_quiesce(). */
void workers_publish(const struct snapshot *snapshot);
/* Returns when every worker has passed the end of a round since the call (control_quiesce). Sleeping workers
 * count as passed. Without workers: at once. */
void workers_quiesce(void);

/* control_wake_fd: the wake descriptor of a receive queue changed (-1: none). The old one must still be open.
 */
void workers_wake_fd(struct port *port, unsigned queue, int fd);

/* What was published last; NULL: nothing yet. */
const struct snapshot *workers_snapshot(void);

/* control_announce, punt.c: a worker handles `frame` as if it had been received from the port (untagged;
 * learned, flooded, counted). At most 256 wait; -EAGAIN beyond that, -EMSGSIZE beyond DP_PUNT_FRAME_MAX,
 * -ENOENT if the published snapshot does not have the port, -ENOMEM. */
int workers_inject(const struct port *port, const void *frame, uint32_t size);
/* neighbour_ops.resume: a packet that waited goes on at the router port. As workers_inject. */
int workers_resume(struct port *port, const struct router_note *note, bool failed);
/* What was injected or resumed is handled; a tenth of a second at most. */
void workers_settle(void);
/* A worker's rings to the control thread, and the eventfd that says that there is something in one. */
struct router_rings *workers_rings(unsigned worker);
int workers_rings_fd(void);
/* A RARP request (RFC 903) for `mac` injected so that the segment learns where it is. 0 or as workers_inject.
 */
int workers_announce(const struct port *port, const uint8_t mac[6]);

/* False if there is no such worker. */
bool workers_state(unsigned worker, struct dp_worker_state *state);
/* Which worker polls the queue according to the published snapshot; -1: none. */
int workers_of_queue(const struct port *port, unsigned queue);
