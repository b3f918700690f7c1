/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. The programming socket answers questions and says nothing by itself, so the states of
 * all ports are asked for twice a second (once, with 4,000 ports), the counters (for addresses refused at a
 * limit) every tenth time unless there are more than 1,024 ports. A port that is not configured any more is
 * forgotten without an event.
 */
#include <stdlib.h>
#include <string.h>
#include "controller.h"
#include "log.h"
#include "monitor.h"

#define INTERVAL_MS       500
#define PORTS_PER_MS      4 /* more ports than this times INTERVAL_MS: slower */
#define COUNTERS_EVERY    10
#define COUNTERS_PORT_MAX 1024

struct seen {
    bool known;
    bool link;
    uint32_t ring_errors;
    uint64_t protocol_errors;
    uint64_t mac_limit;
    bool mac_limit_known;
};

struct monitor {
    struct controller *controller;
    struct event *timer;
    unsigned round;
    struct seen ports[DP_PORTS_MAX];
};

static const char *port_name(const struct controller *controller, uint32_t id)
{
    const struct model *model = controller->model;
    for (unsigned i = 0; i < model->port_count; i++) {
        if (model->ports[i].id == id)
            return model->ports[i].full_name;
    }
    for (unsigned i = 0; i < model->uplink_count; i++) {
        if (model->uplinks[i].id == id)
            return model->uplinks[i].name;
    }
    return NULL;
}

static void look_at_state(struct monitor *monitor, const struct dp_port_state *state)
{
    struct controller *controller = monitor->controller;
    struct seen *seen = &monitor->ports[state->id];
    bool link = state->link != 0;
    bool error = state->ring_errors > seen->ring_errors || state->protocol_errors > seen->protocol_errors;
    bool changed = seen->known ? link != seen->link : link;
    const char *name = changed || (error && seen->known) ? port_name(controller, state->id) : NULL;
    if (name && changed)
        events_add(controller->events, link ? "port-up" : "port-down", name, 0,
                   link ? "link up" : "link down");
    if (name && error && seen->known)
        events_add(controller->events, "port-error", name, 0, "%.*s", (int)sizeof(state->last_error),
                   state->last_error[0] ? state->last_error : "a ring broke");
    seen->known = true;
    seen->link = link;
    seen->ring_errors = state->ring_errors;
    seen->protocol_errors = state->protocol_errors;
}

static void look_at_counters(struct monitor *monitor, const struct dp_port_counters *counters)
{
    struct controller *controller = monitor->controller;
    struct seen *seen = &monitor->ports[counters->id];
    uint64_t refused = counters->rx_drops[DP_DROP_MAC_LIMIT];
    const char *name = seen->mac_limit_known && refused > seen->mac_limit && seen->known
                           ? port_name(controller, counters->id)
                           : NULL;
    if (name)
        events_add(controller->events, "mac-limit", name, 0,
                   "%llu frames dropped: source addresses beyond the limit",
                   (unsigned long long)(refused - seen->mac_limit));
    seen->mac_limit = refused;
    seen->mac_limit_known = true;
}

static int look(struct monitor *monitor, enum dp_kind kind)
{
    struct dp_client *client = supervisor_client(monitor->controller->supervisor);
    void *objects;
    size_t count;
    int error = dp_client_dump_all(client, kind, &objects, &count);
    if (error)
        return error;
    for (size_t i = 0; i < count; i++) {
        if (kind == DP_KIND_PORT_STATE) {
            const struct dp_port_state *state = (const struct dp_port_state *)objects + i;
            if (state->id < DP_PORTS_MAX)
                look_at_state(monitor, state);
        } else {
            const struct dp_port_counters *counters = (const struct dp_port_counters *)objects + i;
            if (counters->id < DP_PORTS_MAX)
                look_at_counters(monitor, counters);
        }
    }
    free(objects);
    return 0;
}

static void next_round(struct monitor *monitor)
{
    int ms = (int)monitor->controller->model->port_count / PORTS_PER_MS;
    if (ms < INTERVAL_MS)
        ms = INTERVAL_MS;
    struct timeval delay = {ms / 1000, (ms % 1000) * 1000};
    evtimer_add(monitor->timer, &delay);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct monitor *monitor = context;
    struct controller *controller = monitor->controller;
    struct dp_client *client = supervisor_client(controller->supervisor);
    (void)fd, (void)what;
    int error = client ? look(monitor, DP_KIND_PORT_STATE) : 0;
    if (client && !error && monitor->round++ % COUNTERS_EVERY == 0 &&
        controller->model->port_count <= COUNTERS_PORT_MAX)
        error = look(monitor, DP_KIND_PORT_COUNTERS);
    if (error)
        supervisor_disconnect(controller->supervisor, dp_client_error(client));
    next_round(monitor);
}

struct monitor *monitor_new(struct controller *controller)
{
    struct monitor *monitor = calloc(1, sizeof(*monitor));
    if (!monitor)
        return NULL;
    monitor->controller = controller;
    monitor->timer = evtimer_new(controller->base, on_timer, monitor);
    next_round(monitor);
    return monitor;
}

void monitor_free(struct monitor *monitor)
{
    if (!monitor)
        return;
    event_free(monitor->timer);
    free(monitor);
}

void monitor_forget(struct monitor *monitor)
{
    memset(monitor->ports, 0, sizeof(monitor->ports));
    monitor->round = 0;
}
