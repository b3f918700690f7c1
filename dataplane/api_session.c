/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * A session is born without rights: the first request must be HELLO with our version. After that every
 * request gets exactly one reply, but for DUMP, which gets as many as the objects need, all but the last with
 * DP_REPLY_MORE. A dump of configured objects holds a reference to the table it started on, so it is of one
 * moment; a dump of state walks a cursor and shows each object as it is when its reply is written.
 *
 * The api has at most one transaction, owned by the session that began it. It ends by COMMIT (whatever comes
 * of it), ABORT, or the end of the session. An error of a PUT or DEL leaves it open and marks it failed:
 * COMMIT then refuses.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "api_session.h"

struct api {
    const struct api_ops *ops;
    void *context;
    struct api_session *owner; /* of the transaction; NULL: none */
    struct transaction *transaction;
    bool failed;            /* a put or delete of the transaction was refused */
    uint64_t start_time_ns; /* CLOCK_REALTIME */
};

struct api_session {
    struct api *api;
    int pid;
    bool greeted;
    /* dump */
    enum dp_kind kind;   /* DP_KIND_NONE: none */
    uint32_t sequence;   /* of its request */
    struct table *table; /* configured objects */
    size_t index;        /* next in table */
    uint64_t cursor;     /* state */
};

struct request {
    struct dp_request header;
    const void *body; /* header.size bytes */
    const int *fds;
    unsigned fd_count;
};

struct api *api_new(const struct api_ops *ops, void *context)
{
    struct api *api = calloc(1, sizeof(*api));
    struct timespec now;
    if (!api)
        return NULL;
    clock_gettime(CLOCK_REALTIME, &now);
    api->ops = ops;
    api->context = context;
    api->start_time_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return api;
}

static void end_transaction(struct api *api)
{
    transaction_free(api->transaction);
    api->transaction = NULL;
    api->owner = NULL;
    api->failed = false;
}

void api_free(struct api *api)
{
    if (!api)
        return;
    end_transaction(api);
    free(api);
}

struct api_session *api_session_new(struct api *api, int pid)
{
    struct api_session *session = calloc(1, sizeof(*session));
    if (!session)
        return NULL;
    session->api = api;
    session->pid = pid;
    return session;
}

void api_session_free(struct api_session *session)
{
    if (!session)
        return;
    if (session->api->owner == session)
        end_transaction(session->api);
    table_release(session->table);
    free(session);
}

static int handle_hello(struct api_session *session, const struct request *request, char *text)
{
    const struct dp_hello *hello = request->body;
    if (hello->version != DP_API_VERSION)
        return object_refuse(text, -EPROTO,
                             "this dataplane speaks version %u of the programming protocol, not %u",
                             DP_API_VERSION, hello->version);
    session->greeted = true;
    return 0;
}

static void answer_hello(const struct api_session *session, struct dp_hello *hello)
{
    *hello = (struct dp_hello){
        .version = DP_API_VERSION, .pid = (uint32_t)getpid(), .start_time_ns = session->api->start_time_ns};
    snprintf(hello->build, sizeof(hello->build), "%s", WEFT_VERSION);
}

static int handle_begin(struct api_session *session, char *text)
{
    struct api *api = session->api;
    if (api->owner == session)
        return object_refuse(text, -EALREADY, "a transaction is open on this connection already");
    if (api->owner)
        return object_refuse(text, -EBUSY, "process %d has a transaction open", api->owner->pid);
    api->transaction = transaction_new(api->ops->objects(api->context));
    if (!api->transaction)
        return object_refuse(text, -ENOMEM, "no memory for a transaction");
    api->owner = session;
    return 0;
}

static int need_transaction(const struct api_session *session, char *text)
{
    if (session->api->owner == session)
        return 0;
    return object_refuse(text, -EINVAL, "no transaction is open on this connection");
}

static int handle_change(struct api_session *session, const struct request *request, char *text)
{
    struct api *api = session->api;
    enum dp_kind kind = (enum dp_kind)request->header.kind;
    int error = need_transaction(session, text);
    if (error) {
        for (unsigned i = 0; i < request->fd_count; i++)
            close(request->fds[i]);
        return error;
    }
    if (request->header.op == DP_OP_PUT)
        error = transaction_put(api->transaction, kind, request->body, request->fds, request->fd_count, text);
    else
        error = transaction_del(api->transaction, kind, request->body, text);
    if (error)
        api->failed = true;
    return error;
}

static int handle_commit(struct api_session *session, char *text)
{
    struct api *api = session->api;
    int error = need_transaction(session, text);
    if (error)
        return error;
    if (api->failed)
        error = object_refuse(text, -ECANCELED,
                              "the transaction has objects that were refused; nothing was changed");
    if (!error)
        error = objects_check(transaction_objects(api->transaction), text);
    if (!error)
        error = api->ops->commit(api->context, api->transaction, text);
    end_transaction(api);
    return error;
}

static int handle_abort(struct api_session *session, char *text)
{
    int error = need_transaction(session, text);
    if (!error)
        end_transaction(session->api);
    return error;
}

static void start_dump(struct api_session *session, const struct request *request)
{
    session->kind = (enum dp_kind)request->header.kind;
    session->sequence = request->header.sequence;
    session->index = 0;
    session->cursor = 0;
    if (session->kind <= DP_KIND_LAST_CONFIGURED)
        session->table = objects_table(session->api->ops->objects(session->api->context), session->kind);
}

/* Kind and size are what the operation takes, and there are no descriptors but with PUT and PUNT. */
static int check_request(const struct api_session *session, const struct request *request, size_t size,
                         char *text)
{
    const struct dp_request *header = &request->header;
    bool change = header->op == DP_OP_PUT || header->op == DP_OP_DEL;
    size_t body = 0;
    if (header->op == DP_OP_NONE || header->op >= DP_OP_COUNT)
        return object_refuse(text, -EOPNOTSUPP, "no operation %u", header->op);
    if (!session->greeted && header->op != DP_OP_HELLO)
        return object_refuse(text, -EPROTO, "%s before HELLO", dp_op_name((enum dp_op)header->op));
    if (change || header->op == DP_OP_DUMP) {
        if (header->kind == DP_KIND_NONE || header->kind >= DP_KIND_COUNT ||
            (change && header->kind > DP_KIND_LAST_CONFIGURED))
            return object_refuse(text, -EINVAL, "%s of kind %u", dp_op_name((enum dp_op)header->op),
                                 header->kind);
    } else if (header->kind != DP_KIND_NONE) {
        return object_refuse(text, -EINVAL, "%s with kind %u", dp_op_name((enum dp_op)header->op),
                             header->kind);
    }
    if (change)
        body = dp_object_size((enum dp_kind)header->kind);
    else if (header->op == DP_OP_HELLO)
        body = sizeof(struct dp_hello);
    else if (header->op == DP_OP_FLUSH)
        body = sizeof(struct dp_flush);
    if (header->size != body || size != sizeof(*header) + body)
        return object_refuse(text, -EMSGSIZE, "%s of %zu bytes, expected %zu",
                             dp_op_name((enum dp_op)header->op), size - sizeof(*header), body);
    if (header->pad != 0)
        return object_refuse(text, -EINVAL, "padding of the request not zero");
    if (header->op == DP_OP_PUNT && request->fd_count != 1)
        return object_refuse(text, -EBADF, "PUNT with %u descriptors instead of one", request->fd_count);
    if (request->fd_count > 0 && header->op != DP_OP_PUT && header->op != DP_OP_PUNT)
        return object_refuse(text, -EINVAL, "descriptors with %s", dp_op_name((enum dp_op)header->op));
    return 0;
}

static int dispatch(struct api_session *session, const struct request *request, char *text)
{
    struct api *api = session->api;
    switch ((enum dp_op)request->header.op) {
    case DP_OP_HELLO:
        return handle_hello(session, request, text);
    case DP_OP_BEGIN:
        return handle_begin(session, text);
    case DP_OP_PUT:
    case DP_OP_DEL:
        return handle_change(session, request, text);
    case DP_OP_COMMIT:
        return handle_commit(session, text);
    case DP_OP_ABORT:
        return handle_abort(session, text);
    case DP_OP_DUMP:
        start_dump(session, request);
        return 0;
    case DP_OP_FLUSH:
        return api->ops->flush(api->context, request->body, text);
    case DP_OP_STOP:
        api->ops->stop(api->context);
        return 0;
    case DP_OP_PUNT:
        return api->ops->punt(api->context, request->fds[0], text);
    case DP_OP_NONE:
    case DP_OP_COUNT:
        break;
    }
    return -EOPNOTSUPP;
}

size_t api_session_handle(struct api_session *session, const void *message, size_t size, const int *fds,
                          unsigned fd_count, void *reply)
{
    struct request request = {.fds = fds, .fd_count = fd_count};
    /* The body is copied to where its 64-bit fields are aligned. */
    uint8_t body[API_REQUEST_MAX - sizeof(struct dp_request)] __attribute__((aligned(8)));
    struct dp_reply answer = {0};
    size_t answer_size = sizeof(answer);
    bool whole = size >= sizeof(request.header);
    int error = 0;
    if (whole) {
        memcpy(&request.header, message, sizeof(request.header));
        error = check_request(session, &request, size, answer.text);
    }
    if (!whole || error) {
        for (unsigned i = 0; i < fd_count; i++)
            close(fds[i]);
    } else {
        memcpy(body, (const uint8_t *)message + sizeof(request.header), request.header.size);
        request.body = body;
        error = dispatch(session, &request, answer.text);
    }
    if (!whole)
        return 0;
    if (!error && request.header.op == DP_OP_DUMP)
        return api_session_continue(session, reply);
    if (!error && request.header.op == DP_OP_HELLO) {
        answer_hello(session, (struct dp_hello *)((uint8_t *)reply + sizeof(answer)));
        answer_size += sizeof(struct dp_hello);
    }
    answer.sequence = request.header.sequence;
    answer.status = error;
    memcpy(reply, &answer, sizeof(answer));
    return answer_size;
}

bool api_session_dumping(const struct api_session *session)
{
    return session->kind != DP_KIND_NONE;
}

/* Up to `capacity` objects of the table; true: there are more. */
static bool dump_table(struct api_session *session, uint8_t *objects, size_t capacity, size_t *count)
{
    size_t size = dp_object_size(session->kind), left = table_count(session->table) - session->index;
    *count = left < capacity ? left : capacity;
    for (size_t i = 0; i < *count; i++)
        memcpy(objects + i * size, table_at(session->table, session->index + i), size);
    session->index += *count;
    return left > capacity;
}

size_t api_session_continue(struct api_session *session, void *reply)
{
    const struct api *api = session->api;
    struct dp_reply answer = {.sequence = session->sequence, .kind = (uint16_t)session->kind};
    uint8_t *objects = (uint8_t *)reply + sizeof(answer);
    size_t size = dp_object_size(session->kind);
    size_t capacity = (DP_MESSAGE_MAX - sizeof(answer)) / size, count;
    bool more;
    if (session->table) {
        more = dump_table(session, objects, capacity, &count);
    } else {
        count = api->ops->read(api->context, session->kind, &session->cursor, objects, capacity);
        more = session->cursor != API_CURSOR_END;
    }
    answer.count = (uint16_t)count;
    answer.flags = more ? DP_REPLY_MORE : 0;
    memcpy(reply, &answer, sizeof(answer));
    if (!more) {
        session->kind = DP_KIND_NONE;
        table_release(session->table);
        session->table = NULL;
    }
    return sizeof(answer) + count * size;
}
