/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * A struct port lives from the commit that adds it until the grace period after the commit that removes it. A
 * put of an existing port that changes only what the snapshot holds (limits, flags that workers look at,
 * addresses) leaves it open. One that changes what it was opened with (type, device, queues, tenant, mtu,
 * mac, features, dialling, or new descriptors) exchanges it: another struct port, the old one leaves.
 *
 * Order. A failed commit changes nothing, so new ports are opened before anything is closed. That cannot be
 * done where a new port needs the device of a leaving one (the same socket path, DPDK device or receive queue
 * of an interface; descriptors of taps and packet sockets are given, so they have no such conflict). These
 * are exchanged last, after everything else that could fail: an interim snapshot without the leaving ports is
 * published, they are closed after the grace period, the new ones are opened. If that fails the old ones are
 * opened again with their old settings and the old snapshot is published. Either way the frontends of just
 * those ports see their connection close and dial again.
 *
 * Queues to workers: a new port's queues go to the workers with the fewest queues at that moment, one after
 * the other. A queue stays with its worker as long as its port lives; an exchanged port keeps the assignment.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>
#include "counters.h"
#include "ports.h"

struct ports {
    struct ports_config config;
    unsigned count;
    struct compile_port view[DP_PORTS_MAX];
    char *errors[DP_PORTS_MAX]; /* why a configured port is not open; NULL: it is, or nothing is configured */
};

struct port_change {
    uint32_t id;
    struct port *old; /* leaves; NULL: a new port */
    struct port *new; /* NULL: removed */
    bool exclusive;   /* needs, or holds, a device that changes hands in this commit */
    bool new_open, old_closed;
    unsigned fd_count;
    int fds[DP_PORT_FDS_MAX];
};

struct port_changes {
    struct ports *ports;
    unsigned count;
    bool exclusive;
    struct compile_port view[DP_PORTS_MAX];    /* after the commit */
    struct compile_port interim[DP_PORTS_MAX]; /* without the exclusive ones that leave */
    struct port_change changes[];
};

struct ports *ports_new(const struct ports_config *config)
{
    struct ports *ports = calloc(1, sizeof(*ports));
    if (ports)
        ports->config = *config;
    return ports;
}

static void close_port(struct port *port)
{
    port->ops->close(port);
    port_free(port);
}

void ports_free(struct ports *ports)
{
    if (!ports)
        return;
    for (uint32_t id = 0; id < DP_PORTS_MAX; id++) {
        if (ports->view[id].port)
            close_port(ports->view[id].port);
        free(ports->errors[id]);
    }
    free(ports);
}

struct port *ports_get(const struct ports *ports, uint32_t id)
{
    return id < DP_PORTS_MAX ? ports->view[id].port : NULL;
}

unsigned ports_count(const struct ports *ports)
{
    return ports->count;
}

const char *ports_error(const struct ports *ports, uint32_t id)
{
    return ports->errors[id] ? ports->errors[id] : "";
}

void ports_check(struct ports *ports)
{
    unsigned left = ports->count;
    for (uint32_t id = 1; id < DP_PORTS_MAX && left > 0; id++) {
        struct port *port = ports->view[id].port;
        if (!port)
            continue;
        port->ops->check(port);
        left--;
    }
}

const struct compile_port *ports_view(const struct ports *ports)
{
    return ports->view;
}

static void set_error(struct ports *ports, uint32_t id, const char *text)
{
    free(ports->errors[id]);
    ports->errors[id] = text ? strdup(text) : NULL;
}

/* What the port was opened with is as it shall be. */
static bool same_device(const struct dp_port *a, const struct dp_port *b)
{
    return a->type == b->type && a->tenant == b->tenant && a->queues == b->queues &&
           (a->mtu == b->mtu || a->type == DP_PORT_PACKET || a->type == DP_PORT_XDP) &&
           a->features_off == b->features_off && a->socket_group == b->socket_group &&
           a->ifindex == b->ifindex && (a->flags & DP_PORT_F_CLIENT) == (b->flags & DP_PORT_F_CLIENT) &&
           memcmp(a->mac, b->mac, sizeof(a->mac)) == 0 &&
           memcmp(a->device, b->device, sizeof(a->device)) == 0;
}

/* The configuration that a port is opened with: the default group filled in. */
static struct dp_port effective(const struct ports *ports, const struct dp_port *config)
{
    struct dp_port copy = *config;
    if (copy.type == DP_PORT_VHOST_USER && copy.socket_group == UINT32_MAX)
        copy.socket_group = ports->config.socket_group;
    return copy;
}

/* What the port works on comes with its put. */
static bool given_descriptors(const struct dp_port *port)
{
    return port->type == DP_PORT_TAP || port->type == DP_PORT_PACKET || port->type == DP_PORT_XDP;
}

/* The process can serve a port of this configuration at all. 0 or -errno. */
static int check_served(const struct ports *ports, const struct dp_port *config, unsigned fd_count,
                        char *text)
{
    if (!ports->config.ops[config->type]) {
        snprintf(text, OBJECT_TEXT_SIZE, "port %.40s: this dataplane was started without %s", config->name,
                 config->type == DP_PORT_ETHDEV ? "--allow-ethdev" : "ports of its type");
        return -EOPNOTSUPP;
    }
    bool absent = (config->type == DP_PORT_PACKET || config->type == DP_PORT_XDP) && config->ifindex == 0;
    if ((given_descriptors(config) && fd_count == 0) != absent) {
        snprintf(text, OBJECT_TEXT_SIZE, "port %.40s: %s descriptors of interface %.16s with the put",
                 config->name, absent ? "needless" : "no", config->device);
        return -EBADF;
    }
    if (config->type == DP_PORT_VHOST_USER && config->socket_group != UINT32_MAX &&
        config->socket_group != ports->config.socket_group && config->socket_group != getegid()) {
        snprintf(text, OBJECT_TEXT_SIZE, "port %.40s: group %u takes a dataplane with --socket-group %u",
                 config->name, config->socket_group, config->socket_group);
        return -EPERM;
    }
    return 0;
}

/* Adds what must happen to port `id`; 0 or -errno. */
static int plan_port(struct port_changes *changes, uint32_t id, const struct dp_port *wanted,
                     struct transaction *transaction, char *text)
{
    struct ports *ports = changes->ports;
    struct port *old = ports->view[id].port;
    struct dp_port config;
    if (wanted)
        config = effective(ports, wanted);
    if (wanted && old && same_device(&old->config, &config) && !transaction_has_fds(transaction, id))
        return 0;
    struct port_change *change = &changes->changes[changes->count++];
    *change = (struct port_change){.id = id, .old = old};
    if (!wanted)
        return 0;
    change->fd_count = transaction_take_fds(transaction, id, change->fds);
    int error = check_served(ports, &config, change->fd_count, text);
    if (error)
        return error;
    change->new = port_new(&config, ports->config.ops[config.type], ports->config.workers);
    if (!change->new) {
        snprintf(text, OBJECT_TEXT_SIZE, "port %.40s: no memory", config.name);
        return -ENOMEM;
    }
    return 0;
}

/* Two ports cannot have it at a time. A router's port has none; of an interface's receive queue only one
 * AF_XDP socket can. */
static bool needs_device(const struct dp_port *port)
{
    return (!given_descriptors(port) && port->type != DP_PORT_ROUTER) || port->type == DP_PORT_XDP;
}

static int compare_old(const void *a, const void *b)
{
    const struct port_change *const *x = a, *const *y = b;
    int order = strcmp((*x)->old->config.device, (*y)->old->config.device);
    return order ? order : (int)(*x)->old->config.type - (int)(*y)->old->config.type;
}

/* Finds the new ports that need the device of a leaving one. */
static int plan_exclusive(struct port_changes *changes, char *text)
{
    struct port_change **leaving = calloc(changes->count + 1, sizeof(struct port_change *));
    size_t count = 0;
    if (!leaving) {
        snprintf(text, OBJECT_TEXT_SIZE, "no memory");
        return -ENOMEM;
    }
    for (unsigned i = 0; i < changes->count; i++)
        if (changes->changes[i].old && needs_device(&changes->changes[i].old->config))
            leaving[count++] = &changes->changes[i];
    qsort(leaving, count, sizeof(struct port_change *), compare_old);
    for (unsigned i = 0; i < changes->count; i++) {
        struct port_change *change = &changes->changes[i];
        struct port_change key = {.old = change->new}, *key_pointer = &key;
        struct port_change **found =
            change->new ? bsearch(&key_pointer, leaving, count, sizeof(struct port_change *), compare_old)
                        : NULL;
        if (!found)
            continue;
        change->exclusive = (*found)->exclusive = changes->exclusive = true;
    }
    free(leaving);
    return 0;
}

static unsigned polled(const struct port *port)
{
    return port && port->config.type != DP_PORT_ROUTER ? port->config.queues : 0;
}

/* Queues of new ports to the workers with the fewest. */
static void plan_workers(struct port_changes *changes)
{
    unsigned load[DP_WORKERS_MAX] = {0}, workers = changes->ports->config.workers;
    for (uint32_t id = 1; id < DP_PORTS_MAX; id++)
        for (unsigned queue = 0; queue < polled(changes->view[id].port); queue++)
            load[changes->view[id].workers[queue]]++;
    for (unsigned i = 0; i < changes->count; i++) {
        const struct port_change *change = &changes->changes[i];
        struct compile_port *view = &changes->view[change->id];
        view->port = change->new;
        if (!change->new)
            continue;
        for (unsigned queue = polled(change->old); queue < polled(change->new); queue++) {
            unsigned least = 0;
            for (unsigned worker = 1; worker < workers; worker++)
                if (load[worker] < load[least])
                    least = worker;
            view->workers[queue] = (uint8_t)least;
            load[least]++;
        }
    }
}

/* Forgets the new ports; they are not open. */
static void discard(struct port_changes *changes)
{
    for (unsigned i = 0; i < changes->count; i++) {
        struct port_change *change = &changes->changes[i];
        for (unsigned fd = 0; fd < change->fd_count; fd++)
            close(change->fds[fd]);
        if (change->new)
            port_free(change->new);
    }
    free(changes);
}

struct port_changes *port_changes_plan(struct ports *ports, struct transaction *transaction, char *text)
{
    const struct objects *objects = transaction_objects(transaction);
    size_t most = ports->count + objects_count(objects, DP_KIND_PORT);
    struct port_changes *changes = calloc(1, sizeof(*changes) + most * sizeof(changes->changes[0]));
    if (!changes) {
        snprintf(text, OBJECT_TEXT_SIZE, "no memory for a change of ports");
        errno = ENOMEM;
        return NULL;
    }
    changes->ports = ports;
    memcpy(changes->view, ports->view, sizeof(changes->view));
    int error = 0;
    for (uint32_t id = 1; id < DP_PORTS_MAX && !error; id++) {
        const struct dp_port *wanted = objects_port(objects, id);
        if (wanted || ports->view[id].port)
            error = plan_port(changes, id, wanted, transaction, text);
    }
    if (!error)
        error = plan_exclusive(changes, text);
    if (error) {
        discard(changes);
        errno = -error;
        return NULL;
    }
    plan_workers(changes);
    memcpy(changes->interim, ports->view, sizeof(changes->interim));
    for (unsigned i = 0; i < changes->count; i++)
        if (changes->changes[i].exclusive && changes->changes[i].old)
            changes->interim[changes->changes[i].id].port = NULL;
    return changes;
}

static int open_new(struct port_change *change, char *text)
{
    char reason[OBJECT_TEXT_SIZE] = "";
    struct port *port = change->new;
    int error = port->ops->open(port, change->fds, change->fd_count, reason);
    if (error) {
        /* Cut where it must be, not before: with a short name the whole reason has room. */
        int length = snprintf(text, OBJECT_TEXT_SIZE, "port %.40s: ", port->config.name);
        snprintf(text + length, OBJECT_TEXT_SIZE - (size_t)length, "%s",
                 reason[0] ? reason : strerror(-error));
        return error;
    }
    change->fd_count = 0; /* they are the port's */
    change->new_open = true;
    return 0;
}

static int open_all(struct port_changes *changes, bool exclusive, char *text)
{
    int error = 0;
    for (unsigned i = 0; i < changes->count && !error; i++)
        if (changes->changes[i].new && changes->changes[i].exclusive == exclusive)
            error = open_new(&changes->changes[i], text);
    return error;
}

int port_changes_open(struct port_changes *changes, char *text)
{
    return open_all(changes, false, text);
}

bool port_changes_exclusive(const struct port_changes *changes)
{
    return changes->exclusive;
}

int port_changes_exchange(struct port_changes *changes, char *text)
{
    for (unsigned i = 0; i < changes->count; i++) {
        struct port_change *change = &changes->changes[i];
        if (!change->exclusive || !change->old)
            continue;
        change->old->ops->close(change->old);
        change->old_closed = true;
    }
    return open_all(changes, true, text);
}

const struct compile_port *port_changes_view(const struct port_changes *changes)
{
    return changes->view;
}

const struct compile_port *port_changes_interim_view(const struct port_changes *changes)
{
    return changes->interim;
}

/* The old port is opened with what it had. */
static bool reopen(struct ports *ports, struct port_change *change)
{
    char text[OBJECT_TEXT_SIZE] = "";
    struct port *port = change->old;
    int error = port->ops->open(port, NULL, 0, text);
    if (!error)
        return true;
    control_log(LOG_ERR, "port %s is closed: it could not be opened again after a commit that failed: %s",
                port->config.name, text[0] ? text : strerror(-error));
    set_error(ports, change->id, text[0] ? text : strerror(-error));
    ports->view[change->id].port = NULL;
    ports->count--;
    port_free(port);
    return false;
}

bool port_changes_undo(struct port_changes *changes)
{
    bool whole = true;
    for (unsigned i = 0; i < changes->count; i++) {
        struct port_change *change = &changes->changes[i];
        if (change->new_open)
            change->new->ops->close(change->new);
    }
    for (unsigned i = 0; i < changes->count; i++)
        if (changes->changes[i].old_closed && !reopen(changes->ports, &changes->changes[i]))
            whole = false;
    discard(changes);
    return whole;
}

void port_changes_leaving(const struct port_changes *changes, void (*call)(void *context, uint32_t id),
                          void *context)
{
    for (unsigned i = 0; i < changes->count; i++)
        if (changes->changes[i].old)
            call(context, changes->changes[i].id);
}

/* What may change without opening the port again. Workers look at the snapshot, only control at port->config.
 */
static void take_over(struct port *port, const struct dp_port *config)
{
    bool flags_changed = port->config.flags != config->flags;
    memcpy(port->config.name, config->name, sizeof(port->config.name));
    port->config.mtu = config->mtu;
    __atomic_store_n(&port->max_frame, port_max_frame(config), __ATOMIC_RELAXED);
    port->config.mac_limit = config->mac_limit;
    port->config.storm_pps = config->storm_pps;
    port->config.flags = config->flags;
    if (flags_changed)
        port->ops->check(port); /* administrative state */
}

void port_changes_close(struct port_changes *changes, const struct objects *objects)
{
    struct ports *ports = changes->ports;
    for (unsigned i = 0; i < changes->count; i++) {
        struct port_change *change = &changes->changes[i];
        if (change->old && change->old_closed)
            port_free(change->old);
        else if (change->old)
            close_port(change->old);
        ports->count += (change->new != NULL);
        ports->count -= (change->old != NULL);
    }
    memcpy(ports->view, changes->view, sizeof(ports->view));
    for (uint32_t id = 1; id < DP_PORTS_MAX; id++) {
        set_error(ports, id, NULL);
        if (ports->view[id].port)
            take_over(ports->view[id].port, objects_port(objects, id));
    }
    free(changes);
}
