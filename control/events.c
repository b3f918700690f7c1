/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "events.h"
#include "log.h"
#include "weft_api.h"

struct events {
    json_t *ring[WEFT_EVENTS_MAX]; /* sequence n is at n % WEFT_EVENTS_MAX */
    uint64_t sequence;             /* of the newest; 0: none yet */
    events_listener listener;
    void *context;
};

struct events *events_new(events_listener listener, void *context)
{
    struct events *events = calloc(1, sizeof(*events));
    if (events) {
        events->listener = listener;
        events->context = context;
    }
    return events;
}

void events_free(struct events *events)
{
    if (!events)
        return;
    for (unsigned i = 0; i < WEFT_EVENTS_MAX; i++)
        json_decref(events->ring[i]);
    free(events);
}

uint64_t events_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void events_time(uint64_t realtime_ns, char text[EVENTS_TIME_SIZE])
{
    time_t seconds = (time_t)(realtime_ns / 1000000000u);
    struct tm parts;
    char date[24];
    gmtime_r(&seconds, &parts);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text, EVENTS_TIME_SIZE, "%s.%03uZ", date, (unsigned)(realtime_ns / 1000000 % 1000));
}

static void set_port(json_t *event, const char *port)
{
    const char *slash = strchr(port, '/');
    if (slash)
        json_object_set_new(event, "tenant", json_stringn(port, (size_t)(slash - port)));
    json_object_set_new(event, "port", json_string(slash ? slash + 1 : port));
}

void events_add(struct events *events, const char *type, const char *port, uint64_t generation,
                const char *format, ...)
{
    char text[600], time[EVENTS_TIME_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    for (char *at = text; *at; at++) {
        if (*at < ' ' || *at > '~')
            *at = '?';
    }
    log_notice("%s%s%s: %s", type, port ? " " : "", port ? port : "", text);
    events_time(events_now(), time);
    json_t *event = json_pack("{s:I, s:s, s:s, s:s}", "sequence", (json_int_t)++events->sequence, "time",
                              time, "type", type, "text", text);
    if (port)
        set_port(event, port);
    if (generation)
        json_object_set_new(event, "generation", json_integer((json_int_t)generation));
    json_t **place = &events->ring[events->sequence % WEFT_EVENTS_MAX];
    json_decref(*place);
    *place = event;
    events->listener(events->context, event);
}

json_t *events_since(const struct events *events, uint64_t since)
{
    json_t *list = json_array();
    uint64_t oldest = events->sequence > WEFT_EVENTS_MAX ? events->sequence - WEFT_EVENTS_MAX : 0;
    for (uint64_t next = (since > oldest ? since : oldest) + 1; next <= events->sequence; next++)
        json_array_append(list, events->ring[next % WEFT_EVENTS_MAX]);
    return list;
}
