/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The storm limit of a port: how many frames a second it may have flooded. One 64-bit time a port, shared by
 * the workers that poll its queues and written only when a frame of a limited port is flooded.
 */
#include <stdbool.h>
#include "port.h"

/* control: TSC cycles a frame at `pps` frames a second; 0 for 0 (no limit) */
uint64_t storm_interval(uint32_t pps);
/* control: TSC cycles that a port may be ahead of its rate: a tenth of a second */
uint64_t storm_burst(void);
/* worker: true if one more event is allowed now (TSC cycles). *time: of the bucket, 0 at first, shared by all
 * workers; interval is not 0. */
bool storm_bucket_allows(uint64_t *time, uint64_t interval, uint64_t burst, uint64_t now);
/* worker: true if the port may flood one more frame now (TSC cycles). interval is not 0. */
bool storm_allows(struct port *port, uint64_t interval, uint64_t burst, uint64_t now);
