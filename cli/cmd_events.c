/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "commands.h"
#include "output.h"

/* The port that it is about, or the uplink. */
static void print_object(FILE *out, const json_t *event)
{
    static const struct column tenant = {"", "tenant", NULL, COLUMN_TEXT, false};
    static const struct column port = {"", "port", NULL, COLUMN_TEXT, false};
    char text[OUTPUT_CELL_SIZE];
    if (!json_object_get(event, "port"))
        return;
    if (json_object_get(event, "tenant")) {
        output_cell(text, event, &tenant, true);
        fprintf(out, "%s/", text);
    }
    output_cell(text, event, &port, true);
    fprintf(out, "%s: ", text);
}

static int print_event(const json_t *event, void *argument)
{
    static const struct column time = {"", "time", NULL, COLUMN_TIME, false};
    static const struct column type = {"", "type", NULL, COLUMN_TEXT, false};
    static const struct column text = {"", "text", NULL, COLUMN_TEXT, false};
    const struct cli_context *context = argument;
    bool wide = context->format == CLI_FORMAT_WIDE;
    if (context->format == CLI_FORMAT_JSON) {
        output_json(context->out, event, true);
    } else {
        char when[OUTPUT_CELL_SIZE], what[OUTPUT_CELL_SIZE], words[OUTPUT_CELL_SIZE];
        output_cell(when, event, &time, wide);
        output_cell(what, event, &type, wide);
        output_cell(words, event, &text, wide);
        if (wide)
            fprintf(context->out, "%lld ", (long long)json_integer_value(json_object_get(event, "sequence")));
        fprintf(context->out, "%s  %-19s  ", when, what);
        print_object(context->out, event);
        fprintf(context->out, "%s\n", words);
    }
    /* a reader at the end of a pipe sees each event when it comes */
    return fflush(context->out) ? WEFT_FAILED : WEFT_OK;
}

int cmd_events(struct cli_context *context)
{
    json_t *params = json_object();
    const char *since = cli_given_value(context, "since");
    bool follow = cli_is_given(context, "follow");
    if (context->format == CLI_FORMAT_NAME) {
        json_decref(params);
        output_error("events: events have no names; -o json prints them for a script");
        return WEFT_USAGE;
    }
    if (follow)
        json_object_set_new(params, "follow", json_true());
    if (since)
        json_object_set_new(params, "since", json_integer((json_int_t)strtoull(since, NULL, 10)));
    return client_stream(context, "events", params, follow, print_event, context);
}
