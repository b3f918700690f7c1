/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What the files of `weft doctor` share.
 *
 * Threads: weftd has one.
 */
#include <jansson.h>
#include <stdbool.h>
#include "controller.h"

enum doctor_state { OK, NOTE, WARNING, FAILED, FIXED };

struct doctor {
    json_t *items;
    const char *run_dir;
    bool fix;
    const struct controller *controller; /* NULL: weftd --doctor, which knows no configuration */
};

/* One finding; `way_out` NULL: none is needed. */
void doctor_report(struct doctor *doctor, const char *check, enum doctor_state state, const char *way_out,
                   const char *format, ...) __attribute__((format(printf, 5, 6)));

/* doctor_network.c: where segments of mode nat leave, subnets against the host's routes, resolvers. */
void doctor_network(struct doctor *doctor);
/* doctor_ports.c: ports of the host's addresses that address translation uses. */
void doctor_ports(struct doctor *doctor);
