/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Objects as `list` and `show` give them; the fields are in docs/api.md.
 *
 * Threads: weftd has one.
 */
#include "runtime.h"

json_t *item_tenant(const struct runtime *runtime, const struct model_tenant *tenant);
json_t *item_segment(const struct runtime *runtime, const struct model_segment *segment, uint64_t addresses);
json_t *item_port(const struct controller *controller, const struct runtime *runtime,
                  const struct model_port *port);
json_t *item_uplink(const struct controller *controller, const struct runtime *runtime,
                    const struct model_uplink *uplink);
json_t *item_queues(const struct runtime *runtime, uint32_t port); /* array */
/* Appends one item for every reason that dropped something. */
void item_drops(json_t *items, const struct runtime *runtime, uint32_t id, const char *tenant,
                const char *port);
