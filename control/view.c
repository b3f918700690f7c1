/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>
#include "view.h"

/* False: the connection is lost; said to the supervisor. */
static bool dump(struct controller *controller, enum dp_kind kind, void *objects, size_t *count)
{
    struct dp_client *client = supervisor_client(controller->supervisor);
    void *list = NULL;
    if (!client)
        return false;
    if (dp_client_dump_all(client, kind, &list, count) < 0) {
        *count = 0;
        supervisor_disconnect(controller->supervisor, dp_client_error(client));
        return false;
    }
    memcpy(objects, &list, sizeof(list));
    return true;
}

struct view *view_new(struct controller *controller, unsigned what)
{
    struct view *view = calloc(1, sizeof(*view));
    if (!view)
        return NULL;
    bool good = true;
    if (what & VIEW_PORTS)
        good = dump(controller, DP_KIND_PORT_STATE, &view->states, &view->state_count) &&
               dump(controller, DP_KIND_PORT_COUNTERS, &view->counters, &view->counter_count);
    if (good && (what & VIEW_QUEUES))
        good = dump(controller, DP_KIND_QUEUE_STATE, &view->queues, &view->queue_count);
    if (good && (what & (VIEW_WORKERS | VIEW_QUEUES)))
        good = dump(controller, DP_KIND_WORKER_STATE, &view->workers, &view->worker_count);
    if (good && (what & VIEW_NAT))
        good = dump(controller, DP_KIND_ROUTER_STATE, &view->routers, &view->router_count) &&
               dump(controller, DP_KIND_NAT_ADDRESS_STATE, &view->nat_addresses, &view->nat_address_count);
    if (good && (what & VIEW_ADDRESSES))
        dump(controller, DP_KIND_FDB_ENTRY, &view->addresses, &view->address_count);
    for (size_t i = 0; i < view->state_count; i++)
        view->state_at[view->states[i].id % DP_PORTS_MAX] = (uint32_t)i + 1;
    for (size_t i = 0; i < view->counter_count; i++)
        view->counter_at[view->counters[i].id % DP_PORTS_MAX] = (uint32_t)i + 1;
    return view;
}

void view_free(struct view *view)
{
    if (!view)
        return;
    free(view->states);
    free(view->counters);
    free(view->queues);
    free(view->workers);
    free(view->addresses);
    free(view->routers);
    free(view->nat_addresses);
    free(view);
}

const struct dp_port_state *view_state(const struct view *view, uint32_t port)
{
    uint32_t at = view->state_at[port % DP_PORTS_MAX];
    return at ? &view->states[at - 1] : NULL;
}

const struct dp_port_counters *view_counters(const struct view *view, uint32_t port)
{
    uint32_t at = view->counter_at[port % DP_PORTS_MAX];
    return at ? &view->counters[at - 1] : NULL;
}

void view_add(const struct view *view, uint32_t port, struct view_sum *sum)
{
    const struct dp_port_state *state = view_state(view, port);
    const struct dp_port_counters *counters = view_counters(view, port);
    sum->ports++;
    sum->ports_up += state && state->link;
    if (!counters)
        return;
    sum->rx_packets += counters->rx_packets;
    sum->rx_bytes += counters->rx_bytes;
    sum->tx_packets += counters->tx_packets;
    sum->tx_bytes += counters->tx_bytes;
    for (unsigned i = 0; i < DP_DROP_COUNT; i++)
        sum->drops += counters->rx_drops[i] + counters->tx_drops[i];
}

void view_sum_json(const struct view_sum *sum, json_t *item)
{
    json_object_set_new(item, "ports", json_integer(sum->ports));
    json_object_set_new(item, "ports_up", json_integer(sum->ports_up));
    json_object_set_new(item, "rx_packets", json_integer((json_int_t)sum->rx_packets));
    json_object_set_new(item, "rx_bytes", json_integer((json_int_t)sum->rx_bytes));
    json_object_set_new(item, "tx_packets", json_integer((json_int_t)sum->tx_packets));
    json_object_set_new(item, "tx_bytes", json_integer((json_int_t)sum->tx_bytes));
    json_object_set_new(item, "drops", json_integer((json_int_t)sum->drops));
}
