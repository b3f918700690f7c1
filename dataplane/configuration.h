/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The configuration in force: the objects as they were put, the ports that are open, the snapshot that
 * workers read. Theory of operation in configuration.c.
 *
 * Threads: control.
 */
#include "objects.h"
#include "ports.h"

struct fdb;
struct nat;

struct configuration {
    struct objects *objects;
    struct ports *ports;
    struct fdb *fdb;
    struct nat *nat;           /* NULL: none */
    struct snapshot *snapshot; /* published */
};

/* Empty: no ports, a snapshot without any queue is published. 0 or -errno. */
int configuration_init(struct configuration *configuration, const struct ports_config *ports, struct fdb *fdb,
                       struct nat *nat);
/* After workers_stop: closes the ports and frees everything but fdb and nat. */
void configuration_fini(struct configuration *configuration);
/* api_ops.commit: the transaction's objects, which passed objects_check, become the configuration. 0, or
 * -errno with a text (OBJECT_TEXT_SIZE) and nothing changed. Blocks for one or two grace periods of the
 * workers. */
int configuration_commit(struct configuration *configuration, struct transaction *transaction, char *text);
