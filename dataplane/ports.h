/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The life of ports: which are open, which worker polls which of their queues, and what a commit opens and
 * closes. Theory of operation in ports.c.
 *
 * Threads: control.
 */
#include <sys/types.h>
#include "compile.h"
#include "objects.h"
#include "port.h"

struct ports_config {
    const struct port_ops *ops[DP_PORT_XDP + 1]; /* by type; NULL: that type is not served */
    unsigned workers;
    gid_t socket_group; /* of vhost-user sockets whose port says "unchanged"; (gid_t)-1: unchanged */
};

struct ports;
struct port_changes;

struct ports *ports_new(const struct ports_config *config); /* NULL and ENOMEM */
/* Closes all: no worker may read them any more. */
void ports_free(struct ports *ports);

struct port *ports_get(const struct ports *ports, uint32_t id); /* NULL: not open */
unsigned ports_count(const struct ports *ports);                /* open ones */
/* Why a configured port is not open; "" if it is. */
const char *ports_error(const struct ports *ports, uint32_t id);
void ports_check(struct ports *ports); /* port_ops.check of all */
/* What compile() needs, DP_PORTS_MAX of them; valid until the next change. */
const struct compile_port *ports_view(const struct ports *ports);

/*
 * A commit's changes. The caller's order, ports_changes_undo() possible up to ports_changes_close:
 *   plan            compares what is open with what shall be, prepares the new ports; nothing is opened
 *   open            opens the new ports whose device no leaving port holds
 *   if exclusive()  publish interim_view(), grace period, then exchange: closes the leaving ports whose
 * device a new one needs and opens those publish view(), grace period close           closes what left
 */
struct port_changes *port_changes_plan(struct ports *ports, struct transaction *transaction, char *text);
int port_changes_open(struct port_changes *changes, char *text);
bool port_changes_exclusive(const struct port_changes *changes);
int port_changes_exchange(struct port_changes *changes, char *text);
const struct compile_port *port_changes_view(const struct port_changes *changes);
const struct compile_port *port_changes_interim_view(const struct port_changes *changes);
/* Closes what was opened, opens again what was closed in exchange. True: all as before; false: some port
 * could not be opened again (logged; ports_error says why), ports_view() has changed. */
bool port_changes_undo(struct port_changes *changes);
/* The new ports are the ports; the leaving ones are closed; live settings of the others are taken over. Frees
 * changes. */
void port_changes_close(struct port_changes *changes, const struct objects *objects);
/* Calls for every port that leaves or is exchanged. */
void port_changes_leaving(const struct port_changes *changes, void (*call)(void *context, uint32_t id),
                          void *context);
