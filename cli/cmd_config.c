/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration as one document. The text goes to weftd as it is: only weftd reads YAML.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "change.h"
#include "client.h"
#include "commands.h"
#include "output.h"
#include "show.h"
#include "parse.h"

static const struct column history_columns[] = {
    {"GENERATION", "generation", NULL, COLUMN_COUNT, false},
    {"TIME", "time", NULL, COLUMN_TIME, false},
    {"BY", "by", NULL, COLUMN_USER, false},
    {"IN-FORCE", "current", NULL, COLUMN_YES, false},
    {"UNCONFIRMED", "unconfirmed", NULL, COLUMN_YES, true},
    {"SUMMARY", "summary", NULL, COLUMN_TEXT, false},
    {NULL},
};

/* The whole stream as text; NULL with errno set. EFBIG: larger than weftd takes. */
static char *read_stream(FILE *stream, size_t *length)
{
    char *text = malloc(WEFT_API_LINE_SIZE + 1);
    if (!text)
        return NULL;
    errno = 0;
    *length = fread(text, 1, WEFT_API_LINE_SIZE + 1, stream);
    if (ferror(stream) || *length > WEFT_API_LINE_SIZE) {
        if (!ferror(stream))
            errno = EFBIG;
        free(text);
        return NULL;
    }
    text[*length] = '\0';
    return text;
}

/* 1-based line of the first byte that no YAML document holds, 0: none. */
static size_t bad_line(const char *text, size_t length)
{
    size_t line = 1;
    json_t *whole = json_stringn(text, length);
    bool has_nul = memchr(text, '\0', length) != NULL;
    json_decref(whole);
    if (whole && !has_nul)
        return 0;
    while (length > 0) {
        const char *newline = memchr(text, '\n', length);
        size_t size = newline ? (size_t)(newline - text) + 1 : length;
        json_t *one = json_stringn(text, size);
        bool good = one && !memchr(text, '\0', size);
        json_decref(one);
        if (!good)
            break;
        text += size;
        length -= size;
        line++;
    }
    return line;
}

/* params {text, filename} of the document that was named; NULL with *code set and the error printed. */
static json_t *read_document(const struct cli_context *context, int *code)
{
    const char *option = cli_given_value(context, "file");
    const char *name = option ? option : context->argument_count ? context->arguments[0] : NULL;
    *code = WEFT_USAGE;
    if (!name || (option && context->argument_count)) {
        output_error("config %s: %s; weft config %s FILE, or - for standard input", context->command->verb,
                     name ? "two documents are named" : "which document?", context->command->verb);
        return NULL;
    }
    *code = WEFT_FAILED;
    bool is_input = strcmp(name, "-") == 0;
    struct stat status;
    FILE *stream = is_input ? stdin : fopen(name, "re");
    if (stream && !fstat(fileno(stream), &status) && S_ISDIR(status.st_mode))
        errno = EISDIR;
    size_t length = 0;
    char *text = stream && errno != EISDIR ? read_stream(stream, &length) : NULL;
    int error = errno;
    if (stream && !is_input)
        fclose(stream);
    if (!text) {
        output_error(error == EFBIG ? "%s: larger than the 1 MiB that weftd takes" : "%s: cannot read it: %s",
                     name, strerror(error));
        return NULL;
    }
    size_t line = bad_line(text, length);
    json_t *params = line ? NULL : json_object();
    if (params) {
        json_object_set_new(params, "text", json_stringn(text, length));
        json_object_set_new(params, "filename", output_json_string(is_input ? "<stdin>" : name));
    } else {
        *code = WEFT_INVALID;
        output_error("%s:%zu: not UTF-8 text; is it a YAML document?", name, line);
    }
    free(text);
    return params;
}

int cmd_config_diff(struct cli_context *context)
{
    int code;
    json_t *result, *params = read_document(context, &code);
    if (!params)
        return code;
    code = client_call(context, "config.diff", params, false, &result);
    if (code)
        return code;
    bool same = json_is_true(json_object_get(result, "same"));
    if (context->format == CLI_FORMAT_JSON)
        output_json(context->out, result, false);
    else
        change_print(context, result);
    json_decref(result);
    return same ? WEFT_OK : WEFT_DIFFERENT;
}

int cmd_config_apply(struct cli_context *context)
{
    int code;
    json_t *params = read_document(context, &code);
    const char *within = cli_given_value(context, "confirm-within");
    unsigned seconds = 0;
    if (!params)
        return code;
    if (within && !cli_parse_duration(within, &seconds))
        json_object_set_new(params, "confirm_within", json_integer(seconds));
    return change_run(context, "config.apply", params);
}

int cmd_config_confirm(struct cli_context *context)
{
    json_t *result;
    int code = client_call(context, "config.confirm", NULL, true, &result);
    if (code)
        return code;
    if (context->format == CLI_FORMAT_JSON)
        output_json(context->out, result, false);
    else
        fprintf(context->out, "generation %lld confirmed\n",
                (long long)json_integer_value(json_object_get(result, "generation")));
    json_decref(result);
    return WEFT_OK;
}

static json_t *generation_params(const struct cli_context *context)
{
    json_t *params = json_object();
    if (context->argument_count)
        json_object_set_new(params, "generation",
                            json_integer((json_int_t)strtoull(context->arguments[0], NULL, 10)));
    return params;
}

int cmd_config_rollback(struct cli_context *context)
{
    return change_run(context, "config.rollback", generation_params(context));
}

int cmd_config_history(struct cli_context *context)
{
    return show_items(context, "config.history", NULL, history_columns);
}

int cmd_config_export(struct cli_context *context)
{
    return show_text(context, "config.export", generation_params(context));
}
