/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What the programming socket shows but nobody configured: port, queue and worker states, counters, the
 * address table.
 *
 * Threads: control.
 */
#include "configuration.h"

/* api_ops.read */
size_t state_read(const struct configuration *configuration, enum dp_kind kind, uint64_t *cursor,
                  void *objects, size_t capacity);
