/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* The inside of a generator: generator.c sets it up, generator_run.c drives it. One thread. */
#include <arpa/inet.h>
#include <string.h>
#include "driver.h"
#include "generator.h"
#include "host.h"

#define GENERATOR_BATCH 64u
#define PAYLOAD_MAGIC   0x7765u /* "we" */
#define DRAIN_NS        20000000u
#define GONE_NS         2000000000u /* a switch that gives nothing back for so long is not waited for */

/* Follows the L4 header of each frame. */
struct payload {
    uint16_t magic;
    uint16_t buffer; /* that the frame was built in */
    uint64_t stamp;  /* TSC at publication; 0: none */
} __attribute__((packed));

struct direction {
    struct driver_queue *tx, *rx;
    unsigned index;
    unsigned buffers;
    unsigned room; /* buffers known to be back */
    uint32_t next_flow, next_mac;
    uint32_t *sizes; /* bytes with virtio header, by buffer */
    uint64_t stamps; /* frames since the last stamp */
    uint64_t published;
    double forgone;  /* frames of a stamped run that were late because we were, and are not sent */
    unsigned plain;  /* frames that arrive before the next that is stamped; 0: to be found */
    unsigned unseen; /* frames given back without looking at them, since the last that was looked at */
};

struct generator {
    struct generator_config config;
    struct driver_device *devices[2];
    struct direction directions[2];
    unsigned direction_count;
    unsigned l3, payload; /* offsets in the frame, bytes */
    double tsc_hz;
    struct generator_window window;
};

static inline void write_be16(uint8_t *at, uint16_t value)
{
    value = htons(value);
    memcpy(at, &value, sizeof(value));
}

static inline void write_be32(uint8_t *at, uint32_t value)
{
    value = htonl(value);
    memcpy(at, &value, sizeof(value));
}

/* The i-th address behind a port: the prefix's last four bytes counted up. */
void generator_mac(const struct generator *generator, unsigned port, uint32_t i, uint8_t mac[6]);
