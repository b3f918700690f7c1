/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The Internet checksum (RFC 1071) as partial sums: 64-bit, in host order over memory as it lies, so that
 * parts can be added in any order and folded once.
 *
 * Threads: pure functions of their arguments.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sum of `size` bytes (at most 64 KiB and headers) as if they began at an even offset; an odd last byte is
 * padded with 0. Memory that another thread writes meanwhile gives a wrong sum, nothing worse. */
uint64_t checksum_sum(const uint8_t *bytes, size_t size);

/* Folds a sum to 16 bits, not complemented, as the bytes lie in memory. */
static inline uint16_t checksum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffffu) + (sum >> 32);
    sum = (sum & 0xffffffffu) + (sum >> 32);
    sum = (sum & 0xffffu) + (sum >> 16);
    sum = (sum & 0xffffu) + (sum >> 16);
    return (uint16_t)sum;
}

/* `sum` added to `total` for a part that begins at an odd offset (RFC 1071, 2 (B): swapped) or an even one.
 */
static inline uint64_t checksum_add(uint64_t total, uint64_t sum, bool odd)
{
    uint16_t folded = checksum_fold(sum);
    return total + (odd ? __builtin_bswap16(folded) : folded);
}
