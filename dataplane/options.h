/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The command line of weft-dataplane.
 *
 * Threads: main, before anything else runs.
 */
#include <sched.h>
#include <stdbool.h>
#include <sys/types.h>
#include "dataplane_api.h"

enum hugepages { HUGEPAGES_AUTO, HUGEPAGES_REQUIRE, HUGEPAGES_NEVER };

struct options {
    const char *run_dir;
    int cores[DP_WORKERS_MAX]; /* CPUs, one worker each */
    unsigned core_count;
    cpu_set_t
        control_cpus; /* for the control thread: the allowed CPUs without the workers', or all of them */
    enum hugepages hugepages;
    bool allow_ethdev;
    gid_t socket_group; /* (gid_t)-1: none */
    const char *prefix; /* DPDK file prefix; NULL: made from the run dir */
    int ready_fd;       /* -1: none */
};

/* 0; 1: --help or --version was answered on stdout; -EINVAL: stderr has said why. */
int options_parse(struct options *options, int argc, char **argv);
/* "0,2-3" against the CPUs in `allowed`. 0 or -EINVAL with a text that names the core and the valid ones. */
int options_cores(const char *list, const cpu_set_t *allowed, int cores[DP_WORKERS_MAX], unsigned *count,
                  char *text, size_t size);
