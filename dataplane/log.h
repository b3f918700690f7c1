/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The log: lines on stderr with the priority in front ("<4>..."), which is what journald takes and what a
 * test greps for. control_log() of port.h is implemented here. Each message site (format string) may write
 * LOG_BURST lines in LOG_PERIOD_S seconds; what it wanted to write beyond that is counted and said later.
 *
 * Threads: any but workers while they forward.
 */
#define LOG_BURST    10u
#define LOG_PERIOD_S 10

/* DPDK's own messages become lines of this log. 0 or -errno. */
int log_dpdk(void);
