/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The system calls that each kind of thread may make; anything else ends the process (SIGSYS). The lists
 * stand in seccomp_filter.c, with the reason beside what is not obvious.
 *
 * Threads: seccomp_prepare once, before the file system is given up; seccomp_install by each thread for
 * itself.
 */

enum seccomp_thread { SECCOMP_MAIN, SECCOMP_VCPU, SECCOMP_DISK, SECCOMP_VHOST, SECCOMP_THREADS };

/* Compiles the filters. 0 or -errno. */
int seccomp_prepare(void);
/* 0 or -errno. */
int seccomp_install(enum seccomp_thread thread);
