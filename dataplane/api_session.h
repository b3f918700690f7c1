/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The programming socket's messages: what a request does and how it is answered, without any socket
 * (api_server.c has those). An api is the dataplane's end; a session is one connection.
 *
 * Threads: control. A client's nonsense is answered with an error and never fails otherwise.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "objects.h"

/* What stands behind the socket. */
struct api_ops {
    /* The configuration in force. */
    const struct objects *(*objects)(void *context);
    /* Makes the transaction's objects (already checked with objects_check) the configuration. On an error
     * nothing has changed. */
    int (*commit)(void *context, struct transaction *transaction, char *text);
    /* State that is not configured: up to `capacity` objects of `kind`, from *cursor on (0 at first). *cursor
     * is API_CURSOR_END when there are no more. Bounded work a call: it may return fewer, or none. */
    size_t (*read)(void *context, enum dp_kind kind, uint64_t *cursor, void *objects, size_t capacity);
    int (*flush)(void *context, const struct dp_flush *flush, char *text);
    /* The descriptor of the punt channel, which becomes the callee's in any case. */
    int (*punt)(void *context, int fd, char *text);
    /* The process is to end, after the answer was sent. */
    void (*stop)(void *context);
};

#define API_CURSOR_END UINT64_MAX

/* Largest request there is, bytes. */
#define API_REQUEST_MAX (sizeof(struct dp_request) + sizeof(struct dp_port))

struct api;
struct api_session;

struct api *api_new(const struct api_ops *ops, void *context); /* NULL and ENOMEM */
void api_free(struct api *api);                                /* after its sessions */

struct api_session *api_session_new(struct api *api,
                                    int pid);       /* pid: of the peer, for texts. NULL and ENOMEM */
void api_session_free(struct api_session *session); /* aborts its transaction */

/* One request: `size` bytes, of which at most API_REQUEST_MAX are in `message` (the rest was cut off), and
 * descriptors, which are taken or closed. Writes one reply of at most DP_MESSAGE_MAX bytes and returns its
 * size; 0: not even a request, hang up. */
size_t api_session_handle(struct api_session *session, const void *message, size_t size, const int *fds,
                          unsigned fd_count, void *reply);
/* A dump is going on: api_session_continue must be called for the next reply before the next request is
 * handled. */
bool api_session_dumping(const struct api_session *session);
size_t api_session_continue(struct api_session *session, void *reply);
