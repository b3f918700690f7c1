/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The programming socket's message handler, and behind it the object store, transactions and the compiler. An
 * input is a list of requests: operation, kind, flags, and the bytes of the body (short ones are filled up
 * with zeros). Flags: bit 0 which of two sessions; bit 1 the size in the header is wrong, bit 2 the message
 * is longer than it says, bit 3 shorter; bits 4-7 descriptors.
 *
 * Besides crashes it finds: descriptors that are not closed, replies out of bounds, dumps without end,
 * configurations that pass the checks and lead a frame over a tenant's border.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "api_session.h"
#include "compile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUESTS_MAX 200u

static struct objects *committed;
static struct port ports[DP_PORTS_MAX];
static struct compile_port view[DP_PORTS_MAX];

static const struct objects *current_objects(void *context)
{
    return committed;
}

/* What the compiler made keeps every frame inside a tenant. */
static void check_snapshot(const struct snapshot *snapshot)
{
    for (uint32_t id = 1; id < DP_SEGMENTS_MAX; id++) {
        const struct bridge *bridge = snapshot->bridges[id];
        for (unsigned i = 0; bridge && i < bridge->output_count; i++) {
            const struct ingress *to = bridge->outputs[i].to;
            if ((to->tenant != 0 && to->tenant != bridge->tenant) || bridge->outputs[i].vid > 4094)
                abort();
        }
    }
    for (uint32_t id = 1; id < DP_PORTS_MAX; id++) {
        const struct ingress *ingress = snapshot->ingress[id];
        if (ingress && ingress->native && ingress->tenant != 0 && ingress->native->tenant != ingress->tenant)
            abort();
    }
}

static int commit(void *context, struct transaction *transaction, char *text)
{
    int fds[DP_PORT_FDS_MAX];
    const struct objects *objects = transaction_objects(transaction);
    memset(view, 0, sizeof(view));
    for (size_t i = 0; i < objects_count(objects, DP_KIND_PORT); i++) {
        const struct dp_port *config = objects_at(objects, DP_KIND_PORT, i);
        ports[config->id].config = *config;
        view[config->id].port = &ports[config->id];
        unsigned count = transaction_take_fds(transaction, config->id, fds);
        while (count > 0)
            close(fds[--count]);
    }
    struct snapshot *snapshot = compile(objects, NULL, NULL, view);
    if (!snapshot)
        abort();
    check_snapshot(snapshot);
    snapshot_free(snapshot);
    objects_free(committed);
    committed = transaction_take_objects(transaction);
    return 0;
}

static size_t read_state(void *context, enum dp_kind kind, uint64_t *cursor, void *objects, size_t capacity)
{
    memset(objects, 0, dp_object_size(kind) * capacity);
    *cursor = *cursor < 2 ? *cursor + 1 : API_CURSOR_END;
    return capacity;
}

static int flush(void *context, const struct dp_flush *flush, char *text)
{
    return 0;
}

static void stop(void *context)
{
}

static int punt(void *context, int fd, char *text)
{
    close(fd);
    return 0;
}

static const struct api_ops ops = {.objects = current_objects,
                                   .commit = commit,
                                   .read = read_state,
                                   .flush = flush,
                                   .stop = stop,
                                   .punt = punt};

static size_t body_size(enum dp_op op, enum dp_kind kind)
{
    if (op == DP_OP_HELLO)
        return sizeof(struct dp_hello);
    if (op == DP_OP_FLUSH)
        return sizeof(struct dp_flush);
    return op == DP_OP_PUT || op == DP_OP_DEL ? dp_object_size(kind) : 0;
}

static void check_reply(const uint8_t *reply, size_t size, uint32_t sequence)
{
    struct dp_reply header;
    if (size < sizeof(header) || size > DP_MESSAGE_MAX)
        abort();
    memcpy(&header, reply, sizeof(header));
    if (header.sequence != sequence || header.status > 0 || (header.status < 0) != (header.text[0] != 0) ||
        header.text[sizeof(header.text) - 1] != 0)
        abort();
}

/* One request; returns how much of the input it used. */
static size_t run(struct api_session *const sessions[2], const uint8_t *data, size_t size, uint32_t sequence)
{
    static uint8_t reply[DP_MESSAGE_MAX];
    uint8_t message[API_REQUEST_MAX] = {0};
    struct dp_request request = {.op = data[0], .kind = data[1], .sequence = sequence};
    uint8_t flags = data[2];
    size_t body = body_size((enum dp_op)request.op, (enum dp_kind)request.kind);
    size_t given = body < size - 3 ? body : size - 3;
    body = body > sizeof(message) - sizeof(request) ? sizeof(message) - sizeof(request) : body;
    request.size = (uint32_t)body + ((flags >> 1) & 1);
    memcpy(message, &request, sizeof(request));
    memcpy(message + sizeof(request), data + 3, given < body ? given : body);
    if (request.op == DP_OP_HELLO) { /* version 1 of an input is the right one, whichever that is */
        uint32_t version;
        memcpy(&version, message + sizeof(request), sizeof(version));
        version += DP_API_VERSION - 1;
        memcpy(message + sizeof(request), &version, sizeof(version));
    }
    size_t message_size = sizeof(request) + body + ((flags >> 2) & 1) * 1000;
    if (flags & 8)
        message_size -= message_size < 20 ? message_size : 20;
    int fds[15];
    unsigned fd_count = flags >> 4 > DP_PORT_FDS_MAX ? DP_PORT_FDS_MAX : flags >> 4;
    for (unsigned i = 0; i < fd_count; i++)
        fds[i] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    struct api_session *session = sessions[flags & 1];
    size_t reply_size = api_session_handle(session, message, message_size, fds, fd_count, reply);
    if (reply_size == 0 && message_size >= sizeof(request))
        abort();
    if (reply_size > 0)
        check_reply(reply, reply_size, sequence);
    for (unsigned replies = 0; api_session_dumping(session); replies++) {
        reply_size = api_session_continue(session, reply);
        check_reply(reply, reply_size, sequence);
        if (replies > 1000)
            abort();
    }
    return 3 + given;
}

static int lowest_descriptor(void)
{
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    close(fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int before = lowest_descriptor();
    committed = objects_new();
    struct api *api = api_new(&ops, NULL);
    struct api_session *sessions[2] = {api_session_new(api, 1), api_session_new(api, 2)};
    for (uint32_t sequence = 1; size >= 3 && sequence < REQUESTS_MAX; sequence++) {
        size_t used = run(sessions, data, size, sequence);
        data += used;
        size -= used;
    }
    api_session_free(sessions[0]);
    api_session_free(sessions[1]);
    api_free(api);
    objects_free(committed);
    if (lowest_descriptor() != before)
        abort();
    return 0;
}
