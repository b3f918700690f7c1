/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * weft bench: opens ports in the segments through weftd, has weft-bench (which knows how to drive rings) send
 * and receive there, and shows what it says. The ports belong to this connection, so they go however this
 * process ends; weft-bench ends when this process does.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench_report.h"
#include "client.h"
#include "commands.h"
#include "output.h"
#include "program.h"

#define BAR_LENGTH   30
#define LINE_SIZE    (1u << 20)
#define DEFAULT_SIZE "64,1518"
#define DEFAULT_TIME "5"

struct bench {
    struct cli_context *context;
    json_t *pairs, *items, *sizes;
    json_t *before, *cycles; /* workers' counters at the start of a phase; cycles a packet of the last one */
    FILE *to, *from;
    pid_t child;
    bool bar; /* progress is shown */
};

static const struct column columns[] = {
    {"SEGMENT", "segment", NULL, COLUMN_TEXT, false},
    {"SIZE", "size", NULL, COLUMN_TEXT, false},
    {"MPPS", "mpps", NULL, COLUMN_TEXT, false},
    {"GBIT/S", "gbps", NULL, COLUMN_TEXT, false},
    {"LOSS", "loss", NULL, COLUMN_TEXT, false},
    {"LOSS-FREE", "loss_free", NULL, COLUMN_TEXT, false},
    {"P50", "p50", NULL, COLUMN_TEXT, false},
    {"P99", "p99", NULL, COLUMN_TEXT, false},
    {"P99.9", "p999", NULL, COLUMN_TEXT, false},
    {"LIMIT", "limit", NULL, COLUMN_TEXT, false},
    {"RING FULL", "ring_full", NULL, COLUMN_TEXT, true},
    {"GENERATOR CYCLES", "generator", NULL, COLUMN_TEXT, true},
    {"CORRUPT", "corrupt", NULL, COLUMN_COUNT, true},
    {NULL},
};

static double number(const json_t *item, const char *key)
{
    return json_number_value(json_object_get(item, key));
}

/* Opens ports in a segment, or between two, and adds them to the job. */
static int open_pair(struct bench *bench, const char *segment, const char *to)
{
    json_t *params = json_object(), *result, *port, *sockets = json_array();
    size_t i;
    json_object_set_new(params, "segment", output_json_string(segment));
    if (to)
        json_object_set_new(params, "to", output_json_string(to));
    if (cli_is_given(bench->context, "tagged"))
        json_object_set_new(params, "trunk", json_true());
    int code = client_call(bench->context, "bench.open", params, true, &result);
    if (code) {
        json_decref(sockets);
        return code;
    }
    json_array_foreach (json_object_get(result, "ports"), i, port)
        json_array_append(sockets, json_object_get(port, "socket"));
    char name[2 * CLI_NAME_SIZE + 8];
    snprintf(name, sizeof(name), "%s%s%s", segment, to ? " > " : "", to ? to : "");
    json_t *vlan = json_object_get(result, "vlan");
    json_array_append_new(bench->pairs, json_pack("{s:o, s:o, s:O}", "name", output_json_string(name),
                                                  "sockets", sockets, "vlan", vlan ? vlan : json_null()));
    json_decref(result);
    return WEFT_OK;
}

/* The first segment of each tenant. */
static int open_tenants(struct bench *bench)
{
    json_t *result, *item, *seen = json_object();
    size_t i;
    int code = client_call(bench->context, "list", json_pack("{ss}", "noun", "segment"), false, &result);
    if (code) {
        json_decref(seen);
        return code;
    }
    json_array_foreach (json_object_get(result, "items"), i, item) {
        const char *tenant = json_string_value(json_object_get(item, "tenant"));
        const char *name = json_string_value(json_object_get(item, "name"));
        if (code || !tenant || !name || json_object_get(seen, tenant))
            continue;
        json_object_set_new(seen, tenant, json_true());
        code = open_pair(bench, name, NULL);
    }
    if (code == WEFT_OK && json_array_size(bench->pairs) == 0) {
        output_error("no tenant has a segment");
        code = WEFT_NOT_FOUND;
    }
    json_decref(result);
    json_decref(seen);
    return code;
}

static int open_ports(struct bench *bench)
{
    const struct cli_context *context = bench->context;
    bool all = cli_is_given(context, "all-tenants");
    if (all == (context->argument_count > 0)) {
        output_error("weft bench: name a segment, two segments, or --all-tenants");
        return WEFT_USAGE;
    }
    if (all)
        return open_tenants(bench);
    return open_pair(bench, context->arguments[0],
                     context->argument_count > 1 ? context->arguments[1] : NULL);
}

/* Busy cycles and packets of all workers: [cycles, packets]; also fills in the CPUs they have. */
static int read_workers(struct bench *bench, json_t *cpus, json_t **sums)
{
    json_t *result, *worker;
    json_int_t cycles = 0, packets = 0;
    size_t i;
    int code = client_call(bench->context, "status", NULL, false, &result);
    if (code)
        return code;
    json_array_foreach (json_object_get(result, "workers"), i, worker) {
        cycles += json_integer_value(json_object_get(worker, "busy_cycles"));
        packets += json_integer_value(json_object_get(worker, "packets"));
        if (cpus)
            json_array_append(cpus, json_object_get(worker, "core"));
    }
    json_decref(result);
    *sums = json_pack("[I,I]", cycles, packets);
    return WEFT_OK;
}

static int on_phase(struct bench *bench, bool begin)
{
    json_t *now;
    int code = read_workers(bench, NULL, &now);
    if (code)
        return code;
    if (!begin) {
        double packets =
            json_number_value(json_array_get(now, 1)) - json_number_value(json_array_get(bench->before, 1));
        double cycles =
            json_number_value(json_array_get(now, 0)) - json_number_value(json_array_get(bench->before, 0));
        json_decref(bench->cycles);
        bench->cycles = json_real(packets > 0 ? cycles / packets : 0);
    }
    json_decref(bench->before);
    bench->before = now;
    fputs("go\n", bench->to);
    fflush(bench->to);
    return WEFT_OK;
}

static void show_progress(const struct bench *bench, double done, const char *text)
{
    char line[200], clean[400];
    int filled = (int)(done * BAR_LENGTH);
    if (!bench->bar)
        return;
    filled = filled < 0 ? 0 : filled > BAR_LENGTH ? BAR_LENGTH : filled;
    snprintf(line, sizeof(line), "[%.*s%*s] %3.0f %%  %.100s", filled, "##############################",
             BAR_LENGTH - filled, "", done * 100, text);
    output_clean(clean, sizeof(clean), line, strlen(line), false);
    fprintf(stderr, "\r\033[K%s", clean);
}

static void end_progress(const struct bench *bench)
{
    if (bench->bar)
        fputs("\r\033[K", stderr);
}

/* One frame size is done. */
static void on_result(struct bench *bench, json_t *line)
{
    double total = 0;
    size_t i;
    json_t *pair;
    json_array_foreach (json_object_get(line, "pairs"), i, pair) {
        json_t *item = json_pack("{s:O, s:O, s:O}", "segment", json_object_get(pair, "name"), "size",
                                 json_object_get(line, "size"), "bytes", json_object_get(line, "bytes"));
        json_object_update(item, pair);
        json_object_del(item, "name");
        total += number(pair, "mpps");
        json_array_append_new(bench->items, item);
    }
    json_t *size = json_pack("{s:O, s:f, s:O}", "size", json_object_get(line, "size"), "mpps", total,
                             "fairness", json_object_get(line, "fairness"));
    if (bench->cycles)
        json_object_set(size, "switch_cycles_per_packet", bench->cycles);
    json_array_append_new(bench->sizes, size);
}

/* Handles one line of weft-bench's. *ended: it was the last. */
static int on_line(struct bench *bench, json_t *line, bool *ended)
{
    const char *type = json_string_value(json_object_get(line, "type"));
    const char *text = json_string_value(json_object_get(line, "text"));
    if (!type)
        return WEFT_FAILED;
    if (strcmp(type, "progress") == 0)
        show_progress(bench, number(line, "done"), text ? text : "");
    else if (strcmp(type, "phase") == 0)
        return on_phase(bench, json_is_true(json_object_get(line, "begin")));
    else if (strcmp(type, "result") == 0)
        on_result(bench, line);
    else if (strcmp(type, "error") == 0) {
        const char *message = json_string_value(json_object_get(line, "message"));
        end_progress(bench);
        output_error("bench: %s", message ? message : "failed");
        return json_is_true(json_object_get(line, "usage")) ? WEFT_USAGE : WEFT_FAILED;
    }
    *ended = strcmp(type, "end") == 0;
    return WEFT_OK;
}

static int follow(struct bench *bench)
{
    int code = WEFT_OK;
    bool ended = false;
    char *text = malloc(LINE_SIZE);
    while (text && code == WEFT_OK && !ended && fgets(text, LINE_SIZE, bench->from)) {
        json_t *line = json_loads(text, 0, NULL);
        code = on_line(bench, line, &ended);
        json_decref(line);
    }
    free(text);
    end_progress(bench);
    if (code == WEFT_OK && !ended) {
        output_error("bench: weft-bench ended before it was done");
        code = WEFT_FAILED;
    }
    return code;
}

static void exec_program(int input, int output)
{
    static const char *const places[] = {"../libexec/weft/", "../perf/", "", NULL}; /* installed, built */
    char path[PROGRAM_PATH_SIZE], name[] = "weft-bench";
    char *const argv[] = {name, NULL};
    program_find(name, places, path);
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    execvp(path, argv);
    fprintf(stderr, "weft: %s: %s\n", path, strerror(errno));
    _exit(127);
}

static int start_program(struct bench *bench)
{
    int to[2] = {-1, -1}, from[2] = {-1, -1};
    if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC)) {
        output_error("bench: %s", strerror(errno));
        return WEFT_FAILED;
    }
    bench->child = fork();
    if (bench->child == 0)
        exec_program(to[0], from[1]);
    close(to[0]);
    close(from[1]);
    bench->to = fdopen(to[1], "we");
    bench->from = fdopen(from[0], "re");
    if (bench->child < 0 || !bench->to || !bench->from) {
        output_error("bench: %s", strerror(errno));
        return WEFT_FAILED;
    }
    return WEFT_OK;
}

static void stop_program(struct bench *bench)
{
    if (bench->to)
        fclose(bench->to);
    if (bench->from)
        fclose(bench->from); /* it ends when nobody reads */
    while (bench->child > 0 && waitpid(bench->child, NULL, 0) < 0 && errno == EINTR)
        continue;
}

static json_int_t given_number(const struct cli_context *context, const char *name, json_int_t fallback)
{
    const char *value = cli_given_value(context, name);
    return value ? (json_int_t)strtoull(value, NULL, 10) : fallback;
}

/* "64,imix" to a list. */
static json_t *list_of(const char *text)
{
    json_t *list = json_array();
    for (size_t length; *text; text += length + (text[length] == ',')) {
        char word[32];
        length = strcspn(text, ",");
        snprintf(word, sizeof(word), "%.*s", (int)(length < 31 ? length : 31), text);
        json_array_append_new(list, output_json_string(word));
    }
    return list;
}

static int send_job(struct bench *bench)
{
    const struct cli_context *context = bench->context;
    const char *sizes = cli_given_value(context, "size"), *direction = cli_given_value(context, "direction");
    json_t *cpus = json_array();
    json_int_t seconds = given_number(context, "time", strtol(DEFAULT_TIME, NULL, 10));
    int code = read_workers(bench, cpus, &bench->before);
    json_t *job = json_pack("{s:O, s:o, s:o, s:f, s:f, s:f, s:I, s:I, s:b, s:b, s:b, s:b}", "pairs",
                            bench->pairs, "sizes", list_of(sizes ? sizes : DEFAULT_SIZE), "avoid", cpus,
                            "seconds", (double)seconds, "rate", (double)given_number(context, "rate", 0),
                            "tolerance", (double)given_number(context, "tolerance", 0) / 1e6, "flows",
                            given_number(context, "flows", 1), "macs", given_number(context, "macs", 1),
                            "both", direction && strcmp(direction, "both") == 0, "loss_free",
                            cli_is_given(context, "loss-free"), "latency",
                            !cli_is_given(context, "no-latency"), "packed", cli_is_given(context, "packed"));
    if (code == WEFT_OK) {
        json_dumpf(job, bench->to, JSON_COMPACT);
        fputc('\n', bench->to);
        fflush(bench->to);
    }
    json_decref(job);
    return code;
}

static void set_text(json_t *item, const char *key, const char *format, double value)
{
    char text[32];
    snprintf(text, sizeof(text), format, value);
    json_object_set_new(item, key, json_string(text));
}

/* What the table shows: numbers as a person reads them, times in microseconds. */
static json_t *for_table(const json_t *items)
{
    json_t *rows = json_array(), *item;
    size_t i;
    json_array_foreach (items, i, item) {
        json_t *row = json_object(), *latency = json_object_get(json_object_get(item, "latency_ns"), "50");
        static const char *const same[] = {"segment", "size", "limit", "corrupt"};
        for (unsigned k = 0; k < sizeof(same) / sizeof(same[0]); k++)
            json_object_set(row, same[k], json_object_get(item, same[k]));
        set_text(row, "mpps", "%.3f", number(item, "mpps"));
        set_text(row, "gbps", "%.2f", number(item, "gbps"));
        set_text(row, "loss", "%.4f%%", number(item, "loss") * 100);
        set_text(row, "ring_full", "%.0f%%", number(item, "ring_full") * 100);
        set_text(row, "generator", "%.1f", number(item, "generator_cycles_per_packet"));
        if (json_object_get(item, "loss_free"))
            set_text(row, "loss_free", "%.3f", number(json_object_get(item, "loss_free"), "mpps"));
        if (latency) {
            set_text(row, "p50", "%.1f us", number(latency, "p50") / 1e3);
            set_text(row, "p99", "%.1f us", number(latency, "p99") / 1e3);
            set_text(row, "p999", "%.1f us", number(latency, "p999") / 1e3);
        }
        json_array_append_new(rows, row);
    }
    return rows;
}

static void print_table(const struct bench *bench)
{
    const struct cli_context *context = bench->context;
    json_t *rows = for_table(bench->items), *size;
    size_t i;
    output_table(context->out, rows, columns, context->format == CLI_FORMAT_WIDE, context->colour);
    json_array_foreach (bench->sizes, i, size) {
        fprintf(context->out, "size %s: %.3f Mpps in all, %.0f cycles a frame in the switch",
                json_string_value(json_object_get(size, "size")), number(size, "mpps"),
                number(size, "switch_cycles_per_packet"));
        if (json_array_size(bench->pairs) > 1)
            fprintf(context->out, ", fairness %.3f", number(size, "fairness"));
        fputc('\n', context->out);
    }
    json_decref(rows);
}

/* Pairs between which nothing arrived are no result. */
static int check_reached(const struct bench *bench)
{
    size_t i;
    json_t *item;
    json_array_foreach (bench->items, i, item) {
        if (number(item, "received") > 0)
            continue;
        output_error("bench: no frame arrived in %s; see \"weft drops\"",
                     json_string_value(json_object_get(item, "segment")));
        return WEFT_FAILED;
    }
    return WEFT_OK;
}

static int show(const struct bench *bench)
{
    const struct cli_context *context = bench->context;
    const char *report = cli_given_value(context, "report");
    char when[32], host[256] = "";
    time_t now = time(NULL);
    struct tm utc;
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    gethostname(host, sizeof(host) - 1);
    json_t *document =
        json_pack("{s:s, s:s, s:o, s:O, s:O}", "schema", WEFT_SCHEMA_BENCH, "time", when, "host",
                  output_json_string(host), "items", bench->items, "sizes", bench->sizes);
    int code = WEFT_OK;
    if (context->format == CLI_FORMAT_JSON)
        output_json(context->out, document, false);
    else
        print_table(bench);
    int error = report ? bench_report_write(report, document) : 0;
    if (error) {
        output_error("%s: %s", report, strerror(-error));
        code = WEFT_FAILED;
    }
    json_decref(document);
    return code ? code : check_reached(bench);
}

int cmd_bench(struct cli_context *context)
{
    struct bench bench = {
        .context = context,
        .pairs = json_array(),
        .items = json_array(),
        .sizes = json_array(),
        .bar = isatty(STDERR_FILENO),
    };
    if (context->format == CLI_FORMAT_NAME) {
        output_error("bench: results have no names; -o json prints them for a script");
        return WEFT_USAGE;
    }
    int code = open_ports(&bench);
    if (code == WEFT_OK)
        code = start_program(&bench);
    if (code == WEFT_OK)
        code = send_job(&bench);
    if (code == WEFT_OK)
        code = follow(&bench);
    stop_program(&bench);
    if (code == WEFT_OK)
        code = show(&bench);
    json_decref(bench.pairs);
    json_decref(bench.items);
    json_decref(bench.sizes);
    json_decref(bench.before);
    json_decref(bench.cycles);
    return code;
}
