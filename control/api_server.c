/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. A client is a bufferevent. Complete lines are taken from its input one by one and
 * answered in order, one in a turn of the event loop: a client that sends many at once does not keep weftd
 * from the others and from its own work. Nobody can make weftd wait or grow: a line that was begun must end
 * within WEFT_API_LINE_SECONDS (once more if it was weftd that had not read what had come) and
 * WEFT_API_LINE_SIZE; nothing more is read from a client that does not take its answers; one that follows
 * events and does not take them is told so and left out. A request that needs the dataplane while it is
 * starting is kept (`waiting`) until it is there, at most WAIT_SECONDS. A client is freed only from the event
 * loop's callbacks, at their end (client_settle).
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "api_call.h"
#include "api_roles.h"
#include "api_server.h"
#include "bench.h"

#define OUTPUT_PAUSE  (1u << 20) /* bytes not taken: answer nothing more */
#define FOLLOW_BEHIND (4u << 20) /* bytes not taken: end the stream */
#define WAIT_SECONDS  10

struct client {
    struct client *next;
    struct api_server *server;
    struct bufferevent *buffer;
    struct event *deadline; /* of the line, or of the wait */
    struct event *turn;     /* there may be another complete line */
    struct api_role role;
    bool greeted;
    bool ended;   /* the other end sent everything */
    bool closing; /* when the output is taken */
    bool retried; /* the request, once, since the dataplane died over it */
    bool overdue; /* the line, and this process did not read all of it in time */
    bool dead;
    json_t *waiting; /* request */
    json_t *follow;  /* id of the request */
};

struct api_server {
    struct controller *controller;
    struct evconnlistener *listener;
    char path[128];
    struct client *clients;
    unsigned client_count;
    struct api_groups groups;
};

static void client_send(struct client *client, json_t *line)
{
    char *text = json_dumps(line, JSON_COMPACT);
    if (text) {
        bufferevent_write(client->buffer, text, strlen(text));
        bufferevent_write(client->buffer, "\n", 1);
    }
    free(text);
    json_decref(line);
}

/* 0: none. */
static void client_deadline(struct client *client, int seconds)
{
    struct timeval delay = {seconds, 0};
    if (seconds)
        evtimer_add(client->deadline, &delay);
    else
        evtimer_del(client->deadline);
}

static json_t *answer_error(json_t *id, const struct outcome *outcome)
{
    json_t *error = json_pack("{s:i, s:s}", "code", outcome->code, "message", outcome->message);
    if (outcome->details)
        json_object_set(error, "details", outcome->details);
    return json_pack("{s:O, s:o}", "id", id, "error", error);
}

static void client_send_error(struct client *client, json_t *id, enum weft_code code, const char *message)
{
    struct outcome outcome = {0};
    outcome_fail(&outcome, code, "%s", message);
    client_send(client, answer_error(id ? id : json_null(), &outcome));
}

static void client_send_item(struct client *client, json_t *id, json_t *item)
{
    client_send(client, json_pack("{s:O, s:O}", "id", id, "item", item));
}

/* Runs a method whose parameters are not checked yet. */
static void call_run(struct api_call *call, const struct api_method *method)
{
    if (method->admin && !call->admin) {
        outcome_fail(&call->outcome, WEFT_NOT_PERMITTED,
                     "not permitted: %s needs root or membership in group " WEFT_GROUP_ADMIN, method->name);
        return;
    }
    if (api_params_check(call, method->params))
        method->handler(call);
}

static void call_clear(struct api_call *call)
{
    json_decref(call->result);
    json_decref(call->items);
    outcome_clear(&call->outcome);
}

static void client_send_answer(struct client *client, json_t *id, const struct api_call *call)
{
    size_t index;
    json_t *item;
    json_array_foreach (call->items, index, item)
        client_send_item(client, id, item);
    if (call->outcome.code != WEFT_OK)
        client_send(client, answer_error(id, &call->outcome));
    else if (call->follow)
        client->follow = json_incref(id);
    else
        client_send(client, json_pack("{s:O, s:O}", "id", id, "result", call->result));
}

/* The dataplane died in the middle: nothing was changed, and another one is being started. */
static bool dataplane_was_lost(const struct client *client, const struct api_method *method,
                               const struct api_call *call)
{
    return method->waits && method->admin && client->role.admin && call->outcome.code == WEFT_FAILED &&
           supervisor_state(call->controller->supervisor) == SUPERVISOR_STARTING;
}

static void client_answer(struct client *client, json_t *request, const struct api_method *method)
{
    json_t *id = json_object_get(request, "id"), *params = json_object_get(request, "params");
    struct api_call call = {
        .controller = client->server->controller,
        .params = params ? json_incref(params) : json_object(),
        .owner = client,
        .uid = client->role.uid,
        .admin = client->role.admin,
    };
    bool was_up = supervisor_state(call.controller->supervisor) == SUPERVISOR_UP;
    call_run(&call, method);
    client->retried = was_up && !client->retried && dataplane_was_lost(client, method, &call);
    if (client->retried) {
        client->waiting = json_incref(request);
        client_deadline(client, WAIT_SECONDS);
    } else {
        client_send_answer(client, id, &call);
    }
    if (strcmp(method->name, "hello") == 0 && call.outcome.code == WEFT_OK)
        client->greeted = true;
    json_decref(call.params);
    call_clear(&call);
}

/* NULL: not a request; answered. */
static const struct api_method *request_method(struct client *client, json_t *request)
{
    json_t *id = json_object_get(request, "id");
    const char *name = json_string_value(json_object_get(request, "method"));
    json_t *params = json_object_get(request, "params");
    char text[160];
    if (!name || !(json_is_integer(id) || json_is_string(id)) || (params && !json_is_object(params))) {
        client_send_error(client, id, WEFT_USAGE,
                          "a request is {\"id\":NUMBER,\"method\":NAME,\"params\":{...}}");
        return NULL;
    }
    const struct api_method *method = api_method_find(name);
    if (!method) {
        const char *nearest = api_method_nearest(name);
        snprintf(text, sizeof(text), "there is no method \"%.60s\"%s%s%s", name,
                 nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
        client_send_error(client, id, WEFT_USAGE, text);
        return NULL;
    }
    if (!client->greeted && strcmp(name, "hello") != 0) {
        client_send_error(client, id, WEFT_USAGE, "hello comes first");
        return NULL;
    }
    return method;
}

/* While the dataplane starts, changes wait for it; and while the file is still to be applied, so does who
 * wants to see what is in it. */
static bool method_must_wait(const struct client *client, const struct api_method *method)
{
    const struct controller *controller = client->server->controller;
    return method->waits && (!method->admin || client->role.admin) &&
           (method->admin || controller->file_pending) &&
           supervisor_state(controller->supervisor) == SUPERVISOR_STARTING;
}

static void client_line(struct client *client, const char *line, size_t size)
{
    json_error_t where;
    char text[200];
    json_t *request = json_loadb(line, size, JSON_REJECT_DUPLICATES, &where);
    if (!request) {
        snprintf(text, sizeof(text), "not JSON: %.140s", where.text);
        client_send_error(client, NULL, WEFT_USAGE, text);
        return;
    }
    const struct api_method *method = request_method(client, request);
    if (method && method_must_wait(client, method)) {
        client->waiting = json_incref(request);
        client_deadline(client, WAIT_SECONDS);
    } else if (method) {
        client_answer(client, request, method);
    }
    json_decref(request);
}

static bool client_pauses(const struct client *client)
{
    return client->waiting || client->follow || client->closing || client->dead ||
           evbuffer_get_length(bufferevent_get_output(client->buffer)) > OUTPUT_PAUSE;
}

/* Takes and answers a line if one is complete; the next one after the other clients had their turn. */
static void client_process(struct client *client)
{
    static const struct timeval now = {0, 0};
    struct evbuffer *input = bufferevent_get_input(client->buffer);
    size_t size;
    if (client_pauses(client))
        return;
    char *line = evbuffer_readln(input, &size, EVBUFFER_EOL_LF);
    if (line) {
        client->overdue = false;
        client_deadline(client, 0);
        client_line(client, line, size);
        free(line);
        evtimer_add(client->turn, &now);
        return;
    }
    size_t rest = evbuffer_get_length(input);
    if (rest >= WEFT_API_LINE_SIZE) {
        client_send_error(client, NULL, WEFT_LIMIT, "the line is longer than 1 MiB");
        client->closing = true;
    } else if (rest && !evtimer_pending(client->deadline, NULL)) {
        client_deadline(client, WEFT_API_LINE_SECONDS);
    }
    if (client->ended)
        client->closing = true;
}

/* It is not in the list any more. */
static void client_destroy(struct client *client)
{
    client->server->client_count--;
    if (bench_release(client->server->controller->bench, client))
        apply_reconcile(client->server->controller);
    event_free(client->deadline);
    event_free(client->turn);
    bufferevent_free(client->buffer);
    json_decref(client->waiting);
    json_decref(client->follow);
    free(client);
}

static void client_free(struct client *client)
{
    struct client **link = &client->server->clients;
    while (*link != client)
        link = &(*link)->next;
    *link = client->next;
    client_destroy(client);
}

/* The end of every callback: the client may be freed here, and only here. */
static void client_settle(struct client *client)
{
    if (client->ended && client->follow)
        client->dead = true;
    if (client->dead || (client->closing && evbuffer_get_length(bufferevent_get_output(client->buffer)) == 0))
        client_free(client);
}

static void on_read(struct bufferevent *buffer, void *context)
{
    (void)buffer;
    client_process(context);
    client_settle(context);
}

static void on_written(struct bufferevent *buffer, void *context)
{
    (void)buffer;
    client_process(context);
    client_settle(context);
}

static void on_client_event(struct bufferevent *buffer, short what, void *context)
{
    struct client *client = context;
    (void)buffer;
    if (what & BEV_EVENT_EOF) {
        client->ended = true;
        client_process(client);
    } else if (what & (BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT)) {
        client->dead = true;
    }
    client_settle(client);
}

static void on_turn(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    client_process(context);
    client_settle(context);
}

static void client_resume(struct client *client)
{
    json_t *request = client->waiting;
    client->waiting = NULL;
    client_deadline(client, 0);
    client_answer(client, request, api_method_find(json_string_value(json_object_get(request, "method"))));
    json_decref(request);
    client_process(client);
}

/* The client wrote more than was read of it before its time was over: it was this process that was slow. Then
 * what is there is read first; once a line, or a client that keeps writing would never be cut. */
static bool client_was_not_read(struct client *client)
{
    int unread = 0;
    if (client->overdue || ioctl(bufferevent_getfd(client->buffer), FIONREAD, &unread) < 0 || unread == 0)
        return false;
    client->overdue = true;
    client_deadline(client, WEFT_API_LINE_SECONDS);
    return true;
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
    struct client *client = context;
    (void)fd, (void)what;
    if (client->waiting) {
        client_resume(client);
    } else if (!client_was_not_read(client)) {
        client_send_error(client, NULL, WEFT_USAGE, "the line was not finished in time");
        client->closing = true;
    }
    client_settle(client);
}

void api_server_wake(struct api_server *server)
{
    if (!server)
        return;
    for (struct client *client = server->clients, *next; client; client = next) {
        next = client->next;
        if (client->waiting) {
            client_resume(client);
            client_settle(client);
        }
    }
}

void api_server_publish(struct api_server *server, json_t *event)
{
    if (!server)
        return;
    for (struct client *client = server->clients; client; client = client->next) {
        if (!client->follow || client->closing)
            continue;
        if (evbuffer_get_length(bufferevent_get_output(client->buffer)) < FOLLOW_BEHIND) {
            client_send_item(client, client->follow, event);
            continue;
        }
        client_send_error(client, client->follow, WEFT_FAILED,
                          "too slow: events were lost; ask again with since");
        client->closing = true;
    }
}

static void on_connection(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                          int length, void *context)
{
    struct api_server *server = context;
    struct client *client = calloc(1, sizeof(*client));
    (void)listener, (void)address, (void)length;
    if (!client) {
        close(fd);
        return;
    }
    client->server = server;
    client->buffer = bufferevent_socket_new(server->controller->base, fd, BEV_OPT_CLOSE_ON_FREE);
    client->deadline = evtimer_new(server->controller->base, on_deadline, client);
    client->turn = evtimer_new(server->controller->base, on_turn, client);
    client->next = server->clients;
    server->clients = client;
    server->client_count++;
    client->role = api_role_of_peer(&server->groups, fd);
    bufferevent_setcb(client->buffer, on_read, on_written, on_client_event, client);
    bufferevent_setwatermark(client->buffer, EV_READ, 0, WEFT_API_LINE_SIZE);
    bufferevent_enable(client->buffer, EV_READ | EV_WRITE);
    if (server->client_count > WEFT_API_CLIENTS_MAX) {
        client_send_error(client, NULL, WEFT_LIMIT, "too many clients (64); try again later");
        client->closing = true;
    } else if (!client->role.read) {
        client_send_error(client, NULL, WEFT_NOT_PERMITTED,
                          "root, group " WEFT_GROUP_ADMIN " or group " WEFT_GROUP_READ " may speak to weftd");
        client->closing = true;
    }
}

static int socket_open(struct api_server *server)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    if (strlen(server->path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    snprintf(address.sun_path, sizeof(address.sun_path), "%.107s", server->path);
    if (lstat(server->path, &status) == 0 && !S_ISSOCK(status.st_mode))
        return -EEXIST;
    unlink(server->path); /* the run dir is locked: whoever made it is gone */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || chmod(server->path, 0660) < 0 ||
        (server->groups.admin != (gid_t)-1 && geteuid() == 0 &&
         chown(server->path, (uid_t)-1, server->groups.admin) < 0)) {
        int error = -errno;
        close(fd);
        return error;
    }
    api_groups_admit_readers(&server->groups, server->path, server->controller->options.run_dir);
    return fd;
}

struct api_server *api_server_new(struct controller *controller, char *text, size_t size)
{
    struct api_server *server = calloc(1, sizeof(*server));
    if (!server)
        return NULL;
    server->controller = controller;
    api_groups_find(&server->groups);
    snprintf(server->path, sizeof(server->path), "%.99s/" WEFT_API_SOCKET, controller->options.run_dir);
    int fd = socket_open(server);
    if (fd >= 0)
        server->listener = evconnlistener_new(controller->base, on_connection, server,
                                              LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 64, fd);
    if (!server->listener) {
        snprintf(text, size, "%s: %s", server->path, fd < 0 ? strerror(-fd) : "cannot listen");
        free(server);
        return NULL;
    }
    return server;
}

void api_server_free(struct api_server *server)
{
    if (!server)
        return;
    for (struct client *client = server->clients, *next; client; client = next) {
        next = client->next;
        server->clients = next;
        client_destroy(client);
    }
    evconnlistener_free(server->listener);
    unlink(server->path);
    free(server);
}

char *api_server_answer(struct controller *controller, const char *line, size_t size)
{
    json_t *request = json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL);
    const char *name = json_string_value(json_object_get(request, "method"));
    const struct api_method *method = name ? api_method_find(name) : NULL;
    json_t *params = json_object_get(request, "params");
    char *text = NULL;
    if (method && (!params || json_is_object(params))) {
        struct api_call call = {.controller = controller, .admin = true};
        call.params = params ? json_incref(params) : json_object();
        call_run(&call, method);
        json_t *answer = call.outcome.code != WEFT_OK ? answer_error(json_null(), &call.outcome)
                                                      : json_pack("{s:O?}", "result", call.result);
        text = json_dumps(answer, JSON_COMPACT);
        json_decref(answer);
        json_decref(call.params);
        call_clear(&call);
    }
    json_decref(request);
    return text;
}
