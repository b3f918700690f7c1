/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * Everything but forwarding happens here, in libevent callbacks that do a bounded piece of work and never
 * wait, but for the grace periods of a commit (a round of each worker).
 *
 * The tick, TICK_MS apart, is armed only while there is a port: ports look for broken rings, vanished memory
 * and link changes, the address table ages a slice of itself. A dataplane without ports makes no timer at
 * all.
 *
 * Order of the end: no more requests, workers stopped, ports closed (their sockets removed), the rest freed.
 */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include "api_server.h"
#include "backend.h"
#include "configuration.h"
#include "control_thread.h"
#include "fdb.h"
#include "nat.h"
#include "punt.h"
#include "state.h"
#include "worker.h"

#define TICK_MS           100
#define FDB_ADDRESSES_MAX (4u << 20)
#define NAT_SESSIONS      (4u << 20)
/* Half of them is what one worker opens in 0.1 s at most, and so often the table can be made larger. 121 MiB
 */
#define NAT_SESSIONS_FIRST (1u << 20)

static struct {
    struct event_base *base;
    struct event *tick, *terminate, *interrupt;
    struct fdb *fdb;
    struct nat *nat;
    struct api_server *server;
    struct configuration configuration;
} control;

struct event_base *control_event_base(void)
{
    return control.base;
}

void control_quiesce(void)
{
    workers_quiesce();
}

void control_wake_fd(struct port *port, unsigned queue, int fd)
{
    workers_wake_fd(port, queue, fd);
}

unsigned control_worker_count(void)
{
    return workers_count();
}

void control_announce(struct port *port, const uint8_t mac[6])
{
    int error = workers_announce(port, mac);
    if (error)
        control_log(LOG_NOTICE, "port %s: its address could not be announced: %s", port->config.name,
                    strerror(-error));
}

static uint32_t now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)now.tv_sec;
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    ports_check(control.configuration.ports);
    fdb_maintain(control.fdb, now_s());
    nat_maintain(control.nat, now_s());
    punt_tick();
}

/* Ticks while there is something to look after. */
static void update_tick(void)
{
    static const struct timeval period = {.tv_usec = TICK_MS * 1000};
    bool wanted = ports_count(control.configuration.ports) > 0;
    bool armed = event_pending(control.tick, EV_TIMEOUT, NULL);
    if (wanted && !armed)
        event_add(control.tick, &period);
    else if (!wanted && armed)
        event_del(control.tick);
}

static void on_signal(evutil_socket_t number, short what, void *context)
{
    control_log(LOG_NOTICE, "signal %d: ending", (int)number);
    event_base_loopexit(control.base, NULL);
}

static const struct objects *serve_objects(void *context)
{
    return control.configuration.objects;
}

static int serve_commit(void *context, struct transaction *transaction, char *text)
{
    int error = configuration_commit(&control.configuration, transaction, text);
    update_tick();
    if (!error)
        punt_configured();
    return error;
}

static size_t serve_read(void *context, enum dp_kind kind, uint64_t *cursor, void *objects, size_t capacity)
{
    return state_read(&control.configuration, kind, cursor, objects, capacity);
}

static int serve_flush(void *context, const struct dp_flush *flush, char *text)
{
    if (flush->segment >= DP_SEGMENTS_MAX || flush->port >= DP_PORTS_MAX) {
        snprintf(text, OBJECT_TEXT_SIZE, "no segment %u or no port %u", flush->segment, flush->port);
        return -ERANGE;
    }
    fdb_flush(control.fdb, flush->segment, flush->port);
    return 0;
}

static int serve_punt(void *context, int fd, char *text)
{
    return punt_open(fd, text);
}

static void serve_stop(void *context)
{
    control_log(LOG_NOTICE, "asked to stop: ending");
    event_base_loopexit(control.base, NULL);
}

static const struct api_ops serve = {.objects = serve_objects,
                                     .commit = serve_commit,
                                     .read = serve_read,
                                     .flush = serve_flush,
                                     .punt = serve_punt,
                                     .stop = serve_stop};

static int start_events(void)
{
    control.base = event_base_new();
    if (!control.base)
        return -ENOMEM;
    control.tick = event_new(control.base, -1, EV_PERSIST, on_tick, NULL);
    control.terminate = evsignal_new(control.base, SIGTERM, on_signal, NULL);
    control.interrupt = evsignal_new(control.base, SIGINT, on_signal, NULL);
    if (!control.tick || !control.terminate || !control.interrupt || event_add(control.terminate, NULL) < 0 ||
        event_add(control.interrupt, NULL) < 0)
        return -ENOMEM;
    return 0;
}

static int start_server(const struct options *options)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/dataplane.sock", options->run_dir);
    control.server = api_server_new(control.base, path, &serve, NULL);
    if (control.server)
        return 0;
    int error = -errno;
    control_log(LOG_ERR, "%s: %s", path, strerror(-error));
    return error;
}

int control_start(const struct options *options)
{
    struct ports_config ports = {
        .ops = {[DP_PORT_VHOST_USER] = &port_vhost_ops,
                [DP_PORT_TAP] = &port_tap_ops,
                [DP_PORT_ROUTER] = &port_router_ops,
                [DP_PORT_PACKET] = &port_packet_ops,
                [DP_PORT_XDP] = &port_xdp_ops},
        .workers = options->core_count,
        .socket_group = options->socket_group,
    };
    if (options->allow_ethdev)
        ports.ops[DP_PORT_ETHDEV] = &port_ethdev_ops;
    int error = start_events();
    if (!error)
        error = vhost_backend_process_init();
    if (!error) {
        control.fdb = fdb_new(FDB_ADDRESSES_MAX, workers_quiesce);
        error = control.fdb ? 0 : -errno;
    }
    if (!error) {
        control.nat = nat_new(NAT_SESSIONS, NAT_SESSIONS_FIRST, workers_quiesce);
        error = control.nat ? 0 : -errno;
    }
    if (!error)
        error = workers_start(options->cores, options->core_count);
    if (!error)
        error = punt_start(control.base);
    if (!error)
        error = configuration_init(&control.configuration, &ports, control.fdb, control.nat);
    if (error)
        control_log(LOG_ERR, "the dataplane could not start: %s", strerror(-error));
    if (!error)
        error = start_server(options);
    if (error)
        control_stop();
    return error;
}

void control_run(void)
{
    event_base_dispatch(control.base);
}

void control_stop(void)
{
    api_server_free(control.server);
    punt_stop();
    if (workers_count() > 0)
        workers_stop();
    configuration_fini(&control.configuration);
    if (control.fdb)
        fdb_free(control.fdb);
    nat_free(control.nat);
    struct event *events[] = {control.tick, control.terminate, control.interrupt};
    for (unsigned i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        if (events[i])
            event_free(events[i]);
    if (control.base)
        event_base_free(control.base);
    memset(&control, 0, sizeof(control));
}
