/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What the process gives up once it is started: capabilities, new privileges, system calls it does not need.
 *
 * Threads: main.
 */
#include <stdbool.h>

/* Before any other thread is created, which inherit it: capabilities are a thread's, not the process's. No
 * new privileges, and only the capabilities that ports need; `ethdev`: DPDK device ports too. 0 or -errno,
 * logged. */
int sandbox_privileges(bool ethdev);
/* After everything is opened that needs files: the system call filter, on all threads. 0 or -errno, logged.
 */
int sandbox_filter(bool ethdev);
