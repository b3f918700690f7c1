/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The host's interfaces in segments of mode host-only: their addresses, and that guests behind them reach the
 * host and nothing beyond it. Theory of operation in host_interface.c.
 *
 * Threads: weftd has one.
 */
#include <stddef.h>
#include "model.h"

/* Before a change: no subnet that comes with it is a network of the host already, which would lose its way
 * there to the segment. `current`: NULL: none. 0 or -EEXIST with the reason in `text`. */
int host_interface_allowed(const struct model *candidate, const struct model *current, char *text,
                           size_t size);
/* Before the interfaces are made: none of their names is somebody else's. 0 or -EEXIST with the reason in
 * `text`. */
int host_interface_check(const struct model *model, const char *run_dir, char *text, size_t size);
/* Once they are there. 0 or -errno with the reason in `text`. */
int host_interface_apply(const struct model *model, const char *run_dir, char *text, size_t size);
/* Removes weft's routing rules of interfaces that are gone, or are this weftd's and not in the model. */
void host_interface_tidy(const struct model *model, const char *run_dir);
