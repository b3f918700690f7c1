/* SPDX-License-Identifier: BSD-3-Clause */
/* weft-loadgen: the generator as a program. Prints one JSON object a run. See usage(). */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "copy_limit.h"
#include "generator.h"
#include "host.h"
#include "packet.h"

struct load {
    struct generator_config config;
    double seconds, rate;
    double tolerance; /* of the loss-free search; negative: none */
    bool latency, copy;
    int core; /* -1: any */
};

static void usage(FILE *out)
{
    fputs(
        "usage: weft-loadgen [options] SOCKET-A SOCKET-B\n"
        "Sends frames into vhost-user port A and counts them at port B. JSON on standard output.\n"
        "  --size N[,N...]   frame sizes in bytes without FCS, sent in turn (60)\n"
        "  --seconds S       length of the run, of each trial (1)\n"
        "  --rate PPS        frames a second; 0: as fast as it goes (0)\n"
        "  --both            both directions\n"
        "  --listen          make the sockets and wait for the switch to dial\n"
        "  --flows N         UDP flows a direction (1)\n"
        "  --macs N          addresses behind each port (1)\n"
        "  --touch           rewrite the headers as several flows do, for comparison with them\n"
        "  --vlan N          tag the frames\n"
        "  --ring N          descriptors (1024)\n"
        "  --packed --in-order --no-mergeable --offload\n"
        "  --latency         stamp one frame in 16 and report percentiles\n"
        "  --stamp-every N   one frame in N (16)\n"
        "  --loss-free PART  search for the highest rate that loses at most this part (0..1) of the frames\n"
        "  --core N          run on this CPU\n"
        "  --id N            makes the addresses differ between generators of one segment (0)\n"
        "  --memcpy          no sockets: copy frames of the first size over rings of buffers, as a limit\n",
        out);
}

static bool parse_number(const char *text, double *value)
{
    char *end;
    errno = 0;
    *value = strtod(text, &end);
    return errno == 0 && end != text && *end == '\0' && *value >= 0;
}

static bool parse_sizes(struct generator_config *config, char *text)
{
    bool good = true;
    for (char *word; good && (word = strsep(&text, ","));) {
        double size;
        good = parse_number(word, &size) && size >= 60 && size <= 65535 &&
               config->size_count < GENERATOR_SIZES_MAX;
        if (good)
            config->sizes[config->size_count++] = (uint16_t)size;
    }
    return good;
}

static json_t *describe(const struct generator_result *result)
{
    double frames = result->received ? (double)result->received : 1;
    json_t *object = json_pack(
        "{s:s, s:f, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:s, s:I, s:I, s:I}", "schema", "weft.load.v1",
        "seconds", result->seconds, "offered", (json_int_t)result->offered, "received",
        (json_int_t)result->received, "loss", generator_loss(result), "mpps",
        generator_received(result) / 1e6, "gbps", (double)result->received_bytes * 8 / result->seconds / 1e9,
        "ring_full", result->rounds ? (double)result->full_rounds / (double)result->rounds : 0,
        "own_cycles_per_packet", (double)result->own_cycles / frames, "limit",
        generator_switch_is_limit(result) ? "switch" : "generator", "verified", (json_int_t)result->verified,
        "corrupt", (json_int_t)result->corrupt, "foreign", (json_int_t)result->foreign);
    json_object_set_new(object, "best_mpps", json_real(result->best_rate / 1e6));
    if (result->latency_count)
        json_object_set_new(object, "latency_ns",
                            json_pack("{s:I, s:f, s:f, s:f, s:f}", "count", (json_int_t)result->latency_count,
                                      "window_p999", generator_window_latency(result), "p50",
                                      generator_latency(result, 0.5), "p99", generator_latency(result, 0.99),
                                      "p999", generator_latency(result, 0.999)));
    return object;
}

static void print(json_t *object)
{
    json_dumpf(object, stdout, JSON_REAL_PRECISION(8) | JSON_COMPACT);
    putchar('\n');
    json_decref(object);
}

enum {
    SIZE = 256,
    SECONDS,
    RATE,
    BOTH,
    LISTEN,
    FLOWS,
    MACS,
    TOUCH,
    VLAN,
    RING,
    PACKED,
    IN_ORDER,
    NO_MERGEABLE,
    OFFLOAD,
    LATENCY,
    STAMP_EVERY,
    LOSS_FREE,
    CORE,
    ID,
    MEMCPY
};

static const struct option options[] = {
    {"size", required_argument, NULL, SIZE},
    {"seconds", required_argument, NULL, SECONDS},
    {"rate", required_argument, NULL, RATE},
    {"both", no_argument, NULL, BOTH},
    {"listen", no_argument, NULL, LISTEN},
    {"flows", required_argument, NULL, FLOWS},
    {"macs", required_argument, NULL, MACS},
    {"touch", no_argument, NULL, TOUCH},
    {"vlan", required_argument, NULL, VLAN},
    {"ring", required_argument, NULL, RING},
    {"packed", no_argument, NULL, PACKED},
    {"in-order", no_argument, NULL, IN_ORDER},
    {"no-mergeable", no_argument, NULL, NO_MERGEABLE},
    {"offload", no_argument, NULL, OFFLOAD},
    {"latency", no_argument, NULL, LATENCY},
    {"stamp-every", required_argument, NULL, STAMP_EVERY},
    {"loss-free", required_argument, NULL, LOSS_FREE},
    {"core", required_argument, NULL, CORE},
    {"id", required_argument, NULL, ID},
    {"memcpy", no_argument, NULL, MEMCPY},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void take_flag(struct load *load, int option)
{
    struct generator_config *config = &load->config;
    config->both |= option == BOTH;
    config->listen |= option == LISTEN;
    config->touch |= option == TOUCH;
    config->packed |= option == PACKED;
    config->in_order |= option == IN_ORDER;
    config->mergeable &= option != NO_MERGEABLE;
    config->offload |= option == OFFLOAD;
    load->latency |= option == LATENCY;
    load->copy |= option == MEMCPY;
}

static void take_number(struct load *load, int option, double number)
{
    struct generator_config *config = &load->config;
    switch (option) {
    case SECONDS:
        load->seconds = number;
        break;
    case RATE:
        load->rate = number;
        break;
    case FLOWS:
        config->flows = number < 1 ? 1 : (uint32_t)number;
        break;
    case MACS:
        config->macs = number < 1 ? 1 : (uint32_t)number;
        break;
    case VLAN:
        config->vlan = (uint16_t)number;
        break;
    case RING:
        config->ring_size = (uint16_t)number;
        break;
    case STAMP_EVERY:
        config->stamp_every = (unsigned)number;
        break;
    case LOSS_FREE:
        load->tolerance = number;
        break;
    case CORE:
        load->core = (int)number;
        break;
    case ID:
        config->mac_prefix[0][2] = config->mac_prefix[1][2] = (uint8_t)number;
        break;
    default:
        break;
    }
}

/* 0, or the exit status. */
static int parse_options(struct load *load, int argc, char **argv)
{
    int option;
    double number;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            usage(stdout);
            exit(0);
        }
        if (option == SIZE) {
            if (!parse_sizes(&load->config, optarg)) {
                fprintf(stderr, "weft-loadgen: --size %s: 1 to %u sizes from 60 to 65535\n", optarg,
                        GENERATOR_SIZES_MAX);
                return 2;
            }
        } else if (option != '?' && !optarg) {
            take_flag(load, option);
        } else if (option != '?' && parse_number(optarg, &number)) {
            take_number(load, option, number);
        } else {
            usage(stderr);
            return 2;
        }
    }
    if (argc - optind != (load->copy ? 0 : 2)) {
        usage(stderr);
        return 2;
    }
    if (load->config.size_count == 0)
        load->config.sizes[load->config.size_count++] = 60;
    return 0;
}

static int run_copy(const struct load *load)
{
    uint32_t size = load->config.sizes[0];
    struct copy_limit limit = {
        .size = size,
        .buffer_size =
            size + VIRTIO_NET_HEADER_SIZE > load->config.buffer_size ? size + 64 : load->config.buffer_size,
        .buffers = load->config.ring_size,
        .seconds = load->seconds,
    };
    double bytes = copy_limit_run(&limit);
    if (bytes < 0) {
        fprintf(stderr, "weft-loadgen: %s\n", strerror((int)-bytes));
        return 1;
    }
    print(json_pack("{s:s, s:f, s:f, s:f, s:f}", "schema", "weft.load.v1", "seconds", load->seconds, "mpps",
                    bytes / size / 1e6, "gbps", bytes * 8 / 1e9, "loss", 0.0));
    return 0;
}

static void run_search(const struct load *load, struct generator *generator)
{
    static struct generator_result maximum, result;
    struct generator_search search = {
        .seconds = load->seconds, .tolerance = load->tolerance, .precision = 0.01};
    generators_run(&generator, 1, load->seconds, 0, false, NULL, NULL, &maximum);
    generators_search(&generator, 1, generator_offered(&maximum), &search, NULL, NULL, &result);
    json_t *object = describe(search.rate > 0 ? &result : &maximum);
    json_object_set_new(object, "loss_free",
                        json_pack("{s:f, s:i, s:f}", "mpps", search.rate / 1e6, "trials", search.trials,
                                  "tolerance", search.tolerance));
    json_object_set_new(object, "maximum", describe(&maximum));
    print(object);
}

int main(int argc, char **argv)
{
    struct load load = {
        .config = {.mergeable = true,
                   .ring_size = 1024,
                   .buffer_size = 2048,
                   .flows = 1,
                   .macs = 1,
                   .mac_prefix = {{0x52, 0x54, 0, 0, 0, 0}, {0x52, 0x56, 0, 0, 0, 0}},
                   .ip = {0x0a000001, 0x0a000002},
                   .timeout_ms = 5000},
        .seconds = 1,
        .tolerance = -1,
        .core = -1,
    };
    int status = parse_options(&load, argc, argv);
    if (status)
        return status;
    if (load.core >= 0 && pin((unsigned)load.core)) {
        fprintf(stderr, "weft-loadgen: no CPU %d here\n", load.core);
        return 1;
    }
    if (load.copy)
        return run_copy(&load);
    load.config.paths[0] = argv[optind];
    load.config.paths[1] = argv[optind + 1];
    char error[256] = "";
    struct generator *generator = generator_new(&load.config, error);
    if (!generator) {
        fprintf(stderr, "weft-loadgen: %s\n", error);
        return 1;
    }
    if (load.tolerance >= 0) {
        run_search(&load, generator);
    } else {
        static struct generator_result result;
        generators_run(&generator, 1, load.seconds, load.rate, load.latency, NULL, NULL, &result);
        print(describe(&result));
    }
    generator_free(generator);
    return 0;
}
