/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation: one request is under way at a time. A request is one line of JSON; its answers carry
 * its id, and lines are read into a buffer that grows up to ANSWER_SIZE_MAX. The socket is non-blocking and
 * every wait ends at the request's deadline. weftd is trusted no further than needed: what it sends is parsed
 * strictly and its texts are printed through output_clean().
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "output.h"

#define ANSWER_SIZE_MAX (64u << 20) /* bytes: 4096 ports with all their counters stay far below */
#define READ_SIZE       65536u

struct client {
    int fd;
    unsigned timeout_s;
    json_int_t next_id;
    char *buffer;
    size_t size, used; /* allocated, filled */
    size_t line_end;   /* bytes of the line that was handed out, newline included */
    uint64_t deadline_ms;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/*
 * 0, -ETIMEDOUT, or -errno. Deadline 0: none; then -ECANCELED when the reader of standard output has gone,
 * which nothing else would tell before the next event.
 */
static int wait_for(struct client *client, short events)
{
    for (;;) {
        int left = -1;
        if (client->deadline_ms) {
            uint64_t now = now_ms();
            if (now >= client->deadline_ms)
                return -ETIMEDOUT;
            left = (int)(client->deadline_ms - now);
        }
        struct pollfd poll_fds[] = {{.fd = client->fd, .events = events}, {.fd = STDOUT_FILENO}};
        int ready = poll(poll_fds, client->deadline_ms ? 1 : 2, left);
        if (ready > 0)
            return poll_fds[0].revents ? 0 : -ECANCELED;
        if (ready < 0 && errno != EINTR)
            return -errno;
    }
}

static int send_line(struct client *client, const char *line, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(client->fd, line, size, MSG_NOSIGNAL);
        if (sent >= 0) {
            line += sent;
            size -= (size_t)sent;
        } else if (errno == EAGAIN) {
            int error = wait_for(client, POLLOUT);
            if (error)
                return error;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

static int grow(struct client *client)
{
    if (client->size - client->used >= READ_SIZE)
        return 0;
    size_t size = client->size + (client->size > READ_SIZE ? client->size : READ_SIZE);
    if (size > ANSWER_SIZE_MAX)
        return -EMSGSIZE;
    char *buffer = realloc(client->buffer, size);
    if (!buffer)
        return -ENOMEM;
    client->buffer = buffer;
    client->size = size;
    return 0;
}

/* The next line, without its newline. 0, or -errno; -EPIPE: weftd closed. */
static int read_line(struct client *client, const char **line, size_t *length)
{
    client->used -= client->line_end;
    memmove(client->buffer, client->buffer + client->line_end, client->used);
    client->line_end = 0;
    size_t searched = 0;
    for (;;) {
        char *newline =
            client->used > searched ? memchr(client->buffer + searched, '\n', client->used - searched) : NULL;
        if (newline) {
            *line = client->buffer;
            *length = (size_t)(newline - client->buffer);
            client->line_end = *length + 1;
            return 0;
        }
        searched = client->used;
        int error = grow(client);
        if (error)
            return error;
        ssize_t got = recv(client->fd, client->buffer + client->used, client->size - client->used, 0);
        if (got == 0)
            return -EPIPE;
        if (got > 0)
            client->used += (size_t)got;
        else if (errno == EAGAIN)
            error = wait_for(client, POLLIN);
        else if (errno != EINTR)
            error = -errno;
        if (error)
            return error;
    }
}

static int send_request(struct client *client, const char *method, json_t *params)
{
    client->deadline_ms = now_ms() + 1000ull * client->timeout_s;
    json_t *request = json_pack("{sIss}", "id", ++client->next_id, "method", method);
    if (!request)
        return -EINVAL; /* arguments that are not UTF-8 */
    if (params)
        json_object_set_new(request, "params", params);
    char *text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    if (!text)
        return -ENOMEM;
    size_t size = strlen(text);
    text[size] = '\n';
    int error = size + 1 > WEFT_API_LINE_SIZE ? -EFBIG : send_line(client, text, size + 1);
    free(text);
    return error;
}

/* The next answer to the request under way; NULL with *error set. */
static json_t *read_answer(struct client *client, int *error)
{
    const char *line;
    size_t length;
    *error = read_line(client, &line, &length);
    if (*error)
        return NULL;
    json_t *answer = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
    if (!answer || !json_is_object(answer) ||
        json_integer_value(json_object_get(answer, "id")) != client->next_id) {
        json_decref(answer);
        *error = -EPROTO;
        return NULL;
    }
    return answer;
}

static void fail(struct client_failure *failure, enum weft_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fail(struct client_failure *failure, enum weft_code code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    failure->code = code;
    vsnprintf(failure->text, sizeof(failure->text), format, arguments);
    va_end(arguments);
}

static void fail_connect(struct client_failure *failure, int error, const char *run_dir, const char *path)
{
    if (error == EACCES || error == EPERM) {
        fail(failure, WEFT_NOT_PERMITTED,
             "no permission to use %s; add yourself to group %s (sudo usermod -aG %s $USER, then log in "
             "again) or use "
             "sudo",
             path, WEFT_GROUP_ADMIN, WEFT_GROUP_ADMIN);
        return;
    }
    const char *what = error == ECONNREFUSED ? "nobody listens there" : strerror(error);
    if (strcmp(run_dir, WEFT_RUN_DIR_DEFAULT) == 0)
        fail(failure, WEFT_UNREACHABLE,
             "weftd is not reachable at %s: %s; start it: sudo systemctl start weftd, or name another run "
             "directory "
             "with --run-dir or $WEFT_RUN_DIR",
             path, what);
    else
        fail(failure, WEFT_UNREACHABLE,
             "weftd is not reachable at %s: %s; start it: sudo weftd --config FILE --run-dir %s", path, what,
             run_dir);
}

static int connect_socket(struct client *client, const char *run_dir, struct client_failure *failure)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", run_dir, WEFT_API_SOCKET);
    if ((size_t)length >= sizeof(address.sun_path)) {
        fail(failure, WEFT_USAGE,
             "--run-dir: the path is too long for a socket's name: %d of at most %zu characters", length,
             sizeof(address.sun_path) - 1);
        return -1;
    }
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = client->fd < 0 ? errno : 0;
    while (!error && connect(client->fd, (struct sockaddr *)&address, sizeof(address))) {
        error = errno;
        if (error == EAGAIN &&
            now_ms() < client->deadline_ms) { /* its queue of connections is full: wait a bit */
            poll(NULL, 0, 20);
            error = 0;
        }
    }
    if (error)
        fail_connect(failure, error, run_dir, address.sun_path);
    return error ? -1 : 0;
}

static const char *error_text(const json_t *error)
{
    const char *text = json_string_value(json_object_get(error, "message"));
    return text ? text : "weftd refused without saying why";
}

static int error_code(const json_t *error)
{
    json_int_t code = json_integer_value(json_object_get(error, "code"));
    return code > WEFT_OK && code < WEFT_DIFFERENT ? (int)code : WEFT_FAILED;
}

static int say_hello(struct client *client, struct client_failure *failure)
{
    int error = send_request(client, "hello", json_pack("{si}", "version", WEFT_API_VERSION));
    json_t *answer = error ? NULL : read_answer(client, &error);
    const json_t *refusal = json_object_get(answer, "error");
    if (refusal)
        fail(failure, (enum weft_code)error_code(refusal), "%s", error_text(refusal));
    else if (error == -ETIMEDOUT)
        fail(failure, WEFT_UNREACHABLE, "weftd does not answer within %u s; see its log: journalctl -u weftd",
             client->timeout_s);
    else if (error == -EPROTO)
        fail(failure, WEFT_UNREACHABLE, "what listens at the socket does not speak weftd's language");
    else if (error)
        fail(failure, WEFT_UNREACHABLE, "weftd closed the connection: %s", strerror(-error));
    bool is_done = answer && !refusal;
    json_decref(answer);
    return is_done ? 0 : -1;
}

struct client *client_open(const char *run_dir, unsigned timeout_s, struct client_failure *failure)
{
    struct client *client = calloc(1, sizeof(*client));
    if (!client || !(client->buffer = malloc(READ_SIZE))) {
        free(client);
        fail(failure, WEFT_FAILED, "%s", strerror(ENOMEM));
        return NULL;
    }
    client->fd = -1;
    client->size = READ_SIZE;
    client->timeout_s = timeout_s;
    client->deadline_ms = now_ms() + 1000ull * timeout_s;
    if (connect_socket(client, run_dir, failure) || say_hello(client, failure)) {
        client_close(client);
        return NULL;
    }
    return client;
}

void client_close(struct client *client)
{
    if (!client)
        return;
    if (client->fd >= 0)
        close(client->fd);
    free(client->buffer);
    free(client);
}

/* FILE:LINE:COLUMN: path: message, as compilers do, so that editors find the place. */
static void print_detail(const json_t *detail)
{
    const char *file = json_string_value(json_object_get(detail, "file"));
    const char *path = json_string_value(json_object_get(detail, "path"));
    const char *text = json_string_value(json_object_get(detail, "message"));
    json_int_t line = json_integer_value(json_object_get(detail, "line"));
    json_int_t column = json_integer_value(json_object_get(detail, "column"));
    char place[1024] = "";
    if (file && file[0] && line > 0)
        snprintf(place, sizeof(place), "%s:%lld:%lld: ", file, (long long)line, (long long)column);
    else if (file && file[0])
        snprintf(place, sizeof(place), "%s: ", file);
    output_note("%s%s%s%s", place, path ? path : "", path && path[0] ? ": " : "", text ? text : "");
}

static int print_error(const json_t *error)
{
    size_t i;
    json_t *detail;
    output_error("%s", error_text(error));
    json_array_foreach (json_object_get(error, "details"), i, detail)
        print_detail(detail);
    return error_code(error);
}

static int print_failure(const struct client *client, int error, bool is_change)
{
    if (error == -ETIMEDOUT && is_change) {
        output_error(
            "weftd took the request but did not answer within %u s; it may still be carried out: see \"weft "
            "config history\"",
            client->timeout_s);
        return WEFT_NOT_CONVERGED;
    }
    if (error == -EFBIG) {
        output_error("the request is larger than the %u KiB that weftd takes", WEFT_API_LINE_SIZE / 1024);
        return WEFT_LIMIT;
    }
    if (error == -EINVAL) {
        output_error("an argument is not valid UTF-8");
        return WEFT_USAGE;
    }
    if (error == -ETIMEDOUT)
        output_error("weftd did not answer within %u s; --timeout waits longer", client->timeout_s);
    else if (error == -EPIPE)
        output_error("weftd closed the connection before it answered; see its log: journalctl -u weftd");
    else if (error == -EPROTO || error == -EMSGSIZE)
        output_error("weftd's answer is not understood; are weft and weftd of one version?");
    else
        output_error("connection to weftd: %s", strerror(-error));
    return WEFT_UNREACHABLE;
}

static int ensure_open(struct cli_context *context)
{
    struct client_failure failure;
    if (context->client)
        return WEFT_OK;
    context->client = client_open(context->run_dir, context->timeout_s, &failure);
    if (context->client)
        return WEFT_OK;
    output_error("%s", failure.text);
    return failure.code;
}

int client_call(struct cli_context *context, const char *method, json_t *params, bool is_change,
                json_t **result)
{
    int code = ensure_open(context);
    if (code) {
        json_decref(params);
        return code;
    }
    struct client *client = context->client;
    int error = send_request(client, method, params);
    json_t *answer = error ? NULL : read_answer(client, &error);
    if (!answer)
        return print_failure(client, error, is_change);
    json_t *refusal = json_object_get(answer, "error");
    *result = json_incref(json_object_get(answer, "result"));
    if (refusal)
        code = print_error(refusal);
    else if (!json_is_object(*result))
        code = print_failure(client, -EPROTO, is_change);
    json_decref(answer);
    if (code)
        json_decref(*result);
    return code;
}

int client_stream(struct cli_context *context, const char *method, json_t *params, bool follow,
                  int (*item)(const json_t *item, void *argument), void *argument)
{
    int code = ensure_open(context);
    if (code) {
        json_decref(params);
        return code;
    }
    struct client *client = context->client;
    int error = send_request(client, method, params);
    if (follow)
        client->deadline_ms = 0;
    while (!error) {
        json_t *answer = read_answer(client, &error);
        const json_t *one = json_object_get(answer, "item"), *refusal = json_object_get(answer, "error");
        bool is_last = answer && !one;
        if (one)
            code = item(one, argument);
        else if (refusal)
            code = print_error(refusal);
        json_decref(answer);
        if (is_last || code)
            return code;
    }
    return error == -ECANCELED ? WEFT_OK : print_failure(client, error, false);
}

json_t *client_ask(struct client *client, const char *method, json_t *params)
{
    int error = send_request(client, method, params);
    json_t *answer = error ? NULL : read_answer(client, &error);
    json_t *result = json_incref(json_object_get(answer, "result"));
    json_decref(answer);
    return result;
}
