/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Keeps a weft-dataplane running and a connection to it open. Theory of operation in supervisor.c.
 *
 * Threads: weftd has one; callbacks come from its event loop.
 */
#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "client.h"

enum supervisor_state { SUPERVISOR_DOWN, SUPERVISOR_STARTING, SUPERVISOR_UP };

struct supervisor_callbacks {
    void (*up)(void *context);                         /* connected: program it */
    void (*lost)(void *context, const char *reason);   /* the connection is gone */
    void (*failed)(void *context, const char *reason); /* could not be started; will be tried again */
    void *context;
};

struct supervisor;

struct supervisor *supervisor_new(struct event_base *base, const char *run_dir,
                                  const struct supervisor_callbacks *callbacks);
/* Dataplanes are this unit of systemd's from now on, which reads its options in `state_dir`, instead of
 * children. `unit` is not copied; NULL: children. */
void supervisor_use_unit(struct supervisor *supervisor, const char *unit, const char *state_dir);
/* `stop_dataplane`: ends the process if it was started by this weftd, and waits for that. */
void supervisor_free(struct supervisor *supervisor, bool stop_dataplane);

/* The configuration (NULL: none), for the next start: its `dataplane` table, and whether it has uplinks on
 * DPDK devices. */
void supervisor_configure(struct supervisor *supervisor, json_t *config);
/* The same for one that replaces what is in force once the dataplane holds that: it serves DPDK devices if
 * either has some. */
void supervisor_configure_next(struct supervisor *supervisor, json_t *config);
/* Whether this configuration means another start than the configured one. */
bool supervisor_differs(const struct supervisor *supervisor, json_t *config);
/* Adopts or starts one; to be called once. */
void supervisor_start(struct supervisor *supervisor);
/* Stops the running one and starts another with what was configured since, and waits until it is connected.
 * The callbacks are not called. 0 or -errno. */
int supervisor_replace(struct supervisor *supervisor);
/* The connection failed in a call: forget it and look again. */
void supervisor_disconnect(struct supervisor *supervisor, const char *reason);

struct dp_client *supervisor_client(const struct supervisor *supervisor); /* NULL unless SUPERVISOR_UP */
enum supervisor_state supervisor_state(const struct supervisor *supervisor);
const char *supervisor_reason(const struct supervisor *supervisor); /* why it is not up; "" */
bool supervisor_adopted(const struct supervisor *supervisor);
unsigned supervisor_restarts(const struct supervisor *supervisor);
