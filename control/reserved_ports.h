/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Ports that address translation uses of the host's own addresses, kept from the host's programs: they are
 * added to net.ipv4.ip_local_reserved_ports. Theory of operation in reserved_ports.c.
 *
 * Threads: weftd has one.
 */
#include "model.h"
#include "store.h"

/* Reserves what the model's address translation uses and gives back what an earlier call reserved and is not
 * used any more; `model` NULL: nothing is used. Failures are logged: the ports work, but the host may give
 * them to a program as well. */
void reserved_ports_apply(struct store *store, const struct model *model);
/* For `weft doctor`: whether all of `first`..`last` are reserved now. */
bool reserved_ports_has(uint16_t first, uint16_t last);
