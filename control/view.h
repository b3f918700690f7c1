/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What the dataplane says of itself at this moment, found by number, for the answers of the API. Empty (and
 * everything 0 or unknown) while it is not running.
 *
 * Threads: weftd has one.
 */
#include <jansson.h>
#include "controller.h"

struct view {
    struct dp_port_state *states;
    struct dp_port_counters *counters;
    struct dp_queue_state *queues;
    struct dp_worker_state *workers;
    struct dp_fdb_entry *addresses;
    struct dp_router_state *routers;
    struct dp_nat_address_state *nat_addresses;
    size_t state_count, counter_count, queue_count, worker_count, address_count, router_count,
        nat_address_count;
    uint32_t state_at[DP_PORTS_MAX];   /* index + 1 by port id */
    uint32_t counter_at[DP_PORTS_MAX]; /* the same */
};

/* what view_new asks for */
#define VIEW_PORTS     1u
#define VIEW_QUEUES    2u
#define VIEW_WORKERS   4u
#define VIEW_ADDRESSES 8u
#define VIEW_NAT       16u

struct view *view_new(struct controller *controller, unsigned what);
void view_free(struct view *view);
const struct dp_port_state *view_state(const struct view *view, uint32_t port);       /* NULL: unknown */
const struct dp_port_counters *view_counters(const struct view *view, uint32_t port); /* NULL: unknown */

/* Sums for tenants and totals. */
struct view_sum {
    uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes, drops;
    unsigned ports, ports_up;
};
void view_add(const struct view *view, uint32_t port, struct view_sum *sum);
void view_sum_json(const struct view_sum *sum, json_t *item);

/* api_item.c: one object as the API shows it. */
json_t *item_tenant(const struct view *view, const struct model_tenant *tenant);
json_t *item_segment(const struct view *view, const struct model *model, const struct model_segment *segment);
json_t *item_port(const struct view *view, const struct model_port *port, bool queues);
json_t *item_uplink(const struct view *view, const struct model *model, const struct model_uplink *uplink);
/* Drops of a port, one item a direction and reason, appended to items. */
void item_drops(const struct view *view, const char *tenant, const char *name, uint32_t port, json_t *items);
