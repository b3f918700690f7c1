/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The connection to weftd. Failures are told to the user here, so that a command only passes the exit code
 * on.
 */
#include <jansson.h>

#include "context.h"

struct client_failure {
    enum weft_code code;
    char text[1024];
};

/*
 * Connects to RUN-DIR/api.sock and says hello; NULL with `failure` filled in. Nothing is printed.
 */
struct client *client_open(const char *run_dir, unsigned timeout_s, struct client_failure *failure);
void client_close(struct client *client);

/*
 * One request to the context's weftd, connecting first where that was not done yet. Takes `params` (may be
 * NULL). On WEFT_OK *result is the caller's; otherwise the error has been printed. `is_change`: when no
 * answer comes in time, the change may still be made, and the code says so.
 */
int client_call(struct cli_context *context, const char *method, json_t *params, bool is_change,
                json_t **result);

/* The same for a request that is answered with items; each is borrowed for the call. A follower waits without
 * end. */
int client_stream(struct cli_context *context, const char *method, json_t *params, bool follow,
                  int (*item)(const json_t *item, void *argument), void *argument);

/* Request without printing anything: completion asks for names with it. NULL: no answer. Takes `params`. */
json_t *client_ask(struct client *client, const char *method, json_t *params);
