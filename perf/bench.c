/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * weft-bench: what `weft bench` runs. Reads one job, a line of JSON, from standard input and writes lines of
 * JSON to standard output:
 *   {"type":"progress","done":0.25,"text":"64 B: maximum rate"}
 *   {"type":"phase","begin":true}                               the switch's counters are wanted, and at the
 *   {"type":"phase","begin":false}                              end again; the other side answers a line
 *   {"type":"result","size":"64","bytes":[60],"pairs":[{...}]}  one a frame size
 *   {"type":"end"}
 * Job: {"pairs":[{"name":"acme/web","sockets":[A,B],"vlan":0}],"sizes":["64","imix","tso"],"seconds":5,
 *       "flows":1,"macs":1,"both":false,"rate":0,"loss_free":false,"tolerance":0,"latency":true,"packed":false,
 *       "avoid":[1]}
 * `avoid`: CPUs to leave to the switch. It ends when whoever reads it does.
 */
#include <errno.h>
#include <jansson.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "generator.h"

#define PAIRS_MAX   GENERATORS_MAX
#define JOB_SIZE    (256u << 10) /* bytes of a job */
#define FCS_SIZE    4u
#define TSO_SIZE    64000u
#define RING_SMALL  1024
#define RING_LARGE  256
#define RUN_IP      0xc6120001u /* 198.18.0.1; RFC 2544, C.2.2: addresses for benchmarks */
#define PRECISION   0.01
#define LOAD_LEVELS 3u
/* Parts of a size's time: the maximum where latencies follow, each of those, each trial of a search. */
#define PART_MAXIMUM 0.4
#define PART_LATENCY 0.2
#define PART_TRIAL   0.1

static const double load_levels[LOAD_LEVELS] = {0.1, 0.5, 0.9};

struct job {
    json_t *pairs, *sizes, *avoid;
    double seconds, rate, tolerance;
    int flows, macs;
    int both, loss_free, latency, packed;
};

struct frame_size {
    const char *name;
    uint16_t sizes[GENERATOR_SIZES_MAX];
    unsigned count;
    bool offload;
};

struct run {
    const struct job *job;
    struct frame_size size;
    struct generator *list[PAIRS_MAX];
    struct generator_result maximum[PAIRS_MAX];
    struct generator_result trial[PAIRS_MAX];
    unsigned count;
    char phase[96];
    double done_before, done_share; /* of the whole job */
};

static void say(json_t *line)
{
    json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(8));
    putchar('\n');
    if (fflush(stdout) != 0)
        exit(1); /* nobody reads */
    json_decref(line);
}

static int fail(const char *message)
{
    say(json_pack("{s:s, s:s}", "type", "error", "message", message));
    return 1;
}

/* As fail, for a job that asks for what cannot be: wrong words, not a failed measurement. */
static int refuse(const char *message)
{
    say(json_pack("{s:s, s:s, s:b}", "type", "error", "message", message, "usage", 1));
    return 1;
}

static bool progress(void *context, double done)
{
    const struct run *run = context;
    say(json_pack("{s:s, s:f, s:s}", "type", "progress", "done", run->done_before + done * run->done_share,
                  "text", run->phase));
    return true;
}

/* A search has no end that is known before: its bar creeps. */
static bool search_progress(void *context, double done)
{
    (void)done;
    struct run *run = context;
    run->done_before += run->done_share * 0.01;
    run->done_share *= 0.99;
    return progress(context, 0);
}

/* The other side reads the switch's counters now. */
static bool phase(bool begin)
{
    char answer[16];
    say(json_pack("{s:s, s:b}", "type", "phase", "begin", begin));
    return fgets(answer, sizeof(answer), stdin) != NULL;
}

static bool parse_size(const char *name, struct frame_size *size)
{
    static const uint16_t imix[] = {60, 590, 60, 60, 590, 60, 1514, 60, 590, 60, 590, 60};
    *size = (struct frame_size){.name = name, .count = 1};
    if (strcmp(name, "imix") == 0) {
        size->count = sizeof(imix) / sizeof(imix[0]);
        memcpy(size->sizes, imix, sizeof(imix));
        return true;
    }
    if (strcmp(name, "tso") == 0) {
        size->sizes[0] = TSO_SIZE;
        size->offload = true;
        return true;
    }
    char *end;
    unsigned long value = strtoul(name, &end, 10);
    size->sizes[0] = (uint16_t)(value - FCS_SIZE);
    return end != name && *end == '\0' && value >= 64 && value <= 9216;
}

static bool open_pair(struct run *run, json_t *pair, char error[256])
{
    json_t *sockets = json_object_get(pair, "sockets");
    unsigned index = run->count;
    struct generator_config config = {
        .paths = {json_string_value(json_array_get(sockets, 0)),
                  json_string_value(json_array_get(sockets, 1))},
        .both = run->job->both,
        .packed = run->job->packed,
        .mergeable = true,
        .offload = run->size.offload,
        .ring_size = run->size.offload ? RING_LARGE : RING_SMALL,
        .buffer_size = 2048,
        .size_count = run->size.count,
        .flows = (uint32_t)run->job->flows,
        .macs = (uint32_t)run->job->macs,
        .vlan = (uint16_t)json_integer_value(json_object_get(pair, "vlan")),
        .mac_prefix = {{0x06, 0x57, (uint8_t)(index << 1), 0, 0, 0},
                       {0x06, 0x58, (uint8_t)(index << 1), 0, 0, 0}},
        .ip = {RUN_IP, RUN_IP + 0x10000},
        .timeout_ms = 60000,
    };
    memcpy(config.sizes, run->size.sizes, sizeof(config.sizes));
    if (!config.paths[0] || !config.paths[1]) {
        snprintf(error, 256, "a pair has two sockets");
        return false;
    }
    run->list[index] = generator_new(&config, error);
    run->count += run->list[index] != NULL;
    return run->list[index] != NULL;
}

static json_t *describe_latency(const struct generator_result *result)
{
    return json_pack("{s:I, s:f, s:f, s:f}", "count", (json_int_t)result->latency_count, "p50",
                     generator_latency(result, 0.5), "p99", generator_latency(result, 0.99), "p999",
                     generator_latency(result, 0.999));
}

static json_t *describe_pair(const struct run *run, unsigned index, const char *name)
{
    const struct generator_result *result = &run->maximum[index];
    double frames = result->received ? (double)result->received : 1;
    const char *limit = result->received == 0               ? "unreachable"
                        : run->job->rate > 0                ? "rate"
                        : generator_switch_is_limit(result) ? "switch"
                                                            : "generator";
    return json_pack("{s:s, s:f, s:f, s:f, s:I, s:I, s:f, s:f, s:s, s:I, s:I, s:I}", "name", name, "mpps",
                     generator_received(result) / 1e6, "gbps",
                     (double)result->received_bytes * 8 / result->seconds / 1e9, "loss",
                     generator_loss(result), "offered", (json_int_t)result->offered, "received",
                     (json_int_t)result->received, "ring_full",
                     result->rounds ? (double)result->full_rounds / (double)result->rounds : 0,
                     "generator_cycles_per_packet", (double)result->own_cycles / frames, "limit", limit,
                     "verified", (json_int_t)result->verified, "corrupt", (json_int_t)result->corrupt,
                     "foreign", (json_int_t)result->foreign);
}

static void begin_phase(struct run *run, const char *what, double share)
{
    run->done_before += run->done_share;
    run->done_share = share;
    bool number = run->size.name[0] >= '0' && run->size.name[0] <= '9';
    snprintf(run->phase, sizeof(run->phase), "%.16s%s: %s", run->size.name, number ? " B" : "", what);
    progress(run, 0);
}

/* Jain's index of what each got: 1 when all got the same, 1/n when one got everything. */
static double fairness(const struct generator_result *results, unsigned count)
{
    double sum = 0, squares = 0;
    for (unsigned i = 0; i < count; i++) {
        double rate = generator_received(&results[i]);
        sum += rate;
        squares += rate * rate;
    }
    return squares > 0 ? sum * sum / (count * squares) : 0;
}

static double lowest_offered(const struct generator_result *results, unsigned count)
{
    double lowest = generator_offered(&results[0]);
    for (unsigned i = 1; i < count; i++) {
        if (generator_offered(&results[i]) < lowest)
            lowest = generator_offered(&results[i]);
    }
    return lowest;
}

/* Latency of every pair at parts of `rate`. */
static void run_latency(struct run *run, double rate, double share, json_t *pairs)
{
    for (unsigned level = 0; level < LOAD_LEVELS; level++) {
        char text[64], key[8];
        snprintf(text, sizeof(text), "latency at %.0f %% load", load_levels[level] * 100);
        snprintf(key, sizeof(key), "%.0f", load_levels[level] * 100);
        begin_phase(run, text, share / LOAD_LEVELS);
        generators_run(run->list, run->count, run->job->seconds, rate * load_levels[level], true, progress,
                       run, run->trial);
        for (unsigned i = 0; i < run->count; i++) {
            json_t *pair = json_array_get(pairs, i), *levels = json_object_get(pair, "latency_ns");
            if (!levels) {
                levels = json_object();
                json_object_set_new(pair, "latency_ns", levels);
            }
            json_t *values = describe_latency(&run->trial[i]);
            json_object_set_new(values, "rate_mpps", json_real(rate * load_levels[level] / 1e6));
            json_object_set_new(levels, key, values);
        }
    }
}

/* The loss-free rate of each pair with all at once, or 0. */
static double run_search(struct run *run, double share, json_t *pairs)
{
    struct generator_search search = {
        .seconds = run->job->seconds * PART_TRIAL, .tolerance = run->job->tolerance, .precision = PRECISION};
    begin_phase(run, "loss-free rate", share);
    double left = run->done_before + share;
    generators_search(run->list, run->count, lowest_offered(run->maximum, run->count), &search,
                      search_progress, run, run->trial);
    run->done_before = left;
    run->done_share = 0;
    for (unsigned i = 0; i < run->count; i++)
        json_object_set_new(json_array_get(pairs, i), "loss_free",
                            json_pack("{s:f, s:i, s:f}", "mpps", search.rate / 1e6, "trials", search.trials,
                                      "tolerance", search.tolerance));
    return search.rate;
}

static bool run_phases(struct run *run, double share)
{
    const struct job *job = run->job;
    unsigned parts = 1 + (job->loss_free != 0) * 2 + (job->latency != 0) * 3;
    begin_phase(run, job->rate > 0 ? "at the rate given" : "maximum rate", share / parts);
    if (!phase(true))
        return false;
    generators_run(run->list, run->count, job->seconds * (job->latency ? PART_MAXIMUM : 1), job->rate, false,
                   progress, run, run->maximum);
    if (!phase(false))
        return false;
    json_t *pairs = json_array(), *bytes = json_array();
    for (unsigned i = 0; i < run->count; i++) {
        const char *name = json_string_value(json_object_get(json_array_get(job->pairs, i), "name"));
        json_array_append_new(pairs, describe_pair(run, i, name ? name : "?"));
    }
    double rate = lowest_offered(run->maximum, run->count);
    if (job->loss_free) {
        double found = run_search(run, share * 2 / parts, pairs);
        rate = found > 0 ? found : rate;
    }
    if (job->latency)
        run_latency(run, rate, share * 3 / parts, pairs);
    for (unsigned i = 0; i < run->size.count; i++)
        json_array_append_new(bytes, json_integer(run->size.sizes[i]));
    say(json_pack("{s:s, s:s, s:o, s:f, s:o}", "type", "result", "size", run->size.name, "bytes", bytes,
                  "fairness", fairness(run->maximum, run->count), "pairs", pairs));
    return true;
}

static int run_size(struct run *run, const char *name, double share)
{
    char error[256] = "", message[400];
    size_t index;
    json_t *pair;
    int status = 0;
    parse_size(name, &run->size); /* good_sizes saw it */
    run->count = 0;
    json_array_foreach (run->job->pairs, index, pair) {
        if (open_pair(run, pair, error))
            continue;
        const char *of = json_string_value(json_object_get(pair, "name"));
        snprintf(message, sizeof(message), "%.80s: %s", of ? of : "?", error);
        status = fail(message);
        break;
    }
    if (status == 0)
        status = run_phases(run, share) ? 0 : 1;
    for (unsigned i = 0; i < run->count; i++)
        generator_free(run->list[i]);
    return status;
}

/* Runs where the switch does not, if there is such a CPU. */
static void leave_cpus(const json_t *avoid)
{
    cpu_set_t allowed, rest;
    size_t index;
    json_t *cpu;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
        return;
    rest = allowed;
    json_array_foreach (avoid, index, cpu) {
        json_int_t number = json_integer_value(cpu);
        if (number >= 0 && number < CPU_SETSIZE)
            CPU_CLR((size_t)number, &rest);
    }
    if (CPU_COUNT(&rest) > 0)
        sched_setaffinity(0, sizeof(rest), &rest);
}

static bool good_sizes(const json_t *sizes, char error[256])
{
    size_t index;
    json_t *size;
    json_array_foreach (sizes, index, size) {
        struct frame_size parsed;
        const char *name = json_string_value(size) ? json_string_value(size) : "";
        if (!parse_size(name, &parsed)) {
            snprintf(error, 256, "\"%.20s\" is no frame size: 64 to 9216 bytes with FCS, imix or tso", name);
            return false;
        }
    }
    return true;
}

static bool parse_job(json_t *object, struct job *job, char error[256])
{
    json_error_t why;
    if (json_unpack_ex(object, &why, JSON_STRICT,
                       "{s:o, s:o, s?o, s:F, s?F, s?F, s?i, s?i, s?b, s?b, s?b, s?b}", "pairs", &job->pairs,
                       "sizes", &job->sizes, "avoid", &job->avoid, "seconds", &job->seconds, "rate",
                       &job->rate, "tolerance", &job->tolerance, "flows", &job->flows, "macs", &job->macs,
                       "both", &job->both, "loss_free", &job->loss_free, "latency", &job->latency, "packed",
                       &job->packed) < 0) {
        snprintf(error, 256, "job: %s", why.text);
        return false;
    }
    size_t pairs = json_array_size(job->pairs);
    bool good = pairs > 0 && pairs <= PAIRS_MAX && json_array_size(job->sizes) > 0 && job->seconds > 0 &&
                job->seconds <= 3600 && job->rate >= 0 && job->flows > 0 && job->macs > 0 &&
                job->macs <= 1000000;
    if (!good)
        snprintf(error, 256,
                 "needed: 1 to %u pairs, --time of 1 s to 1 h, --flows of at least 1, --macs of 1 to 1000000",
                 PAIRS_MAX);
    return good && good_sizes(job->sizes, error);
}

int main(void)
{
    static struct run run;
    static struct job job = {.flows = 1, .macs = 1};
    char error[256];
    size_t index;
    json_t *size;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* the ports go with the command that asked for them */
    char *line = malloc(JOB_SIZE);
    json_t *object = line && fgets(line, JOB_SIZE, stdin) ? json_loads(line, 0, NULL) : NULL;
    free(line);
    if (!object || !parse_job(object, &job, error))
        return refuse(object ? error : "the job is not JSON");
    leave_cpus(job.avoid);
    run.job = &job;
    int status = 0;
    json_array_foreach (job.sizes, index, size) {
        if (status == 0)
            status = run_size(&run, json_string_value(size) ? json_string_value(size) : "",
                              1.0 / (double)json_array_size(job.sizes));
    }
    if (status == 0)
        say(json_pack("{s:s}", "type", "end"));
    json_decref(object);
    return status;
}
