/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Frames for tests: written field by field into a flat buffer, then cut into a packet (private bytes and
 * spans) as a port would have received it, and flattened again to look at.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "packet.h"

#define FRAME_MAX 70000u

struct flat {
    uint8_t bytes[FRAME_MAX];
    uint32_t size;
};

static inline void put(struct flat *flat, const void *bytes, uint32_t size)
{
    memcpy(flat->bytes + flat->size, bytes, size);
    flat->size += size;
}

static inline void put8(struct flat *flat, unsigned value)
{
    flat->bytes[flat->size++] = (uint8_t)value;
}

static inline void put16(struct flat *flat, unsigned value)
{
    put8(flat, value >> 8);
    put8(flat, value);
}

static inline void put32(struct flat *flat, uint32_t value)
{
    put16(flat, value >> 16);
    put16(flat, value);
}

static inline unsigned get16(const uint8_t *bytes)
{
    return (unsigned)bytes[0] << 8 | bytes[1];
}

static inline void set16(uint8_t *bytes, unsigned value)
{
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}

/* "\x02..." style addresses; resets the frame */
static inline void put_ethernet(struct flat *flat, const char *destination, const char *source, unsigned type)
{
    flat->size = 0;
    put(flat, destination, 6);
    put(flat, source, 6);
    put16(flat, type);
}

/* options: bytes, a multiple of 4 */
static inline void put_ipv4(struct flat *flat, unsigned proto, uint32_t source, uint32_t destination,
                            uint32_t payload, unsigned options)
{
    put8(flat, 0x40 | (5 + options / 4));
    put8(flat, 0);
    put16(flat, 20 + options + payload);
    put16(flat, 0xfffe); /* id: wraps soon */
    put16(flat, 0x4000);
    put8(flat, 64);
    put8(flat, proto);
    put16(flat, 0);
    put32(flat, source);
    put32(flat, destination);
    for (unsigned i = 0; i < options; i++)
        put8(flat, 1);
}

static inline void put_ipv6(struct flat *flat, unsigned next, const void *source, const void *destination,
                            uint32_t payload)
{
    put32(flat, 0x60000000);
    put16(flat, payload);
    put8(flat, next);
    put8(flat, 255);
    put(flat, source, 16);
    put(flat, destination, 16);
}

/* options: bytes, a multiple of 4 */
static inline void put_tcp(struct flat *flat, unsigned flags, unsigned options)
{
    put16(flat, 40000);
    put16(flat, 80);
    put32(flat, 0xfffffff0); /* sequence: wraps soon */
    put32(flat, 0x01020304);
    put8(flat, (5 + options / 4) << 4);
    put8(flat, flags);
    put16(flat, 1000);
    put16(flat, 0);
    put16(flat, 0);
    for (unsigned i = 0; i < options; i++)
        put8(flat, 1);
}

static inline void put_udp(struct flat *flat, unsigned source, unsigned destination, uint32_t payload)
{
    put16(flat, source);
    put16(flat, destination);
    put16(flat, 8 + payload);
    put16(flat, 0);
}

static inline void put_payload(struct flat *flat, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++)
        put8(flat, (flat->size * 2654435761u) >> 13);
}

/* A packet whose payload is one exactly sized heap block, so that ASan sees what reads beyond it. */
struct cut {
    struct packet packet;
    struct packet_span spans[PACKET_SPANS_MAX];
    uint8_t *payload;
    uint8_t memory[PACKET_HEADROOM + PACKET_HEADER_MAX]
        __attribute__((aligned(64))); /* last: see cut_frame */
};

/* private: private bytes; span: bytes of each span (the last one shorter; the last of 256 takes the rest). */
static inline struct cut *cut_frame(const uint8_t *bytes, uint32_t size, uint32_t private, uint32_t span)
{
    struct cut *cut = aligned_alloc(64, (sizeof(*cut) + 63) / 64 * 64);
    memset(cut, 0, sizeof(*cut));
    private = private < size ? private : size;
    cut->packet.buffer = cut->memory;
    /* at the end of the private memory and of the block: ASan sees a read beyond the private bytes */
    cut->packet.data = cut->memory + sizeof(cut->memory) - private;
    cut->packet.size = size;
    cut->packet.header_size = (uint16_t) private;
    cut->packet.spans = cut->spans;
    memcpy(cut->packet.data, bytes, private);
    cut->payload = malloc(size - private + 1);
    memcpy(cut->payload, bytes + private, size - private);
    for (uint32_t at = 0; at < size - private;) {
        uint32_t left = size - private - at, part = span < left ? span : left;
        if (cut->packet.span_count == PACKET_SPANS_MAX - 1)
            part = left;
        cut->spans[cut->packet.span_count++] = (struct packet_span){cut->payload + at, part};
        at += part;
    }
    return cut;
}

static inline void cut_free(struct cut *cut)
{
    free(cut->payload);
    free(cut);
}

static inline void flatten(const struct packet *packet, struct flat *flat)
{
    flat->size = 0;
    put(flat, packet->data, packet->header_size);
    for (unsigned i = 0; i < packet->span_count; i++)
        put(flat, packet->spans[i].base, (uint32_t)packet->spans[i].size);
}

/* RFC 1071 as its text says it, 16 bits at a time. */
static inline unsigned slow_sum(const uint8_t *bytes, uint32_t size, uint32_t sum)
{
    for (uint32_t i = 0; i < size; i++) {
        sum += i & 1 ? bytes[i] : (uint32_t)bytes[i] << 8;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (sum & 0xffff) + (sum >> 16);
}

/* Sum of the pseudo header for upper-layer data of `length` bytes; ip: the network header */
static inline unsigned slow_pseudo(const uint8_t *ip, unsigned proto, uint32_t length)
{
    bool ipv4 = ip[0] >> 4 == 4;
    return slow_sum(ipv4 ? ip + 12 : ip + 8, ipv4 ? 8 : 32, proto + length);
}
