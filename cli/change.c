/* SPDX-License-Identifier: BSD-3-Clause */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "change.h"
#include "client.h"
#include "output.h"

static void print_notes(const json_t *result)
{
    size_t i;
    json_t *line;
    json_array_foreach (json_object_get(result, "notes"), i, line) {
        const char *text = json_string_value(line);
        output_note("%s", text ? text : "");
    }
}

void change_print(const struct cli_context *context, const json_t *result)
{
    size_t i;
    json_t *line;
    json_array_foreach (json_object_get(result, "changes"), i, line) {
        const char *text = json_string_value(line);
        output_text(context->out, text ? text : "");
    }
    print_notes(result);
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

void change_show(const struct cli_context *context, const json_t *result)
{
    if (context->format == CLI_FORMAT_JSON) {
        output_json(context->out, result, false);
    } else if (context->format == CLI_FORMAT_NAME) {
        print_name(context);
    } else {
        change_print(context, result);
        print_summary(context, result);
    }
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
    change_show(context, result);
    json_decref(result);
    return WEFT_OK;
}

/* "a=b,c=d" as an object. */
static json_t *map_of(const char *text)
{
    json_t *map = json_object();
    while (*text) {
        size_t length = strcspn(text, ","), name = strcspn(text, "=,");
        char key[64], value[64] = "";
        snprintf(key, sizeof(key), "%.*s", (int)name, text);
        if (name < length)
            snprintf(value, sizeof(value), "%.*s", (int)(length - name - 1), text + name + 1);
        json_t *key_text = output_json_string(key);
        if (length)
            json_object_set_new(map, json_string_value(key_text), output_json_string(value));
        json_decref(key_text);
        text += length + (text[length] == ',');
    }
    return map;
}

/* "a=b,c=": KEY.a is "b", KEY.c is taken away. An entry without = is sent as it is, for weftd to refuse. */
static void set_entries(json_t *values, const char *option_key, const char *text)
{
    for (size_t length; *text; text += length + (text[length] == ',')) {
        char path[160], value[64] = "";
        size_t name = strcspn(text, "=,");
        length = strcspn(text, ",");
        if (!length)
            continue;
        snprintf(path, sizeof(path), "%s.%.*s", option_key, (int)name, text);
        if (name < length)
            snprintf(value, sizeof(value), "%.*s", (int)(length - name - 1), text + name + 1);
        json_t *key = output_json_string(path);
        json_object_set_new(values, json_string_value(key),
                            name < length && !value[0] ? json_null() : output_json_string(value));
        json_decref(key);
    }
}

/* Appends the parts of a path, without those that say nothing (RFC 3986 5.2.4). */
static void add_parts(char *path, size_t size, const char *text, size_t length)
{
    for (size_t at = 0, part; at < length; at += part + 1) {
        const char *slash = memchr(text + at, '/', length - at);
        part = slash ? (size_t)(slash - text) - at : length - at;
        size_t end = strlen(path);
        if (part == 2 && memcmp(text + at, "..", 2) == 0)
            *(strrchr(path, '/') ? strrchr(path, '/') : path) = '\0';
        else if (part && !(part == 1 && text[at] == '.'))
            snprintf(path + end, size - end, "/%.*s", (int)part, text + at);
    }
}

/* weftd does not know the working directory: a path is sent as it is from the root on. */
static void add_path(char *list, size_t size, const char *text, size_t length)
{
    char directory[PATH_MAX], path[2 * PATH_MAX] = "";
    if (text[0] == '/') {
        snprintf(path, sizeof(path), "%.*s", (int)length, text);
    } else if (getcwd(directory, sizeof(directory))) {
        add_parts(path, sizeof(path), directory, strlen(directory));
        add_parts(path, sizeof(path), text, length);
    }
    size_t end = strlen(list);
    snprintf(list + end, size - end, "%s%s", end ? "," : "", path[0] ? path : "/");
}

static json_t *paths_of(const char *text, bool many)
{
    char list[8 * PATH_MAX] = "";
    for (size_t length; *text; text += length + (text[length] == ',')) {
        length = many ? strcspn(text, ",") : strlen(text);
        if (length)
            add_path(list, sizeof(list), text, length);
    }
    return output_json_string(list);
}

static json_t *value_of(const struct cli_option *option, const char *text)
{
    if (option->type == CLI_MAP)
        return map_of(text);
    if (option->type == CLI_FILE || option->type == CLI_FILES)
        return paths_of(text, option->type == CLI_FILES);
    return output_json_string(text);
}

/* The options that are keys of weft.yaml. But for paths, their text is sent as it was written: the
 * controller types it. */
json_t *change_values(const struct cli_context *context, bool is_set)
{
    json_t *values = json_object();
    for (size_t i = 0; i < context->given_count; i++) {
        const struct cli_option *option = context->given[i].option;
        const char *value = context->given[i].value;
        if (!option->key)
            continue;
        if (value[0] && option->type == CLI_ENTRIES)
            set_entries(values, option->key, value);
        else if (value[0])
            json_object_set_new(values, option->key, value_of(option, value));
        else if (is_set)
            json_object_set_new(values, option->key, json_null());
    }
    return values;
}
