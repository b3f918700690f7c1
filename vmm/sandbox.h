/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What the process gives up once the machine is made: its user, its capabilities, the file system, the
 * network, other processes; and, thread by thread, every system call that the thread's work does not need.
 */
#include "machine.h"

/* The process: cgroup, user, namespaces, limits. Main thread, before any other exists. 0, or -errno after
 * having said why. */
int sandbox_process(const struct machine *machine);
/* Each thread, as the first thing it does. A filter that cannot be installed ends the process. */
void sandbox_enter_main(void);
void sandbox_enter_vcpu(void);
void sandbox_enter_disk(void);
void sandbox_enter_vhost(void);
