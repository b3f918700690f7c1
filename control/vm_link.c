/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. Connects to the machine's control socket, tries again until it can (the socket comes
 * when the machine is made), then asks for the status every STATUS_MS, and after each thing it was told to
 * do. A weft-vmm that its guest has taken over may say anything: an answer is a line of at most LINE_SIZE,
 * one is awaited at a time, and what is taken from it are numbers, truth values and words that are compared
 * (vm.c). Nothing here waits.
 *
 * A weft-vmm that says nothing for VM_SILENT_MS is silent: stopped, or its main thread hangs. Time counts in
 * turns of the timer, each for STATUS_MS at most, so that a weftd that was away itself does not think so.
 */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "clock.h"
#include "vm_machine.h"

#define CONNECT_MS 25
#define LATER_MS   500
#define SOON       200u /* attempts before LATER_MS */
#define STATUS_MS  1000
#define LINE_SIZE  (64u << 10)

struct vm_link {
    struct event_base *base;
    struct sockaddr_un address;
    struct bufferevent *buffer; /* NULL: not connected */
    struct event *timer;
    bool waiting; /* for a status */
    unsigned attempts;
    int64_t turn_ms;   /* the timer's last */
    int64_t silent_ms; /* since it was heard last */
    void (*status)(void *context, json_t *status);
    void (*silent)(void *context);
    void *context;
};

static void timer_in(struct vm_link *link, int ms)
{
    struct timeval delay = {ms / 1000, (ms % 1000) * 1000};
    evtimer_add(link->timer, &delay);
}

static void disconnect(struct vm_link *link)
{
    if (link->buffer)
        bufferevent_free(link->buffer);
    link->buffer = NULL;
    link->waiting = false;
    timer_in(link, link->attempts++ < SOON ? CONNECT_MS : LATER_MS);
}

static void send_text(struct vm_link *link, const char *text)
{
    bufferevent_write(link->buffer, text, strlen(text));
}

static void ask(struct vm_link *link)
{
    if (!link->waiting)
        send_text(link, "{\"id\":1,\"method\":\"status\"}\n");
    link->waiting = true;
    timer_in(link, STATUS_MS);
}

/* Answers to the status have the id 1; others say that something was done, or why not. */
static void take_line(struct vm_link *link, const char *line, size_t size)
{
    json_t *answer = json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL);
    json_t *result = json_object_get(answer, "result");
    if (json_integer_value(json_object_get(answer, "id")) == 1) {
        link->waiting = false;
        link->silent_ms = 0;
        if (json_is_object(result))
            link->status(link->context, result);
    }
    json_decref(answer);
}

static void on_read(struct bufferevent *buffer, void *context)
{
    struct vm_link *link = context;
    struct evbuffer *input = bufferevent_get_input(buffer);
    size_t size;
    for (char *line; (line = evbuffer_readln(input, &size, EVBUFFER_EOL_LF)); free(line))
        take_line(link, line, size);
    if (evbuffer_get_length(input) >= LINE_SIZE)
        disconnect(link);
}

static void on_event(struct bufferevent *buffer, short what, void *context)
{
    (void)buffer;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT))
        disconnect(context);
}

/* Connecting to a local socket is done at once or not at all. */
static void try_connect(struct vm_link *link)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&link->address, sizeof(link->address)) == 0)
        link->buffer = bufferevent_socket_new(link->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!link->buffer) {
        if (fd >= 0)
            close(fd);
        disconnect(link);
        return;
    }
    link->attempts = 0;
    bufferevent_setcb(link->buffer, on_read, NULL, on_event, link);
    bufferevent_setwatermark(link->buffer, EV_READ, 0, LINE_SIZE);
    bufferevent_enable(link->buffer, EV_READ | EV_WRITE);
    ask(link);
}

static void count_silence(struct vm_link *link)
{
    int64_t now_ms = clock_ms(), passed_ms = now_ms - link->turn_ms, before_ms = link->silent_ms;
    link->turn_ms = now_ms;
    link->silent_ms += passed_ms < STATUS_MS ? passed_ms : STATUS_MS;
    if (before_ms < VM_SILENT_MS && link->silent_ms >= VM_SILENT_MS)
        link->silent(link->context);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct vm_link *link = context;
    (void)fd, (void)what;
    count_silence(link);
    if (link->buffer)
        ask(link);
    else
        try_connect(link);
}

struct vm_link *vm_link_new(struct event_base *base, const char *directory,
                            void (*status)(void *context, json_t *status), void (*silent)(void *context),
                            void *context)
{
    struct vm_link *link = calloc(1, sizeof(*link));
    if (!link)
        abort();
    link->base = base;
    link->status = status;
    link->silent = silent;
    link->turn_ms = clock_ms();
    link->context = context;
    link->address.sun_family = AF_UNIX;
    snprintf(link->address.sun_path, sizeof(link->address.sun_path), "%.98s/" VM_CONTROL, directory);
    link->timer = evtimer_new(base, on_timer, link);
    timer_in(link, 0);
    return link;
}

void vm_link_free(struct vm_link *link)
{
    if (!link)
        return;
    if (link->buffer)
        bufferevent_free(link->buffer);
    event_free(link->timer);
    free(link);
}

bool vm_link_send(struct vm_link *link, const char *method)
{
    char text[80];
    if (!link || !link->buffer)
        return false;
    snprintf(text, sizeof(text), "{\"id\":2,\"method\":\"%s\"}\n", method);
    send_text(link, text);
    link->waiting = false; /* the answer under way is of before */
    ask(link);
    return true;
}
