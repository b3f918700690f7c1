/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What the process gives up once it is started: capabilities, new privileges, system calls it does not need.
 *
 * Threads: main, once, after every other thread of the process was created (the filter is put on all of
 * them).
 */
#include <stdbool.h>

/* ethdev: DPDK device ports may be added later, which needs more. 0 or -errno, logged. */
int sandbox_enter(bool ethdev);
