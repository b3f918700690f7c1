/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Which addresses and ports of the outside belong to the switch at an uplink: what address translation was
 * compiled to, as the steering programs want it.
 *
 * Threads: pure function of its arguments.
 */
#include "compile.h"
#include "steer.h"

/* Of the port `uplink`: every router interface in its segments. *ranges is the caller's to free (NULL if
 * there are none). 0 or -ENOMEM. */
int uplink_ranges(const struct object_set *objects, uint32_t uplink, struct steer_range **ranges,
                  unsigned *count);
