/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "commands.h"
#include "output.h"

static const struct column worker_columns[] = {
    {"WORKER", "id", NULL, COLUMN_COUNT, false},
    {"CORE", "core", NULL, COLUMN_COUNT, false},
    {"QUEUES", "queues", NULL, COLUMN_COUNT, false},
    {"BUSY", "busy", NULL, COLUMN_PERCENT, false},
    {"ASLEEP", "asleep", NULL, COLUMN_TEXT, false},
    {"PACKETS", "packets", NULL, COLUMN_COUNT, false},
    {"ROUNDS", "rounds", NULL, COLUMN_COUNT, true},
    {"SLEEPS", "sleeps", NULL, COLUMN_COUNT, true},
    {"FLOW HITS", "flow_hits", NULL, COLUMN_COUNT, true},
    {"FLOW MISSES", "flow_misses", NULL, COLUMN_COUNT, true},
    {NULL},
};

static const struct column tenant_columns[] = {
    {"TENANT", "name", NULL, COLUMN_TEXT, false},         {"SEGMENTS", "segments", NULL, COLUMN_COUNT, false},
    {"PORTS", "ports", NULL, COLUMN_COUNT, false},        {"UP", "ports_up", NULL, COLUMN_COUNT, false},
    {"RX-PKTS", "rx_packets", NULL, COLUMN_COUNT, false}, {"RX-BYTES", "rx_bytes", NULL, COLUMN_BYTES, false},
    {"TX-PKTS", "tx_packets", NULL, COLUMN_COUNT, false}, {"TX-BYTES", "tx_bytes", NULL, COLUMN_BYTES, false},
    {"DROPS", "drops", NULL, COLUMN_COUNT, false},        {NULL},
};

static void cell_of(char cell[OUTPUT_CELL_SIZE], const json_t *item, const char *key, enum column_kind kind)
{
    const struct column column = {"", key, NULL, kind, false};
    output_cell(cell, item, &column, false);
}

/* How long ago an RFC 3339 time was, "-" when it is none. */
static void age_of(char cell[OUTPUT_CELL_SIZE], const json_t *item, const char *key)
{
    const char *text = json_string_value(json_object_get(item, key));
    struct tm utc = {0};
    snprintf(cell, OUTPUT_CELL_SIZE, "-");
    if (!text || !strptime(text, "%Y-%m-%dT%H:%M:%S", &utc))
        return;
    time_t since = time(NULL) - timegm(&utc);
    output_seconds(cell, OUTPUT_CELL_SIZE, since > 0 ? (uint64_t)since : 0);
}

static void print_controller(FILE *out, const json_t *controller)
{
    char pid[OUTPUT_CELL_SIZE], build[OUTPUT_CELL_SIZE], age[OUTPUT_CELL_SIZE], run_dir[OUTPUT_CELL_SIZE];
    char generation[OUTPUT_CELL_SIZE];
    cell_of(pid, controller, "pid", COLUMN_TEXT);
    cell_of(build, controller, "build", COLUMN_TEXT);
    cell_of(run_dir, controller, "run_dir", COLUMN_TEXT);
    cell_of(generation, controller, "generation", COLUMN_TEXT);
    age_of(age, controller, "started");
    fprintf(out, "controller  up %s, pid %s, version %s, generation %s, run dir %s\n", age, pid, build,
            generation, run_dir);
    const json_t *unconfirmed = json_object_get(controller, "unconfirmed");
    if (unconfirmed)
        fprintf(out,
                "            not confirmed: the generation before comes back in %" PRId64
                " s unless \"weft config confirm\"\n",
                (int64_t)json_integer_value(json_object_get(unconfirmed, "seconds_left")));
}

static void print_dataplane(FILE *out, const json_t *dataplane)
{
    char state[OUTPUT_CELL_SIZE], pid[OUTPUT_CELL_SIZE], build[OUTPUT_CELL_SIZE], age[OUTPUT_CELL_SIZE];
    char restarts[OUTPUT_CELL_SIZE], reason[OUTPUT_CELL_SIZE];
    cell_of(state, dataplane, "state", COLUMN_TEXT);
    cell_of(pid, dataplane, "pid", COLUMN_TEXT);
    cell_of(build, dataplane, "build", COLUMN_TEXT);
    cell_of(restarts, dataplane, "restarts", COLUMN_COUNT);
    cell_of(reason, dataplane, "reason", COLUMN_TEXT);
    age_of(age, dataplane, "started");
    if (strcmp(state, "up") == 0)
        fprintf(out, "dataplane   up %s, pid %s, version %s, restarts %s%s%s\n", age, pid, build, restarts,
                json_is_true(json_object_get(dataplane, "adopted")) ? ", adopted" : "",
                json_is_false(json_object_get(dataplane, "converged")) ? ", not yet programmed" : "");
    else
        fprintf(out, "dataplane   %s, restarts %s%s%s\n", state, restarts, strcmp(reason, "-") ? ": " : "",
                strcmp(reason, "-") ? reason : "");
}

static void print_totals(FILE *out, const json_t *totals)
{
    static const struct column columns[] = {
        {"", "tenants", NULL, COLUMN_COUNT, false},    {"", "segments", NULL, COLUMN_COUNT, false},
        {"", "ports", NULL, COLUMN_COUNT, false},      {"", "ports_up", NULL, COLUMN_COUNT, false},
        {"", "rx_packets", NULL, COLUMN_COUNT, false}, {"", "drops", NULL, COLUMN_COUNT, false}};
    char cell[6][OUTPUT_CELL_SIZE];
    for (size_t i = 0; i < 6; i++)
        output_cell(cell[i], totals, &columns[i], false);
    fprintf(out, "totals      %s tenants, %s segments, %s ports (%s up), %s packets received, %s dropped\n",
            cell[0], cell[1], cell[2], cell[3], cell[4], cell[5]);
}

/* Under --watch, busy is of the time since the screen before, not since the start. */
static void busy_since(json_t *workers, const json_t *before)
{
    size_t i;
    json_t *worker;
    json_array_foreach (workers, i, worker) {
        const json_t *old = json_array_get(before, i);
        json_int_t busy = json_integer_value(json_object_get(worker, "busy_cycles")) -
                          json_integer_value(json_object_get(old, "busy_cycles"));
        json_int_t total = json_integer_value(json_object_get(worker, "total_cycles")) -
                           json_integer_value(json_object_get(old, "total_cycles"));
        if (old && total > 0 && busy >= 0)
            json_object_set_new(worker, "busy", json_real((double)busy / (double)total));
    }
}

static void print_text(struct cli_context *context, const json_t *status, const json_t *before)
{
    FILE *out = context->out;
    bool wide = context->format == CLI_FORMAT_WIDE;
    json_t *workers = json_deep_copy(json_object_get(status, "workers"));
    size_t i;
    json_t *warning;
    busy_since(workers, json_object_get(before, "workers"));
    print_controller(out, json_object_get(status, "controller"));
    print_dataplane(out, json_object_get(status, "dataplane"));
    print_totals(out, json_object_get(status, "totals"));
    if (json_array_size(workers)) {
        fputc('\n', out);
        output_table(out, workers, worker_columns, wide, context->colour);
    }
    if (json_array_size(json_object_get(status, "tenants"))) {
        fputc('\n', out);
        output_table(out, json_object_get(status, "tenants"), tenant_columns, wide, context->colour);
    }
    if (json_array_size(json_object_get(status, "warnings")))
        fputc('\n', out);
    json_array_foreach (json_object_get(status, "warnings"), i, warning) {
        const char *text = json_string_value(warning);
        fputs("warning: ", out);
        output_text(out, text ? text : "");
    }
    json_decref(workers);
}

int cmd_status(struct cli_context *context)
{
    json_t *status;
    if (context->format == CLI_FORMAT_NAME) {
        output_error("status: a status has no names; weft port list -o name lists ports");
        return WEFT_USAGE;
    }
    int code = client_call(context, "status", NULL, false, &status);
    if (code)
        return code;
    if (context->format == CLI_FORMAT_JSON)
        output_json(context->out, status, context->watch_s != 0);
    else
        print_text(context, status, context->before);
    json_decref(context->before);
    context->before = status;
    return WEFT_OK;
}
