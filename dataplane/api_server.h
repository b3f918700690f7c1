/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The programming socket: listening, connections, and the bounds that keep a client from hurting the control
 * thread. What the messages mean is in api_session.c.
 *
 * Threads: control.
 */
#include <event2/event.h>
#include "api_session.h"

#define API_CLIENTS_MAX 8u

struct api_server;

/* Listens at `path` (mode 0660); a stale socket of a dead process is replaced. NULL and errno; EADDRINUSE:
 * somebody listens there. */
struct api_server *api_server_new(struct event_base *base, const char *path, const struct api_ops *ops,
                                  void *context);
/* Disconnects everybody and removes the socket. NULL: nothing. */
void api_server_free(struct api_server *server);
