/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Requests to a controller of controller_fixture.h, for tests with cmocka.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "api_server.h"
#include "controller_fixture.h"

/* The answer to a request; ' stands for ". To be given back by json_decref. */
static inline json_t *api_ask(struct controller *controller, const char *request)
{
    char *line = strdup(request);
    for (char *at = line; *at; at++)
        *at = *at == '\'' ? '"' : *at;
    char *text = api_server_answer(controller, line, strlen(line));
    free(line);
    assert_non_null(text);
    print_message("%s\n", text);
    json_t *answer = json_loads(text, 0, NULL);
    free(text);
    return answer;
}

/* The answer is an error with this code, and these words are in its message. */
static inline void api_refused(struct controller *controller, const char *request, int code,
                               const char *words)
{
    json_t *answer = api_ask(controller, request);
    const char *message = "";
    int got = 0;
    json_unpack(answer, "{s:{s:i, s:s}}", "error", "code", &got, "message", &message);
    assert_int_equal(got, code);
    assert_non_null(strstr(message, words));
    json_decref(answer);
}
