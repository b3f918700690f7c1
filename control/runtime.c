/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>
#include "runtime.h"

static int load(struct controller *controller, struct runtime *runtime)
{
    struct dp_client *client = supervisor_client(controller->supervisor);
    size_t state_count = 0, counters_count = 0;
    void *objects = NULL;
    int error = dp_client_dump_all(client, DP_KIND_PORT_STATE, &objects, &state_count);
    runtime->states = objects;
    objects = NULL;
    if (!error)
        error = dp_client_dump_all(client, DP_KIND_PORT_COUNTERS, &objects, &counters_count);
    runtime->counters = objects;
    objects = NULL;
    if (!error)
        error = dp_client_dump_all(client, DP_KIND_QUEUE_STATE, &objects, &runtime->queue_count);
    runtime->queues = objects;
    objects = NULL;
    if (!error)
        error = dp_client_dump_all(client, DP_KIND_WORKER_STATE, &objects, &runtime->worker_count);
    runtime->workers = objects;
    for (size_t i = 0; i < state_count && !error; i++) {
        if (runtime->states[i].id < DP_PORTS_MAX)
            runtime->state_of[runtime->states[i].id] = &runtime->states[i];
    }
    for (size_t i = 0; i < counters_count && !error; i++) {
        if (runtime->counters[i].id < DP_PORTS_MAX)
            runtime->counters_of[runtime->counters[i].id] = &runtime->counters[i];
    }
    return error;
}

struct runtime *runtime_load(struct controller *controller)
{
    struct runtime *runtime = calloc(1, sizeof(*runtime));
    struct dp_client *client = supervisor_client(controller->supervisor);
    if (!runtime)
        abort();
    if (client && load(controller, runtime) < 0) {
        supervisor_disconnect(controller->supervisor, dp_client_error(client));
        runtime->queue_count = runtime->worker_count = 0;
    }
    return runtime;
}

void runtime_free(struct runtime *runtime)
{
    if (!runtime)
        return;
    free(runtime->states);
    free(runtime->counters);
    free(runtime->queues);
    free(runtime->workers);
    free(runtime);
}

bool runtime_up(const struct runtime *runtime, uint32_t port)
{
    const struct dp_port_state *state = runtime->state_of[port];
    return state && state->link;
}

static uint64_t sum(const uint64_t drops[DP_DROP_COUNT])
{
    uint64_t total = 0;
    for (unsigned i = 0; i < DP_DROP_COUNT; i++)
        total += drops[i];
    return total;
}

uint64_t runtime_drops_from(const struct dp_port_counters *counters)
{
    return counters ? sum(counters->rx_drops) : 0;
}

uint64_t runtime_drops_to(const struct dp_port_counters *counters)
{
    return counters ? sum(counters->tx_drops) : 0;
}

void runtime_add(const struct runtime *runtime, uint32_t port, struct runtime_totals *totals)
{
    const struct dp_port_counters *counters = runtime->counters_of[port];
    totals->ports_up += runtime_up(runtime, port);
    if (!counters)
        return;
    totals->rx_packets += counters->rx_packets;
    totals->rx_bytes += counters->rx_bytes;
    totals->tx_packets += counters->tx_packets;
    totals->tx_bytes += counters->tx_bytes;
    totals->drops += runtime_drops_from(counters) + runtime_drops_to(counters);
}

void runtime_set_totals(json_t *item, const struct runtime_totals *totals)
{
    json_object_set_new(item, "ports_up", json_integer(totals->ports_up));
    json_object_set_new(item, "rx_packets", json_integer((json_int_t)totals->rx_packets));
    json_object_set_new(item, "rx_bytes", json_integer((json_int_t)totals->rx_bytes));
    json_object_set_new(item, "tx_packets", json_integer((json_int_t)totals->tx_packets));
    json_object_set_new(item, "tx_bytes", json_integer((json_int_t)totals->tx_bytes));
    json_object_set_new(item, "drops", json_integer((json_int_t)totals->drops));
}
