/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What the files of the neighbours share; nobody else includes it.
 *
 * Threads: control.
 */
#include <stdbool.h>
#include "neighbour.h"
#include "neighbour_quota.h"

struct neighbour_table {
    const struct neighbour_ops *ops;
    struct router_port *ports;
    struct neighbour *limbo; /* by list_next: out of their chains, some worker may still read them */
    uint64_t next_walk_ms;
};

extern struct neighbour_table neighbour_table;

/* neighbour_held.c */

/* The packet waits for the neighbour. False: there is no room for it. */
bool neighbour_hold(struct neighbour *neighbour, const struct router_note *note, struct quota_source source);
/* Sends on what waits, or gives it back as failed. What finds no room stays for the next time. */
void neighbour_release(struct neighbour *neighbour, bool failed);
/* Gives back what waits; nothing is left. */
void neighbour_discard(struct neighbour *neighbour);
/* Packets that came in by the port and wait: nobody is there to count them any more. */
void neighbour_forget_packets_of(uint32_t port);
/* Where a packet came in: its port, if it still is a router port of the configuration. */
struct port *neighbour_port_of(uint32_t id);
