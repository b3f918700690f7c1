/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* What weft-bare --nat puts between its two ports: a tenant's router with address translation, as drawn in
 * nat_flows.h. Inside a transaction; errors come out of its commit. */
#include "client.h"

#define BARE_NAT_INSIDE_ID  1u /* tenant, segment and vhost-user port */
#define BARE_NAT_OUTSIDE_ID 2u

/* Router ports, interfaces, routes, neighbours and the pool of addresses. The segments and their vhost-user
 * ports are the caller's. */
void bare_nat_put(struct dp_client *client);
