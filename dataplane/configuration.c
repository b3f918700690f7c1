/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * A commit goes through steps that can fail while everything is still as it was, and then through steps that
 * cannot fail:
 *
 *   1. plan the ports (ports.c), compile the new snapshot, enter new static addresses      may fail: undone
 *   2. open the new ports                                                                  may fail: undone
 *   3. where a device changes hands: publish the interim snapshot, exchange the ports       may fail: undone
 *   4. publish the new snapshot, grace period
 *   5. forget what was learned where membership changed, remove old static addresses, close the ports that
 * left, free the old snapshot
 *
 * Workers forward all the time; a grace period waits for each to pass the end of a round.
 *
 * Learned addresses are flushed for ports that left or were exchanged, for ports whose memberships changed,
 * and for segments that are gone or went to another tenant. Everything else stays known over a commit.
 *
 * A static address that stays but leads elsewhere now (another port, another VLAN tag at the port) is taken
 * out before the new snapshot is published and entered after: in between its frames are flooded, which the
 * snapshot decides, so that no frame leaves with the old tag under the new configuration or the other way
 * round.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include "configuration.h"
#include "fdb.h"
#include "nat.h"
#include "worker.h"

struct commit {
    struct configuration *configuration;
    const struct objects *old, *new;
    struct port_changes *changes;
    struct snapshot *snapshot, *interim;
    size_t statics_entered; /* of the new objects' list: those before are done */
    bool flush_ports[DP_PORTS_MAX];
};

int configuration_init(struct configuration *configuration, const struct ports_config *ports, struct fdb *fdb,
                       struct nat *nat)
{
    memset(configuration, 0, sizeof(*configuration));
    configuration->fdb = fdb;
    configuration->nat = nat;
    configuration->objects = objects_new();
    configuration->ports = ports_new(ports);
    if (configuration->objects && configuration->ports)
        configuration->snapshot = compile(configuration->objects, fdb, nat, ports_view(configuration->ports));
    if (!configuration->snapshot) {
        configuration_fini(configuration);
        return -ENOMEM;
    }
    workers_publish(configuration->snapshot);
    return 0;
}

void configuration_fini(struct configuration *configuration)
{
    ports_free(configuration->ports);
    snapshot_free(configuration->snapshot);
    objects_free(configuration->objects);
    memset(configuration, 0, sizeof(*configuration));
}

static uint32_t static_vid(const struct snapshot *snapshot, const struct dp_static *entry)
{
    const struct output *output = snapshot_output(snapshot, entry->segment, entry->port);
    return output ? output->vid : 0;
}

enum static_change { STATIC_SAME, STATIC_NEW, STATIC_MOVED };

static enum static_change static_change(const struct commit *commit, const struct dp_static *entry)
{
    const struct dp_static *old = objects_find(commit->old, DP_KIND_STATIC, entry);
    if (!old)
        return STATIC_NEW;
    bool same = old->port == entry->port &&
                static_vid(commit->configuration->snapshot, old) == static_vid(commit->snapshot, entry);
    return same ? STATIC_SAME : STATIC_MOVED;
}

static int enter_static(const struct commit *commit, const struct dp_static *entry)
{
    return fdb_static_set(commit->configuration->fdb, entry->segment, entry->mac, entry->port,
                          static_vid(commit->snapshot, entry));
}

static int enter_new_statics(struct commit *commit, char *text)
{
    size_t count = objects_count(commit->new, DP_KIND_STATIC);
    for (; commit->statics_entered < count; commit->statics_entered++) {
        const struct dp_static *entry = objects_at(commit->new, DP_KIND_STATIC, commit->statics_entered);
        int error = static_change(commit, entry) == STATIC_NEW ? enter_static(commit, entry) : 0;
        if (error) {
            snprintf(text, OBJECT_TEXT_SIZE, "the address table has no room for %zu static addresses", count);
            return error;
        }
    }
    return 0;
}

static void undo_new_statics(const struct commit *commit)
{
    for (size_t i = 0; i < commit->statics_entered; i++) {
        const struct dp_static *entry = objects_at(commit->new, DP_KIND_STATIC, i);
        if (static_change(commit, entry) == STATIC_NEW)
            fdb_static_del(commit->configuration->fdb, entry->segment, entry->mac);
    }
}

static void remove_moved_statics(const struct commit *commit)
{
    for (size_t i = 0; i < objects_count(commit->new, DP_KIND_STATIC); i++) {
        const struct dp_static *entry = objects_at(commit->new, DP_KIND_STATIC, i);
        if (static_change(commit, entry) == STATIC_MOVED)
            fdb_static_del(commit->configuration->fdb, entry->segment, entry->mac);
    }
}

static void finish_statics(const struct commit *commit)
{
    for (size_t i = 0; i < objects_count(commit->old, DP_KIND_STATIC); i++) {
        const struct dp_static *entry = objects_at(commit->old, DP_KIND_STATIC, i);
        if (!objects_find(commit->new, DP_KIND_STATIC, entry))
            fdb_static_del(commit->configuration->fdb, entry->segment, entry->mac);
    }
    for (size_t i = 0; i < objects_count(commit->new, DP_KIND_STATIC); i++) {
        const struct dp_static *entry = objects_at(commit->new, DP_KIND_STATIC, i);
        int error = static_change(commit, entry) == STATIC_MOVED ? enter_static(commit, entry) : 0;
        if (error)
            control_log(LOG_ERR, "static address in segment %u is not in force: %s", entry->segment,
                        strerror(-error));
    }
}

/* Ports of which `from` has a membership that `to` has not. */
static void mark_members(struct commit *commit, const struct objects *from, const struct objects *to)
{
    for (size_t i = 0; i < objects_count(from, DP_KIND_MEMBER); i++) {
        const struct dp_member *member = objects_at(from, DP_KIND_MEMBER, i);
        const struct dp_member *other = objects_find(to, DP_KIND_MEMBER, member);
        if (!other || other->segment != member->segment)
            commit->flush_ports[member->port] = true;
    }
}

static void mark_port(void *context, uint32_t id)
{
    struct commit *commit = context;
    commit->flush_ports[id] = true;
}

static void flush_learned(struct commit *commit)
{
    struct fdb *fdb = commit->configuration->fdb;
    mark_members(commit, commit->old, commit->new);
    mark_members(commit, commit->new, commit->old);
    port_changes_leaving(commit->changes, mark_port, commit);
    for (uint32_t id = 1; id < DP_PORTS_MAX; id++)
        if (commit->flush_ports[id])
            fdb_flush(fdb, 0, id);
    for (size_t i = 0; i < objects_count(commit->old, DP_KIND_SEGMENT); i++) {
        const struct dp_segment *old = objects_at(commit->old, DP_KIND_SEGMENT, i);
        const struct dp_segment *new = objects_segment(commit->new, old->id);
        if (!new || new->tenant != old->tenant)
            fdb_flush(fdb, old->id, 0);
    }
}

static void set_ageing(const struct commit *commit)
{
    for (size_t i = 0; i < objects_count(commit->new, DP_KIND_SEGMENT); i++) {
        const struct dp_segment *new = objects_at(commit->new, DP_KIND_SEGMENT, i);
        const struct dp_segment *old = objects_segment(commit->old, new->id);
        if (!old || old->ageing_s != new->ageing_s)
            fdb_set_ageing(commit->configuration->fdb, new->id, new->ageing_s);
    }
}

static int prepare(struct commit *commit, struct transaction *transaction, char *text)
{
    struct configuration *configuration = commit->configuration;
    commit->changes = port_changes_plan(configuration->ports, transaction, text);
    if (!commit->changes)
        return -errno;
    commit->snapshot =
        compile(commit->new, configuration->fdb, configuration->nat, port_changes_view(commit->changes));
    if (commit->snapshot && port_changes_exclusive(commit->changes))
        commit->interim = compile(commit->old, configuration->fdb, configuration->nat,
                                  port_changes_interim_view(commit->changes));
    if (!commit->snapshot || (port_changes_exclusive(commit->changes) && !commit->interim)) {
        snprintf(text, OBJECT_TEXT_SIZE, "no memory for the compiled configuration");
        return -ENOMEM;
    }
    commit->snapshot->generation = configuration->snapshot->generation + 1;
    if (commit->interim)
        commit->interim->generation = configuration->snapshot->generation;
    return enter_new_statics(commit, text);
}

static int open_ports(struct commit *commit, char *text)
{
    int error = port_changes_open(commit->changes, text);
    if (error || !port_changes_exclusive(commit->changes))
        return error;
    workers_publish(commit->interim);
    workers_quiesce();
    return port_changes_exchange(commit->changes, text);
}

/* The configuration in force, but for ports that are not open any more. Of two snapshots one becomes the
 * current one, the other is left in *spare to be freed when nobody reads it. */
static void leave_out_closed_ports(struct commit *commit, struct snapshot **spare)
{
    struct configuration *configuration = commit->configuration;
    struct snapshot *without = compile(configuration->objects, configuration->fdb, configuration->nat,
                                       ports_view(configuration->ports));
    if (without) {
        without->generation = configuration->snapshot->generation;
    } else { /* the interim snapshot lacks those ports, and some more, but it is there */
        without = commit->interim;
        commit->interim = NULL;
    }
    *spare = configuration->snapshot;
    configuration->snapshot = without;
}

/* Everything as it was. Ports that cannot be opened again are left out of the configuration until the next
 * commit. */
static void undo(struct commit *commit)
{
    struct snapshot *spare = NULL;
    if (commit->snapshot)
        undo_new_statics(commit);
    if (commit->changes) {
        bool republish = commit->interim != NULL; /* nothing else was published yet */
        if (!port_changes_undo(commit->changes))
            leave_out_closed_ports(commit, &spare);
        if (republish) {
            workers_publish(commit->configuration->snapshot);
            workers_quiesce();
        }
    }
    snapshot_free(spare);
    snapshot_free(commit->interim);
    snapshot_free(commit->snapshot);
}

static void finish(struct commit *commit, struct transaction *transaction)
{
    struct configuration *configuration = commit->configuration;
    remove_moved_statics(commit);
    set_ageing(commit);
    workers_publish(commit->snapshot);
    workers_quiesce();
    if (configuration->nat && commit->snapshot)
        nat_config_changed(configuration->nat, commit->snapshot->nat_config);
    flush_learned(commit);
    finish_statics(commit);
    port_changes_close(commit->changes, commit->new);
    snapshot_free(commit->interim);
    snapshot_free(configuration->snapshot);
    configuration->snapshot = commit->snapshot;
    objects_free(configuration->objects);
    configuration->objects = transaction_take_objects(transaction);
}

int configuration_commit(struct configuration *configuration, struct transaction *transaction, char *text)
{
    struct commit *commit = calloc(1, sizeof(*commit));
    if (!commit) {
        snprintf(text, OBJECT_TEXT_SIZE, "no memory for a commit");
        return -ENOMEM;
    }
    workers_settle(); /* what the controller sent before goes out as long as there is a way */
    commit->configuration = configuration;
    commit->old = configuration->objects;
    commit->new = transaction_objects(transaction);
    int error = prepare(commit, transaction, text);
    if (!error)
        error = open_ports(commit, text);
    if (error)
        undo(commit);
    else
        finish(commit, transaction);
    free(commit);
    return error;
}
