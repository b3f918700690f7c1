/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The control thread's end of the workers' rings (router.h): neighbours to be found (neighbour.c), and frames
 * for the controller, which go through the punt channel (struct dp_punt).
 *
 * Threads: control.
 */
#include <stdint.h>

struct event_base;

/* After workers_start. 0 or -ENOMEM */
int punt_start(struct event_base *base);
void punt_stop(void);
/* The channel's descriptor is given: it becomes ours, an earlier one is closed. 0, or -errno with a text
 * (OBJECT_TEXT_SIZE); then it is closed. */
int punt_open(int fd, char *text);
/* A commit is over: what waits for a neighbour may go on. */
void punt_configured(void);
/* About every 100 ms. */
void punt_tick(void);
