/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Starts a weft-dataplane: as a child of weftd, or by asking systemd to start the unit that it is. Used by
 * supervisor.c, which says when.
 *
 * Threads: weftd has one.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct launch_settings { /* compared as a whole: what is not used is zero */
    char cores[128];
    char hugepages[16];
    bool ethdev; /* DPDK devices (uplinks): needs capabilities that guests' ports do not */
};

struct launch_place {
    const char *run_dir;
    const char *unit;      /* NULL: a child */
    const char *state_dir; /* where the unit reads its options (LAUNCH_OPTIONS_FILE) */
};

#define LAUNCH_OPTIONS_FILE     "dataplane.env"
#define LAUNCH_OPTIONS_VARIABLE "WEFT_DATAPLANE_OPTIONS"

/* The child's pid; 0: the unit was asked for; -errno. */
pid_t launch(const struct launch_place *place, const struct launch_settings *settings);

/* What the unit is started with, by whomever. 0 or -errno. */
int launch_remember(const char *state_dir, const struct launch_settings *settings);

/* The program that would be a child: beside weftd, in its libexec or PATH. */
void launch_program(char *path, size_t size);
