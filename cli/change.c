/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "change.h"
#include "client.h"
#include "output.h"

void change_print(const struct cli_context *context, const json_t *result)
{
    size_t i;
    json_t *line;
    json_array_foreach (json_object_get(result, "changes"), i, line) {
        const char *text = json_string_value(line);
        output_text(context->out, text ? text : "");
    }
}

static void print_summary(const struct cli_context *context, const json_t *result)
{
    bool changed = json_is_true(json_object_get(result, "changed"));
    json_int_t generation = json_integer_value(json_object_get(result, "generation"));
    json_int_t confirm_within = json_integer_value(json_object_get(result, "confirm_within"));
    if (!changed)
        fprintf(context->out, "unchanged, generation %lld\n", (long long)generation);
    else if (context->dry_run)
        fprintf(context->out, "not done (dry run), generation %lld\n", (long long)generation);
    else
        fprintf(context->out, "generation %lld\n", (long long)generation);
    if (confirm_within > 0)
        output_note(
            "confirm it within %lld s with \"weft config confirm\", or the generation before comes back",
            (long long)confirm_within);
}

static void print_name(const struct cli_context *context)
{
    const char *name = context->argument_count ? context->arguments[0] : "";
    if (strcmp(context->command->noun, "config") != 0)
        output_text(context->out, name);
}

int change_run(struct cli_context *context, const char *method, json_t *params)
{
    json_t *result;
    const char *expected = cli_given_value(context, "expect-generation");
    if (context->dry_run)
        json_object_set_new(params, "dry_run", json_true());
    if (expected)
        json_object_set_new(params, "expect_generation",
                            json_integer((json_int_t)strtoull(expected, NULL, 10)));
    int code = client_call(context, method, params, true, &result);
    if (code)
        return code;
    if (context->format == CLI_FORMAT_JSON) {
        output_json(context->out, result, false);
    } else if (context->format == CLI_FORMAT_NAME) {
        print_name(context);
    } else {
        change_print(context, result);
        print_summary(context, result);
    }
    json_decref(result);
    return WEFT_OK;
}
