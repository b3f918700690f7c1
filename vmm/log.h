/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* Messages to standard error, one line each. What a guest can cause is limited to a few lines a second. Any
 * thread. */
#include <stdbool.h>

/* name: the machine's, set once before other threads start. */
void log_init(const char *name, bool verbose);
__attribute__((format(printf, 1, 2))) void log_error(const char *format, ...);
__attribute__((format(printf, 1, 2))) void log_info(const char *format, ...);
/* For what a guest or a backend caused: dropped above 10 lines a second, with a count when it quietens. */
__attribute__((format(printf, 1, 2))) void log_guest(const char *format, ...);
