/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Counters of a port: one struct port_counters a worker, written by that worker only, summed by the control
 * thread. A reader may see a batch half counted; once traffic rests the invariants of dataplane_api.h hold
 * exactly.
 */
#include <stdbool.h>
#include "port.h"

/* worker: its own counter, so no read-modify-write has to be atomic */
static inline void counter_add(uint64_t *counter, uint64_t count)
{
    __atomic_store_n(counter, *counter + count, __ATOMIC_RELAXED);
}

/* any thread */
static inline uint64_t counter_read(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* worker: a frame of `size` bytes that the port itself drops at reception */
void counters_drop(struct port *port, unsigned queue, unsigned worker, uint32_t size, enum dp_drop reason);

/* control: a zeroed port with its counters for `workers` workers, wake_fds -1; NULL and ENOMEM */
struct port *port_new(const struct dp_port *config, const struct port_ops *ops, unsigned workers);
uint32_t port_max_frame(const struct dp_port *config); /* for port->max_frame */
void port_free(struct port *port);

/* control: sums of all workers */
void counters_port(const struct port *port, struct dp_port_counters *sum);
/* control: rx/tx fields of one queue, summed */
void counters_queue(const struct port *port, unsigned queue, struct dp_queue_state *state);
/* True if the invariants hold (when no worker is in a round). */
bool counters_consistent(const struct dp_port_counters *sum);
