/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Tap interfaces of the host: made with one descriptor a queue (multi-queue, vnet header) for the dataplane,
 * set up with MTU and address through netlink. The interface lives for as long as somebody holds a descriptor
 * of it; weftd keeps one set, so that addresses which the administrator put on it survive a restart of the
 * dataplane.
 *
 * Threads: weftd has one.
 */
#include <stddef.h>
#include "dataplane_api.h"

struct taps;

struct taps *taps_new(void);
void taps_free(struct taps *taps);

/* Opens `port->queues` queues of the interface `port->device`, sets it up. The descriptors are the caller's.
 */
int taps_open(struct taps *taps, const struct dp_port *port, int fds[DP_QUEUES_MAX], char *text, size_t size);
/* Holds those that the dataplane has and this weftd did not open (an earlier one did), so that they survive
 * the dataplane. */
void taps_adopt(struct taps *taps, const struct dp_port *ports, size_t count);
/* Closes those that no port of the list has. */
void taps_keep(struct taps *taps, const struct dp_port *ports, size_t count);
