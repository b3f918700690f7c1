/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Request lines to weftd, one an input, by somebody who may do everything, against a controller without a
 * dataplane. Changes are made dry runs and `doctor` is left out, so that nothing is touched. Besides crashes:
 * what is in force stays as it is, and an answer is one line of JSON with a result or an error that has a
 * code and a message.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "api_server.h"
#include "controller_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char CONFIG[] =
    "version: 1\n"
    "uplinks: {lan0: {device: 'vdev:net_null0'}}\n"
    "tenants:\n"
    "  acme:\n"
    "    limits: {ports: 4}\n"
    "    segments: {web: {mode: isolated, vlan: 5, static: {52:54:00:00:00:0a: vm1}},\n"
    "               lab: {mode: bridged, uplink: lan0, vlan: 6}}\n"
    "    ports:\n"
    "      vm1: {segment: web, mac: 52:54:00:00:00:01, ip: 10.0.0.1}\n"
    "      tr: {trunk: [web, lab], native: web}\n";

static struct controller *controller;
static json_t *config; /* what is in force, and stays so */

static void check_answer(char *text)
{
    if (strchr(text, '\n'))
        abort();
    json_t *answer = json_loads(text, 0, NULL), *error = json_object_get(answer, "error");
    if (!json_object_get(answer, "result") == !error)
        abort();
    if (error && (json_integer_value(json_object_get(error, "code")) < 1 ||
                  json_string_length(json_object_get(error, "message")) == 0))
        abort();
    json_decref(answer);
    free(text);
}

static void answer_line(const char *line, size_t size)
{
    char *text = api_server_answer(controller, line, size);
    if (text)
        check_answer(text);
}

static void answer_request(json_t *request)
{
    const char *method = json_string_value(json_object_get(request, "method"));
    json_t *params = json_object_get(request, "params");
    static const char *const changing[] = {"add", "set", "del", "config.apply", "config.rollback"};
    if (method && strcmp(method, "doctor") == 0)
        return;
    for (unsigned i = 0; method && i < sizeof(changing) / sizeof(changing[0]); i++) {
        if (strcmp(method, changing[i]) == 0 && json_is_object(params))
            json_object_set_new(params, "dry_run", json_true());
    }
    char *line = json_dumps(request, JSON_COMPACT);
    if (line)
        answer_line(line, strlen(line));
    free(line);
}

static void clean_up(void)
{
    json_decref(config);
    controller_fixture_free(controller);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!controller) {
        controller = controller_fixture_new(CONFIG);
        config = json_deep_copy(controller->model->config);
        atexit(clean_up);
    }
    json_t *request = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    if (request)
        answer_request(request);
    else
        answer_line((const char *)data, size);
    json_decref(request);
    if (!json_equal(config, controller->model->config) || controller->generation != 5)
        abort();
    return 0;
}
