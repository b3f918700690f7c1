/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The learning bridge of a segment (IEEE 802.1Q, 8.6-8.8): learn the source, look up the destination, output
 * or flood.
 *
 * Threads: worker.
 */
#include "program.h"

/* Second pass: program->frames[0..count) to their outputs; each is counted as forwarded, flooded or dropped.
 */
void bridge_forward(struct program *program, unsigned count);

/* Two isolated ports do not reach each other. */
static inline bool bridge_isolated(const struct ingress *from, const struct ingress *to)
{
    return from->flags & to->flags & DP_PORT_F_ISOLATED;
}
