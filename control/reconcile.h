/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Makes the dataplane hold a set of objects: dump, compare, put and delete the difference in one transaction,
 * dump again to verify.
 *
 * Threads: weftd has one.
 */
#include "client.h"
#include "compile.h"

struct reconcile_opener {
    /* Opens what a tap, packet or xdp port works on. How many descriptors, or -errno with the reason in
     * `text`. */
    int (*open)(void *context, const struct dp_port *port, int fds[DP_PORT_FDS_MAX], char *text, size_t size);
    void *context;
};

/* What the dataplane holds now. 0 or -errno. */
int reconcile_dump(struct dp_client *client, struct object_set *set);

/* 0: the dataplane holds `want` and says so. -errno: the reason is in `text`; after -EREMOTEIO the
 * transaction went through but the dump does not show it, after any other error nothing was changed. */
int reconcile(struct dp_client *client, const struct object_set *want, const struct reconcile_opener *opener,
              char *text, size_t size);
