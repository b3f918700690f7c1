/* SPDX-License-Identifier: BSD-3-Clause */
/* weft-loadgen: the generator as a program. Prints one JSON object a run. See usage(). */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "generator.h"

static void usage(FILE *out)
{
    fputs("usage: weft-loadgen [options] SOCKET-A SOCKET-B\n"
          "Sends frames into vhost-user port A and counts them at port B. JSON on standard output.\n"
          "  --size N[,N...]   frame sizes in bytes without FCS, sent in turn (60)\n"
          "  --seconds S       length of the run (1)\n"
          "  --rate PPS        frames a second; 0: as fast as it goes (0)\n"
          "  --both            both directions\n"
          "  --flows N         UDP flows a direction (1)\n"
          "  --macs N          addresses behind each port (1)\n"
          "  --vlan N          tag the frames\n"
          "  --ring N          descriptors (1024)\n"
          "  --packed --in-order --no-mergeable --offload\n"
          "  --latency         stamp one frame in 16 and report percentiles\n"
          "  --core N          run on this CPU\n"
          "  --id N            makes the addresses differ between generators of one segment (0)\n",
          out);
}

static bool parse_number(const char *text, double *value)
{
    char *end;
    errno = 0;
    *value = strtod(text, &end);
    return errno == 0 && end != text && *end == '\0' && *value >= 0;
}

static bool parse_sizes(struct generator_config *config, const char *text)
{
    char *copy = strdup(text), *save = NULL;
    bool good = copy != NULL;
    for (char *word = good ? strtok_r(copy, ",", &save) : NULL; word && good;
         word = strtok_r(NULL, ",", &save)) {
        double size;
        good = parse_number(word, &size) && size >= 60 && size <= 65535 &&
               config->size_count < GENERATOR_SIZES_MAX;
        if (good)
            config->sizes[config->size_count++] = (uint16_t)size;
    }
    free(copy);
    return good && config->size_count > 0;
}

static int pin(unsigned core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    return pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void print_result(const struct generator_result *result)
{
    double loss = result->offered > result->received
                      ? (double)(result->offered - result->received) / (double)result->offered
                      : 0;
    json_t *object = json_pack("{s:s, s:f, s:I, s:I, s:f, s:f, s:f, s:f, s:I, s:I, s:I}", "schema",
                               "weft.load.v1", "seconds", result->seconds, "offered",
                               (json_int_t)result->offered, "received", (json_int_t)result->received, "loss",
                               loss, "mpps", (double)result->received / result->seconds / 1e6, "gbps",
                               (double)result->received_bytes * 8 / result->seconds / 1e9, "ring_full",
                               result->rounds ? (double)result->full_rounds / (double)result->rounds : 0,
                               "verified", (json_int_t)result->verified, "corrupt",
                               (json_int_t)result->corrupt, "foreign", (json_int_t)result->foreign);
    if (result->latency_count)
        json_object_set_new(object, "latency_ns",
                            json_pack("{s:I, s:f, s:f, s:f}", "count", (json_int_t)result->latency_count,
                                      "p50", generator_latency(result, 0.5), "p99",
                                      generator_latency(result, 0.99), "p999",
                                      generator_latency(result, 0.999)));
    json_dumpf(object, stdout, JSON_REAL_PRECISION(8) | JSON_COMPACT);
    putchar('\n');
    json_decref(object);
}

enum {
    SIZE = 256,
    SECONDS,
    RATE,
    BOTH,
    FLOWS,
    MACS,
    VLAN,
    RING,
    PACKED,
    IN_ORDER,
    NO_MERGEABLE,
    OFFLOAD,
    LATENCY,
    CORE,
    ID
};

static const struct option options[] = {
    {"size", required_argument, NULL, SIZE},
    {"seconds", required_argument, NULL, SECONDS},
    {"rate", required_argument, NULL, RATE},
    {"both", no_argument, NULL, BOTH},
    {"flows", required_argument, NULL, FLOWS},
    {"macs", required_argument, NULL, MACS},
    {"vlan", required_argument, NULL, VLAN},
    {"ring", required_argument, NULL, RING},
    {"packed", no_argument, NULL, PACKED},
    {"in-order", no_argument, NULL, IN_ORDER},
    {"no-mergeable", no_argument, NULL, NO_MERGEABLE},
    {"offload", no_argument, NULL, OFFLOAD},
    {"latency", no_argument, NULL, LATENCY},
    {"core", required_argument, NULL, CORE},
    {"id", required_argument, NULL, ID},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

int main(int argc, char **argv)
{
    struct generator_config config = {
        .mergeable = true,
        .ring_size = 1024,
        .buffer_size = 2048,
        .flows = 1,
        .macs = 1,
        .mac_prefix = {{0x52, 0x54, 0, 0, 0, 0}, {0x52, 0x56, 0, 0, 0, 0}},
        .ip = {0x0a000001, 0x0a000002},
        .timeout_ms = 5000,
    };
    double seconds = 1, rate = 0, number = 0;
    bool latency = false;
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            usage(stdout);
            return 0;
        }
        if (option == '?' || (optarg && option != SIZE && !parse_number(optarg, &number))) {
            usage(stderr);
            return 2;
        }
        switch (option) {
        case SIZE:
            if (!parse_sizes(&config, optarg)) {
                fprintf(stderr, "weft-loadgen: --size %s: 1 to %u sizes from 60 to 65535\n", optarg,
                        GENERATOR_SIZES_MAX);
                return 2;
            }
            break;
        case SECONDS:
            seconds = number;
            break;
        case RATE:
            rate = number;
            break;
        case BOTH:
            config.both = true;
            break;
        case FLOWS:
            config.flows = number < 1 ? 1 : (uint32_t)number;
            break;
        case MACS:
            config.macs = number < 1 ? 1 : (uint32_t)number;
            break;
        case VLAN:
            config.vlan = (uint16_t)number;
            break;
        case RING:
            config.ring_size = (uint16_t)number;
            break;
        case PACKED:
            config.packed = true;
            break;
        case IN_ORDER:
            config.in_order = true;
            break;
        case NO_MERGEABLE:
            config.mergeable = false;
            break;
        case OFFLOAD:
            config.offload = true;
            break;
        case LATENCY:
            latency = true;
            break;
        case CORE:
            if (pin((unsigned)number)) {
                fprintf(stderr, "weft-loadgen: no CPU %u here\n", (unsigned)number);
                return 1;
            }
            break;
        default:
            config.mac_prefix[0][2] = config.mac_prefix[1][2] = (uint8_t)number;
        }
    }
    if (argc - optind != 2) {
        usage(stderr);
        return 2;
    }
    if (config.size_count == 0)
        config.sizes[config.size_count++] = 60;
    config.paths[0] = argv[optind];
    config.paths[1] = argv[optind + 1];
    char error[256] = "";
    struct generator *generator = generator_new(&config, error);
    if (!generator) {
        fprintf(stderr, "weft-loadgen: %s\n", error);
        return 1;
    }
    static struct generator_result result;
    int status = generator_run(generator, seconds, rate, latency, &result);
    generator_free(generator);
    if (status) {
        fprintf(stderr, "weft-loadgen: %s\n", strerror(-status));
        return 1;
    }
    print_result(&result);
    return 0;
}
