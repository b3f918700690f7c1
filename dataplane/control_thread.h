/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The dataplane's one control thread: an event loop that serves the programming socket, the ports' own
 * descriptors and a slow tick. It implements the control_* services of port.h.
 *
 * Threads: control (the process's main thread).
 */
#include <sys/types.h>
#include "options.h"

/* Event loop, workers, address table, programming socket RUN-DIR/dataplane.sock. EAL is up. 0 or -errno,
 * logged. */
int control_start(const struct options *options);
/* Serves until SIGTERM, SIGINT or a STOP request. */
void control_run(void);
/* Sockets removed, ports closed, workers stopped. */
void control_stop(void);
