/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Lists about the ways out: sessions, forwards, leases, neighbours. Used by api_list.c and api_item.c.
 *
 * Threads: weftd has one.
 */
#include "api_call.h"
#include "view.h"

struct nat_filter {
    const struct model_tenant *tenant; /* NULL: all, of each */
    const struct model_segment *segment;
    const struct model_port *port;
    int64_t limit; /* sessions shown at most */
};

/* Returns how many more there are than filter->limit. */
uint64_t nat_list_sessions(struct controller *controller, const struct nat_filter *filter, json_t *items);
void nat_list_translations(const struct model *model, const struct nat_filter *filter, json_t *items);
void nat_list_forwards(const struct model *model, const struct nat_filter *filter, json_t *items);
void nat_list_leases(const struct controller *controller, const struct nat_filter *filter, json_t *items);
void nat_list_neighbours(struct controller *controller, const struct nat_filter *filter, json_t *items);

void nat_list_routes(struct controller *controller, const struct nat_filter *filter, json_t *items);

/* Address translation of a segment of mode nat. */
json_t *nat_item(const struct model_segment *segment);

/* What `show` and `list` of a segment, a tenant and an uplink say beyond the rest. */
void nat_item_segment(const struct view *view, const struct model_segment *segment, json_t *item);
void nat_item_tenant(const struct view *view, const struct model_tenant *tenant, json_t *item);
void nat_item_uplink(const struct view *view, const struct model_uplink *uplink, json_t *item);

/* Calls `visit` for each port of weft's own: routers' and the host's. `segment` NULL: of an uplink's outside.
 */
void nat_own_ports(const struct model *model,
                   void (*visit)(void *context, uint32_t port, const char *name,
                                 const struct model_segment *segment),
                   void *context);
