/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Numbers in network order at any address, and the Internet checksum (RFC 1071), for generators that are a
 * guest's TCP/IP themselves.
 *
 * Threads: pure functions of their arguments.
 */
#include <stdint.h>

static inline uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t get32(const uint8_t *at)
{
    return (uint32_t)get16(at) << 16 | get16(at + 2);
}

/* The low 16 bits of `value`. */
static inline void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value);
}

/* Of `size` bytes, not folded; an odd last one counts as if a zero followed. */
static inline uint32_t sum16(const uint8_t *data, uint32_t size)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i + 1 < size; i += 2)
        sum += get16(data + i);
    return size & 1 ? sum + ((uint32_t)data[size - 1] << 8) : sum;
}

static inline uint16_t sum_fold(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}
