/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The checks are weftd's. Where it does not run, that is the first failed check, and `weftd --doctor`, found
 * beside this program or in PATH, makes those of the host.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"
#include "commands.h"
#include "output.h"
#include "program.h"

/* The text with the fix below it, as far as there is something to do. */
static void print_check(const struct cli_context *context, const json_t *item)
{
    static const struct column state_column = {"", "state", NULL, COLUMN_TEXT, false};
    static const struct column check_column = {"", "check", NULL, COLUMN_TEXT, false};
    static const struct {
        const char *state, *colour;
    } colours[] = {{"ok", "32"}, {"fixed", "32"}, {"warning", "33"}, {"failed", "31"}};
    char state[OUTPUT_CELL_SIZE], check[OUTPUT_CELL_SIZE];
    const char *text = json_string_value(json_object_get(item, "text"));
    const char *fix = json_string_value(json_object_get(item, "fix"));
    const char *colour = NULL;
    output_cell(state, item, &state_column, false);
    output_cell(check, item, &check_column, false);
    for (size_t i = 0; context->colour && i < sizeof(colours) / sizeof(colours[0]); i++)
        if (strcmp(state, colours[i].state) == 0)
            colour = colours[i].colour;
    fprintf(context->out, "%s%s%s%-7s%s  %-14s  ", colour ? "\033[" : "", colour ? colour : "",
            colour ? "m" : "", state, colour ? "\033[0m" : "", check);
    output_text(context->out, text ? text : "");
    if (fix && fix[0] && strcmp(state, "ok") != 0 && strcmp(state, "fixed") != 0) {
        fprintf(context->out, "%-7s  %-14s  -> ", "", "");
        output_text(context->out, fix);
    }
}

static int print_checks(const struct cli_context *context, const json_t *result)
{
    size_t i;
    json_t *item;
    int code = WEFT_OK;
    json_array_foreach (json_object_get(result, "items"), i, item) {
        const char *state = json_string_value(json_object_get(item, "state"));
        if (state && strcmp(state, "failed") == 0)
            code = WEFT_FAILED;
        if (context->format != CLI_FORMAT_JSON)
            print_check(context, item);
    }
    if (context->format == CLI_FORMAT_JSON)
        output_json(context->out, result, false);
    return code;
}

static void exec_weftd(int output, const char *run_dir, bool fix)
{
    static const char *const places[] = {"", "../sbin/", "../control/", NULL}; /* the last one: as built */
    char path[PROGRAM_PATH_SIZE];
    char arguments[4][16] = {"weftd", "--doctor", "--run-dir", "--fix"}, directory[4096];
    char *const argv[] = {arguments[0], arguments[1], arguments[2], directory, fix ? arguments[3] : NULL,
                          NULL};
    snprintf(directory, sizeof(directory), "%s", run_dir);
    program_find("weftd", places, path);
    dup2(output, STDOUT_FILENO);
    execvp(path, argv);
    _exit(127);
}

/* What `weftd --doctor` printed, as JSON; NULL: it did not run or said nothing that is understood. */
static json_t *host_checks(const char *run_dir, bool fix)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return NULL;
    pid_t child = fork();
    if (child == 0)
        exec_weftd(ends[1], run_dir, fix);
    close(ends[1]);
    FILE *stream = child > 0 ? fdopen(ends[0], "re") : NULL;
    json_t *result = NULL;
    if (stream) {
        result = json_loadf(stream, JSON_DISABLE_EOF_CHECK, NULL);
        fclose(stream);
    } else {
        close(ends[0]);
    }
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
        continue;
    return result;
}

static int doctor_alone(const struct cli_context *context, const struct client_failure *failure, bool fix)
{
    json_t *result = host_checks(context->run_dir, fix);
    json_t *items = json_object_get(result, "items");
    if (!json_is_array(items)) {
        json_decref(result);
        result = json_pack("{sss[]}", "schema", WEFT_SCHEMA_DOCTOR, "items");
        items = json_object_get(result, "items");
        json_array_append_new(items, json_pack("{ssssssss}", "check", "host", "state", "failed", "text",
                                               "the host is not checked: weftd --doctor cannot be run", "fix",
                                               "install weftd beside weft or in PATH"));
    }
    json_t *item = json_pack("{ssss}", "check", "weftd", "state", "failed");
    json_object_set_new(item, "text", output_json_string(failure->text));
    json_array_insert_new(items, 0, item);
    int code = print_checks(context, result);
    json_decref(result);
    return code;
}

int cmd_doctor(struct cli_context *context)
{
    bool fix = cli_is_given(context, "fix");
    struct client_failure failure;
    json_t *result, *params = fix ? json_pack("{sb}", "fix", 1) : NULL;
    if (context->format == CLI_FORMAT_NAME) {
        json_decref(params);
        output_error("doctor: checks have no names; -o json prints them for a script");
        return WEFT_USAGE;
    }
    context->client = client_open(context->run_dir, context->timeout_s, &failure);
    if (!context->client) {
        json_decref(params);
        if (failure.code == WEFT_USAGE) {
            output_error("%s", failure.text);
            return WEFT_USAGE;
        }
        return doctor_alone(context, &failure, fix);
    }
    int code = client_call(context, "doctor", params, fix, &result);
    if (code)
        return code;
    code = print_checks(context, result);
    json_decref(result);
    return code;
}
