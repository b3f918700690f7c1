/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A transaction: the version of the object store that is being prepared, and the descriptors that came with
 * its ports. The last put of a port decides: its descriptors replace those of an earlier put, deleting the
 * port closes them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "objects.h"

struct staged_fds {
    unsigned count;
    int fds[DP_PORT_FDS_MAX];
};

struct transaction {
    struct objects *objects;
    struct staged_fds *staged[DP_PORTS_MAX]; /* by port id; NULL: none */
};

static void close_all(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
}

static void drop_fds(struct transaction *transaction, uint32_t port)
{
    struct staged_fds *staged = transaction->staged[port];
    if (!staged)
        return;
    close_all(staged->fds, staged->count);
    free(staged);
    transaction->staged[port] = NULL;
}

struct transaction *transaction_new(const struct objects *base)
{
    struct transaction *transaction = calloc(1, sizeof(*transaction));
    if (!transaction)
        return NULL;
    transaction->objects = objects_clone(base);
    if (!transaction->objects) {
        free(transaction);
        return NULL;
    }
    return transaction;
}

void transaction_free(struct transaction *transaction)
{
    if (!transaction)
        return;
    for (uint32_t port = 0; port < DP_PORTS_MAX; port++)
        drop_fds(transaction, port);
    objects_free(transaction->objects);
    free(transaction);
}

/* Which ports take descriptors, and how many: enum dp_port_type. A put without any leaves an existing port as
 * it is open. */
static int check_fds(enum dp_kind kind, const void *object, unsigned fd_count, char *text)
{
    if (fd_count == 0)
        return 0;
    const struct dp_port *port = object;
    bool tap = kind == DP_KIND_PORT && port->type == DP_PORT_TAP;
    bool packet = kind == DP_KIND_PORT && port->type == DP_PORT_PACKET;
    bool xdp = kind == DP_KIND_PORT && port->type == DP_PORT_XDP;
    if (!tap && !packet && !xdp) {
        snprintf(text, OBJECT_TEXT_SIZE, "%u descriptors with an object that takes none", fd_count);
        return -EINVAL;
    }
    if (!(fd_count == port->queues && !xdp) && !(fd_count == port->queues + 1 && !tap)) {
        snprintf(text, OBJECT_TEXT_SIZE, "port %.48s: %u descriptors for %u queues", port->name, fd_count,
                 port->queues);
        return -EINVAL;
    }
    return 0;
}

static int stage_fds(struct transaction *transaction, uint32_t port, const int *fds, unsigned fd_count,
                     char *text)
{
    drop_fds(transaction, port);
    if (fd_count == 0)
        return 0;
    struct staged_fds *staged = calloc(1, sizeof(*staged));
    if (!staged) {
        snprintf(text, OBJECT_TEXT_SIZE, "no memory for descriptors");
        return -ENOMEM;
    }
    staged->count = fd_count;
    memcpy(staged->fds, fds, fd_count * sizeof(*fds));
    transaction->staged[port] = staged;
    return 0;
}

int transaction_put(struct transaction *transaction, enum dp_kind kind, const void *object, const int *fds,
                    unsigned fd_count, char *text)
{
    /* The object first: check_fds relies on what object_check made sure of. */
    int error = objects_put(transaction->objects, kind, object, text);
    if (!error)
        error = check_fds(kind, object, fd_count, text);
    if (!error && kind == DP_KIND_PORT)
        error = stage_fds(transaction, ((const struct dp_port *)object)->id, fds, fd_count, text);
    if (error)
        close_all(fds, fd_count);
    return error;
}

int transaction_del(struct transaction *transaction, enum dp_kind kind, const void *object, char *text)
{
    int error = objects_del(transaction->objects, kind, object, text);
    if (!error && kind == DP_KIND_PORT)
        drop_fds(transaction, ((const struct dp_port *)object)->id);
    return error;
}

const struct objects *transaction_objects(const struct transaction *transaction)
{
    return transaction->objects;
}

struct objects *transaction_take_objects(struct transaction *transaction)
{
    struct objects *objects = transaction->objects;
    transaction->objects = NULL;
    return objects;
}

bool transaction_has_fds(const struct transaction *transaction, uint32_t port)
{
    return port < DP_PORTS_MAX && transaction->staged[port] != NULL;
}

unsigned transaction_take_fds(struct transaction *transaction, uint32_t port, int fds[DP_PORT_FDS_MAX])
{
    if (!transaction_has_fds(transaction, port))
        return 0;
    unsigned count = transaction->staged[port]->count;
    memcpy(fds, transaction->staged[port]->fds, count * sizeof(*fds));
    free(transaction->staged[port]);
    transaction->staged[port] = NULL;
    return count;
}
