/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. The programming socket answers questions and says nothing by itself, so the states of
 * all ports are asked for twice a second (once, with 4,000 ports), the counters (for addresses refused at a
 * limit) every tenth time unless there are more than 1,024 ports. A port that is not configured any more is
 * forgotten without an event. New sessions that address translation refused are looked for with the counters.
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

/* Refusals of a tenant's router (by its number) and of an outside address. */
struct seen_refusals {
    uint32_t id;
    uint8_t address[16];
    uint64_t refused;
};

struct refusals {
    struct seen_refusals *items;
    size_t count;
    bool known; /* once looked at: what is new since is news */
};

struct monitor {
    struct controller *controller;
    struct refusals routers, addresses;
    struct event *timer;
    unsigned round;
    bool links_changed; /* of uplinks, in this round */
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

/* Guests of its segments are shown the link of a device that only the dataplane sees. */
static void follow_uplink(struct monitor *monitor, const struct dp_port_state *state)
{
    struct model *model = monitor->controller->model;
    for (unsigned i = 0; i < model->uplink_count; i++) {
        if (model->uplinks[i].id != state->id || model->uplinks[i].no_link == !state->link)
            continue;
        model->uplinks[i].no_link = !state->link;
        monitor->links_changed = true;
    }
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
    follow_uplink(monitor, state);
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

/* How many more than at the last look; remembers them. */
static uint64_t refusals_more(struct refusals *refusals, uint32_t id, const uint8_t address[16],
                              uint64_t refused)
{
    for (size_t i = 0; i < refusals->count; i++) {
        struct seen_refusals *seen = &refusals->items[i];
        if (seen->id != id || memcmp(seen->address, address, sizeof(seen->address)) != 0)
            continue;
        uint64_t before = seen->refused;
        seen->refused = refused;
        return refused > before ? refused - before : 0;
    }
    struct seen_refusals *grown =
        reallocarray(refusals->items, refusals->count + 1, sizeof(*refusals->items));
    if (!grown)
        return 0;
    refusals->items = grown;
    struct seen_refusals *seen = &grown[refusals->count++];
    *seen = (struct seen_refusals){.id = id, .refused = refused};
    memcpy(seen->address, address, sizeof(seen->address));
    return refusals->known ? refused : 0;
}

static int look_at_routers(struct monitor *monitor)
{
    static const uint8_t none[16];
    struct controller *controller = monitor->controller;
    const struct model *model = controller->model;
    void *objects;
    size_t count;
    int error =
        dp_client_dump_all(supervisor_client(controller->supervisor), DP_KIND_ROUTER_STATE, &objects, &count);
    for (size_t i = 0; !error && i < count; i++) {
        const struct dp_router_state *state = (const struct dp_router_state *)objects + i;
        uint64_t more = refusals_more(&monitor->routers, state->id, none, state->sessions_refused);
        for (unsigned k = 0; more && k < model->tenant_count; k++) {
            if (model->tenants[k].id == state->id)
                events_add(controller->events, "session-limit", NULL, 0,
                           "tenant %s: %llu new sessions refused, %u are open", model->tenants[k].name,
                           (unsigned long long)more, state->sessions);
        }
    }
    monitor->routers.known |= !error;
    if (!error)
        free(objects);
    return error;
}

static int look_at_nat_addresses(struct monitor *monitor)
{
    struct controller *controller = monitor->controller;
    const struct model *model = controller->model;
    void *objects;
    size_t count;
    int error = dp_client_dump_all(supervisor_client(controller->supervisor), DP_KIND_NAT_ADDRESS_STATE,
                                   &objects, &count);
    for (size_t i = 0; !error && i < count; i++) {
        const struct dp_nat_address_state *state = (const struct dp_nat_address_state *)objects + i;
        uint64_t more = refusals_more(&monitor->addresses, state->port, state->address, state->refused);
        for (unsigned k = 0; more && k < model->uplink_count; k++) {
            if (model->uplinks[k].outside_port == state->port)
                events_add(controller->events, "nat-ports", model->uplinks[k].name, 0,
                           "%llu new sessions refused: no port of an outside address is free",
                           (unsigned long long)more);
        }
    }
    monitor->addresses.known |= !error;
    if (!error)
        free(objects);
    return error;
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
    if (client && !error && monitor->round % COUNTERS_EVERY == 1 && model_has_routers(controller->model)) {
        error = look_at_routers(monitor);
        if (!error)
            error = look_at_nat_addresses(monitor);
    }
    if (error)
        supervisor_disconnect(controller->supervisor, dp_client_error(client));
    else if (monitor->links_changed)
        apply_follow(controller);
    monitor->links_changed = false;
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
    free(monitor->routers.items);
    free(monitor->addresses.items);
    free(monitor);
}

void monitor_forget(struct monitor *monitor)
{
    memset(monitor->ports, 0, sizeof(monitor->ports));
    free(monitor->routers.items);
    free(monitor->addresses.items);
    monitor->routers = monitor->addresses = (struct refusals){0};
    monitor->round = 0;
}
