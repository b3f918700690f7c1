/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What the dataplane says of its ports, queues and workers at this moment, indexed by port.
 *
 * Threads: weftd has one.
 */
#include <jansson.h>
#include "controller.h"

struct runtime {
    struct dp_port_state *states;
    struct dp_port_counters *counters;
    struct dp_queue_state *queues;
    struct dp_worker_state *workers;
    size_t queue_count, worker_count;
    const struct dp_port_state *state_of[DP_PORTS_MAX];
    const struct dp_port_counters *counters_of[DP_PORTS_MAX];
};

/* Asks the dataplane; everything is empty if it is not running. To be freed. */
struct runtime *runtime_load(struct controller *controller);
void runtime_free(struct runtime *runtime);

bool runtime_up(const struct runtime *runtime, uint32_t port);
/* Sums over both directions. */
uint64_t runtime_drops_from(const struct dp_port_counters *counters);
uint64_t runtime_drops_to(const struct dp_port_counters *counters);
/* rx_packets, rx_bytes, tx_packets, tx_bytes, drops of these ports, added up, and how many are up. */
struct runtime_totals {
    uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes, drops;
    unsigned ports_up;
};
void runtime_add(const struct runtime *runtime, uint32_t port, struct runtime_totals *totals);
void runtime_set_totals(json_t *item, const struct runtime_totals *totals);
