/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The programming socket's other end: what the controller, the load generator and the tests speak to
 * weft-dataplane with. Plain libc.
 *
 * Calls block, at most the timeout given to dp_client_connect; dp_client_commit, which may have thousands of
 * ports to open, five times as long. Errors: 0 or -errno, and dp_client_error()
 * says in one sentence what the dataplane (or this library) had against it. A connection that failed
 * (-ECONNRESET, -ETIMEDOUT, -EPROTO) stays failed: close it and connect again. An answer with an error
 * (-EINVAL, -EBUSY, ...) leaves it usable.
 *
 * A transaction: dp_client_begin, any number of dp_client_put and dp_client_del, dp_client_commit. Puts and
 * deletes are sent without waiting for their answers, so 10,000 objects cost no 10,000 round trips; what was
 * wrong with one comes out of a later call of the same transaction, dp_client_commit at the latest, which
 * then commits nothing. After an error the transaction is over: begin again.
 *
 * Threads: a client belongs to one thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dataplane_api.h"
#include "kinds.h"

struct dp_client;

/* Connects and exchanges HELLO. `path`: RUN-DIR/dataplane.sock. NULL and errno: ENOENT, ECONNREFUSED (no
 * dataplane), EACCES (not the dataplane's user), EUSERS (too many clients), EPROTO (another version of the
 * protocol), ETIMEDOUT. */
struct dp_client *dp_client_connect(const char *path, int timeout_ms);
void dp_client_close(struct dp_client *client); /* NULL: nothing */

int dp_client_fd(const struct dp_client *client); /* polls POLLHUP when the dataplane is gone */
const struct dp_hello *dp_client_hello(const struct dp_client *client);
const char *dp_client_error(const struct dp_client *client); /* of the last call that failed; "" before */

int dp_client_begin(struct dp_client *client); /* -EBUSY: somebody else's transaction is open */
/* fds: only a new tap port has some, one a queue; they are duplicated in sending and stay the caller's. */
int dp_client_put(struct dp_client *client, enum dp_kind kind, const void *object, const int *fds,
                  unsigned fd_count);
int dp_client_del(struct dp_client *client, enum dp_kind kind, const void *object);
int dp_client_commit(struct dp_client *client);
int dp_client_abort(struct dp_client *client);

/* Iterates over the objects of a kind: dp_client_dump, then dp_client_next until it is not 1. 1: *object is
 * the next one, valid until the next call; 0: no more; or -errno. A dump must be read to its end before any
 * other call. */
int dp_client_dump(struct dp_client *client, enum dp_kind kind);
int dp_client_next(struct dp_client *client, const void **object);
/* The whole dump as an array of `*count` objects, to be freed by the caller (NULL if there are none). */
int dp_client_dump_all(struct dp_client *client, enum dp_kind kind, void **objects, size_t *count);

int dp_client_flush(struct dp_client *client, uint32_t segment, uint32_t port); /* 0: all */
/* Hands over one end of the punt channel (struct dp_punt); `fd` is duplicated and stays the caller's. */
int dp_client_punt(struct dp_client *client, int fd);
int dp_client_stop(struct dp_client *client); /* returns when the dataplane agreed to end */
