/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Numbers in network order at any address, for the protocols that weftd speaks itself.
 *
 * Threads: pure functions of their arguments.
 */
#include <stddef.h>
#include <stdint.h>

static inline uint16_t load_be16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline uint32_t load_be32(const uint8_t *bytes)
{
    return (uint32_t)load_be16(bytes) << 16 | load_be16(bytes + 2);
}

/* The low 16 bits of `value`. */
static inline void store_be16(uint8_t *bytes, size_t value)
{
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}

static inline void store_be32(uint8_t *bytes, uint32_t value)
{
    store_be16(bytes, value >> 16);
    store_be16(bytes + 2, value);
}
