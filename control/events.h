/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What happened, for `weft events`: the last WEFT_EVENTS_MAX events and whoever wants to hear the next.
 *
 * Threads: weftd has one.
 */
#include <jansson.h>
#include <stdint.h>

struct events;

typedef void (*events_listener)(void *context, json_t *event);

struct events *events_new(events_listener listener, void *context);
void events_free(struct events *events);
/* `port` is "tenant/port", an uplink's name, or NULL; `generation` 0: none. Also logged. */
void events_add(struct events *events, const char *type, const char *port, uint64_t generation,
                const char *format, ...) __attribute__((format(printf, 5, 6)));
/* Array of those with a sequence above `since`, the oldest first. */
json_t *events_since(const struct events *events, uint64_t since);

/* RFC 3339 with milliseconds, UTC. */
#define EVENTS_TIME_SIZE 32u
void events_time(uint64_t realtime_ns, char text[EVENTS_TIME_SIZE]);
uint64_t events_now(void); /* CLOCK_REALTIME, nanoseconds */
