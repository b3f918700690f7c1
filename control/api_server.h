/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The socket RUN-DIR/api.sock: clients, lines, roles. What a request does is in api_methods.c.
 *
 * Threads: weftd has one.
 */
#include <stddef.h>
#include <jansson.h>

struct controller;
struct api_server;

/* NULL: `text` says why. */
struct api_server *api_server_new(struct controller *controller, char *text, size_t size);
void api_server_free(struct api_server *server);
/* An event for those who follow. */
void api_server_publish(struct api_server *server, json_t *event);
/* The dataplane's state changed: requests that waited for it go on. */
void api_server_wake(struct api_server *server);

/* One request line to one answer; for the fuzz target. Returns the answer's text, to be freed. */
char *api_server_answer(struct controller *controller, const char *line, size_t size);
