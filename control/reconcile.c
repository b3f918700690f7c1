/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "reconcile.h"

int reconcile_dump(struct dp_client *client, struct object_set *set)
{
    memset(set, 0, sizeof(*set));
    for (enum dp_kind kind = 1; kind < OBJECT_KINDS; kind++) {
        struct object_list *list = &set->lists[kind];
        int error = dp_client_dump_all(client, kind, &list->items, &list->count);
        if (error) {
            object_set_clear(set);
            return error;
        }
        list->room = list->count;
    }
    object_set_sort(set);
    return 0;
}

static const void *item(const struct object_list *list, enum dp_kind kind, size_t index)
{
    return (const char *)list->items + index * dp_object_size(kind);
}

static int put_with_descriptors(struct dp_client *client, const struct dp_port *port,
                                const struct reconcile_opener *opener, char *text, size_t size)
{
    int fds[DP_PORT_FDS_MAX];
    int count = opener->open(opener->context, port, fds, text, size);
    if (count < 0)
        return count;
    int error = dp_client_put(client, DP_KIND_PORT, port, fds, (unsigned)count);
    for (int i = 0; i < count; i++)
        close(fds[i]);
    return error;
}

/* The port works on descriptors that come with its put. */
static bool takes_descriptors(const struct dp_port *port)
{
    return port->type == DP_PORT_TAP ||
           ((port->type == DP_PORT_PACKET || port->type == DP_PORT_XDP) && port->ifindex != 0);
}

/* The port stays open over the put: the dataplane's same_device() is as lenient or more. */
static bool stays_open(const struct dp_port *old, const struct dp_port *port)
{
    bool live = port->type != DP_PORT_TAP; /* changes of the MTU */
    return old && old->type == port->type && old->queues == port->queues && old->ifindex == port->ifindex &&
           (live || old->mtu == port->mtu) && memcmp(old->mac, port->mac, sizeof(port->mac)) == 0 &&
           strcmp(old->device, port->device) == 0;
}

/* `have` is the object with the same key that the dataplane holds, or NULL. */
static int put_one(struct dp_client *client, enum dp_kind kind, const void *have, const void *want,
                   const struct reconcile_opener *opener, char *text, size_t size)
{
    const struct dp_port *old = have, *port = want;
    if (kind == DP_KIND_PORT && takes_descriptors(port) && !stays_open(old, port))
        return put_with_descriptors(client, port, opener, text, size);
    return dp_client_put(client, kind, want, NULL, 0);
}

/* Both lists are sorted: one pass finds what to delete and what to put. */
static int program_kind(struct dp_client *client, enum dp_kind kind, const struct object_list *have,
                        const struct object_list *want, const struct reconcile_opener *opener, char *text,
                        size_t size)
{
    size_t i = 0, j = 0;
    int error = 0;
    while (!error && (i < have->count || j < want->count)) {
        int order = i == have->count   ? 1
                    : j == want->count ? -1
                                       : object_compare(kind, item(have, kind, i), item(want, kind, j));
        if (order < 0) {
            error = dp_client_del(client, kind, item(have, kind, i++));
        } else if (order > 0) {
            error = put_one(client, kind, NULL, item(want, kind, j++), opener, text, size);
        } else {
            const void *old = item(have, kind, i++), *new = item(want, kind, j++);
            if (memcmp(old, new, dp_object_size(kind)) != 0)
                error = put_one(client, kind, old, new, opener, text, size);
        }
    }
    return error;
}

static bool object_sets_equal(const struct object_set *a, const struct object_set *b)
{
    for (enum dp_kind kind = 1; kind < OBJECT_KINDS; kind++) {
        const struct object_list *left = &a->lists[kind], *right = &b->lists[kind];
        if (left->count != right->count)
            return false;
        if (left->count && memcmp(left->items, right->items, left->count * dp_object_size(kind)) != 0)
            return false;
    }
    return true;
}

static int program(struct dp_client *client, const struct object_set *have, const struct object_set *want,
                   const struct reconcile_opener *opener, char *text, size_t size)
{
    int error = dp_client_begin(client);
    for (enum dp_kind kind = 1; kind < OBJECT_KINDS && !error; kind++)
        error = program_kind(client, kind, &have->lists[kind], &want->lists[kind], opener, text, size);
    if (!error)
        error = dp_client_commit(client);
    else if (text[0])
        dp_client_abort(client); /* the reason is ours, the transaction is still open */
    return error;
}

/* What the user can do about what the dataplane said. */
static const char *way_out(const char *said, int error)
{
    if (error == -EEXIST)
        return ": what is there is no socket; remove it or name another with --socket";
    if (error == -EADDRINUSE)
        return ": another program has it; end it or name another with --socket";
    if (error == -ENOENT && strstr(said, ": socket /"))
        return ": make its directory, or name another with --socket";
    if (error == -EFAULT && strstr(said, "no DPDK device"))
        return ": no driver of DPDK goes by that name";
    return "";
}

int reconcile(struct dp_client *client, const struct object_set *want, const struct reconcile_opener *opener,
              char *text, size_t size)
{
    struct object_set have;
    text[0] = '\0';
    int error = reconcile_dump(client, &have);
    if (!error && object_sets_equal(&have, want)) {
        object_set_clear(&have);
        return 0;
    }
    if (!error) {
        error = program(client, &have, want, opener, text, size);
        object_set_clear(&have);
    }
    if (error) {
        if (!text[0])
            snprintf(text, size, "the dataplane refused: %s%s", dp_client_error(client),
                     way_out(dp_client_error(client), error));
        return error;
    }
    error = reconcile_dump(client, &have);
    if (!error && !object_sets_equal(&have, want))
        error = -EREMOTEIO;
    if (error)
        snprintf(text, size, "the dataplane does not show what it was told: %s",
                 error == -EREMOTEIO ? "its dump differs" : dp_client_error(client));
    object_set_clear(&have);
    return error;
}
