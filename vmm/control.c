/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation: up to four clients, each with a buffer of one request. A request is {"id":...,
 * "method":"...", "params":{...}} on a line; the reply {"id":..., "result":...} or {"id":...,
 * "error":{"code":"...", "message":"..."}}. A client that sends a longer line than the buffer, or does not
 * take its reply, is disconnected. Who may connect is decided by the socket file's mode (0660).
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "control.h"
#include "log.h"
#include "unix_socket.h"

#define CLIENTS_MAX  4u
#define REQUEST_SIZE 4096u
#define MEBIBYTE     (1ull << 20)

struct client {
    struct control *control;
    int fd; /* -1: free */
    unsigned used;
    char request[REQUEST_SIZE];
};

struct control {
    struct machine *machine;
    int fd;
    int directory_fd;
    char path[108];
    struct client clients[CLIENTS_MAX];
};

static json_t *error_reply(const char *code, const char *message)
{
    return json_pack("{s:{s:s,s:s}}", "error", "code", code, "message", message);
}

static json_t *done(void)
{
    return json_pack("{s:{}}", "result");
}

/* Status */

static json_t *net_status(const struct machine *machine)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < OPTIONS_NETS_MAX; i++) {
        struct vhost_info info;
        char mac[18];
        if (!machine->nets[i])
            continue;
        const uint8_t *m = net_mac(machine->nets[i]);
        snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
        vhost_info(net_vhost(machine->nets[i]), &info);
        const struct virtio *virtio = net_virtio(machine->nets[i]);
        json_array_append_new(list, json_pack("{s:s,s:s,s:b,s:b,s:I,s:s,s:i,s:s,s:b}", "socket",
                                              machine->options->nets[i].socket, "mac", mac, "link",
                                              net_link(machine->nets[i]), "connected", info.connected,
                                              "connections", (json_int_t)info.connections, "last-error",
                                              info.error, "queues", (int)info.queue_pairs, "device",
                                              virtio->name, "driver-ok", virtio->started));
    }
    return list;
}

static json_t *disk_status(const struct machine *machine)
{
    json_t *list = json_array();
    for (unsigned i = 0; i <= OPTIONS_DISKS_MAX; i++) {
        if (machine->disks[i]) {
            uint64_t bytes_read, bytes_written;
            blk_counters(machine->disks[i], &bytes_read, &bytes_written);
            const struct virtio *virtio = blk_virtio(machine->disks[i]);
            json_array_append_new(list, json_pack("{s:s,s:s,s:I,s:I,s:b}", "path",
                                                  i < OPTIONS_DISKS_MAX ? machine->options->disks[i].path
                                                                        : machine->options->cloud_init,
                                                  "device", virtio->name, "read-bytes",
                                                  (json_int_t)bytes_read, "written-bytes",
                                                  (json_int_t)bytes_written, "driver-ok", virtio->started));
        }
        if (i < OPTIONS_DISKS_MAX && machine->vhost_disks[i]) {
            struct vhost_info info;
            vhost_info(vhost_blk_vhost(machine->vhost_disks[i]), &info);
            json_array_append_new(list, json_pack("{s:s,s:b,s:I}", "socket", machine->options->disks[i].path,
                                                  "connected", info.connected, "connections",
                                                  (json_int_t)info.connections));
        }
    }
    return list;
}

static json_t *memory_status(const struct machine *machine)
{
    json_t *memory = json_pack("{s:I,s:b}", "bytes", (json_int_t)machine->ram.size, "hugepages",
                               machine->ram.page_size > 4096);
    if (!machine->balloon)
        return memory;
    static const char *const names[BALLOON_STATS_COUNT] = {
#define X(number, name) [(number)] = (name),
        BALLOON_STATS(X)
#undef X
    };
    struct balloon_status status;
    balloon_status(machine->balloon, &status);
    json_t *guest = json_object();
    for (unsigned i = 0; i < BALLOON_STATS_COUNT; i++)
        if (status.stats_valid[i])
            json_object_set_new(guest, names[i], json_integer((json_int_t)status.stats[i]));
    json_object_set_new(memory, "balloon",
                        json_pack("{s:I,s:I,s:I,s:o}", "target-bytes", (json_int_t)status.target,
                                  "actual-bytes", (json_int_t)status.actual, "discarded-bytes",
                                  (json_int_t)status.discarded, "guest", guest));
    return memory;
}

static json_t *status(const struct machine *machine)
{
    struct console_status console;
    console_status(machine->console, &console);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t now_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    bool begun = machine->start_us != 0; /* its first instruction may still be to come */
    json_int_t uptime_us = begun ? now_us - machine->start_us : 0;
    json_int_t startup_us = begun ? machine->start_us - machine->process_start_us : 0;
    const char *state = machine->paused                     ? "paused"
                        : machine->exit_code == EXIT_KILLED ? "stopping"
                                                            : "running";
    return json_pack("{s:{s:s,s:s,s:i,s:i,s:I,s:I,s:I,s:o,s:o,s:o,s:{s:s,s:I,s:I,s:b}}}", "result", "name",
                     machine->options->name, "state", state, "pid", (int)getpid(), "cpus",
                     (int)machine->vcpu_count, "resets", (json_int_t)machine->resets, "uptime-us", uptime_us,
                     "startup-us", startup_us, "memory", memory_status(machine), "nets", net_status(machine),
                     "disks", disk_status(machine), "console", "to", machine->options->console, "bytes",
                     (json_int_t)console.bytes, "dropped-bytes", (json_int_t)console.dropped, "attached",
                     console.attached);
}

/* Requests */

static json_t *set_balloon(struct machine *machine, json_t *params)
{
    json_int_t bytes = -1;
    if (!machine->balloon)
        return error_reply("no-balloon", "the machine was started with --no-balloon");
    if (json_unpack(params, "{s:I}", "bytes", &bytes) || bytes < 0 ||
        (uint64_t)bytes > machine->ram.size - 16 * MEBIBYTE)
        return error_reply("bad-params",
                           "\"bytes\" is what the guest gives back: 0 to its memory less 16 MiB");
    balloon_set_target(machine->balloon, (uint64_t)bytes);
    return done();
}

static json_t *call(struct machine *machine, const char *method, json_t *params)
{
    if (strcmp(method, "status") == 0)
        return status(machine);
    if (strcmp(method, "balloon") == 0)
        return set_balloon(machine, params);
    if (strcmp(method, "pause") == 0)
        machine_pause(machine);
    else if (strcmp(method, "resume") == 0)
        machine_resume(machine);
    else if (strcmp(method, "stop") == 0)
        machine_stop(machine);
    else if (strcmp(method, "reset") == 0)
        machine_request(machine, MACHINE_RESET);
    else if (strcmp(method, "quit") == 0)
        machine_request(machine, MACHINE_KILLED);
    else
        return error_reply("unknown-method",
                           "the methods are status, pause, resume, stop, reset, quit and balloon");
    return done();
}

static json_t *answer(struct control *control, const char *line, size_t length)
{
    json_error_t parse_error;
    const char *method;
    json_t *request = json_loadb(line, length, JSON_REJECT_DUPLICATES, &parse_error), *reply;
    if (!json_is_object(request))
        reply = error_reply("bad-request", request ? "a request is a JSON object" : parse_error.text);
    else if (!(method = json_string_value(json_object_get(request, "method"))))
        reply = error_reply("bad-request", "\"method\" is missing");
    else
        reply = call(control->machine, method, json_object_get(request, "params"));
    json_t *id = json_object_get(request, "id");
    if (reply && id)
        json_object_set(reply, "id", id);
    json_decref(request);
    return reply;
}

/* Clients */

static void disconnect(struct client *client)
{
    loop_remove(client->control->machine->loop, client->fd);
    close(client->fd);
    client->fd = -1;
}

/* False: the client is gone. */
static bool serve_line(struct client *client, size_t length)
{
    json_t *reply = answer(client->control, client->request, length);
    char *text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
    json_decref(reply);
    if (!text) {
        disconnect(client);
        return false;
    }
    size_t size = strlen(text);
    text[size++] = '\n'; /* in place of the terminating zero */
    bool sent = send(client->fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size;
    free(text);
    if (!sent)
        disconnect(client);
    return sent;
}

static void client_event(void *context, uint32_t events)
{
    (void)events;
    struct client *client = context;
    ssize_t got = recv(client->fd, client->request + client->used, REQUEST_SIZE - client->used, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        disconnect(client);
        return;
    }
    client->used += (unsigned)got;
    char *end;
    while ((end = memchr(client->request, '\n', client->used))) {
        size_t length = (size_t)(end - client->request);
        if (!serve_line(client, length))
            return;
        client->used -= (unsigned)length + 1;
        memmove(client->request, end + 1, client->used);
    }
    if (client->used == REQUEST_SIZE)
        disconnect(client);
}

static void accept_event(void *context, uint32_t events)
{
    (void)events;
    struct control *control = context;
    int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &control->clients[i];
        if (client->fd >= 0)
            continue;
        client->fd = fd;
        client->used = 0;
        if (loop_add(control->machine->loop, fd, EPOLLIN, client_event, client))
            break;
        return;
    }
    close(fd);
}

struct control *control_new(struct machine *machine, const char *path)
{
    struct control *control = calloc(1, sizeof(*control));
    if (!control)
        return NULL;
    control->machine = machine;
    json_object_seed(0); /* now: later /dev/urandom cannot be opened */
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        control->clients[i] = (struct client){.control = control, .fd = -1};
    control->fd = unix_socket_listen(path);
    int error =
        control->fd < 0 ? control->fd : loop_add(machine->loop, control->fd, EPOLLIN, accept_event, control);
    if (error) {
        log_error("--control: %s: %s%s", path, strerror(-error),
                  error == -EADDRINUSE
                      ? "; a machine with this socket is running, or the file is not a socket"
                      : "");
        if (control->fd >= 0)
            close(control->fd);
        free(control);
        errno = -error;
        return NULL;
    }
    control->directory_fd = unix_socket_directory(path);
    memcpy(control->path, path, strlen(path) + 1);
    return control;
}

void control_free(struct control *control)
{
    if (!control)
        return;
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (control->clients[i].fd >= 0)
            disconnect(&control->clients[i]);
    loop_remove(control->machine->loop, control->fd);
    close(control->fd);
    unix_socket_remove(control->directory_fd, control->path);
    free(control);
}
