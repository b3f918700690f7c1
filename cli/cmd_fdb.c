/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "client.h"
#include "commands.h"
#include "output.h"
#include "show.h"

static const struct column fdb_columns[] = {
    {"SEGMENT", "segment", NULL, COLUMN_TEXT, false}, {"MAC", "mac", NULL, COLUMN_TEXT, false},
    {"PORT", "port", NULL, COLUMN_TEXT, false},       {"STATIC", "static", NULL, COLUMN_YES, false},
    {"AGE", "age", NULL, COLUMN_SECONDS, false},      {NULL},
};

/* segment and port as they were given. */
static json_t *place(const struct cli_context *context)
{
    json_t *params = json_object();
    const char *port = cli_given_value(context, "port");
    if (context->argument_count)
        json_object_set_new(params, "segment", output_json_string(context->arguments[0]));
    if (port)
        json_object_set_new(params, "port", output_json_string(port));
    return params;
}

int cmd_fdb_list(struct cli_context *context)
{
    json_t *params = place(context);
    json_object_set_new(params, "noun", json_string("fdb"));
    if (context->tenant && !context->argument_count)
        json_object_set_new(params, "tenant", output_json_string(context->tenant));
    return show_items(context, "list", params, fdb_columns);
}

int cmd_fdb_flush(struct cli_context *context)
{
    json_t *result;
    if (context->tenant && !context->argument_count && !cli_is_given(context, "port")) {
        output_error(
            "weft fdb flush: name a segment or a port of tenant %s; without --tenant and $WEFT_TENANT it "
            "flushes every segment",
            context->tenant);
        return WEFT_USAGE;
    }
    json_t *params = place(context);
    if (context->dry_run)
        json_object_set_new(params, "dry_run", json_true());
    int code = client_call(context, "fdb.flush", params, true, &result);
    if (code)
        return code;
    if (context->format == CLI_FORMAT_JSON)
        output_json(context->out, result, false);
    else
        fprintf(context->out, context->dry_run ? "not done (dry run), %lld to flush\n" : "flushed %lld\n",
                (long long)json_integer_value(json_object_get(result, "flushed")));
    json_decref(result);
    return WEFT_OK;
}
