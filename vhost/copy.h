/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Copies of the sizes that frames have. Inline, because a call to memcpy for 76 bytes costs more than the
 * copy: sizes up to 256 go without a loop, the last block overlapping the one before it; larger ones go by 64
 * bytes. Private to vhost/.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define COPY_STRING_MIN 256u /* bytes */

/* Set once before main by vring_copy.c: the processor has ERMS. */
extern bool copy_strings;

/* One vector register, any alignment, contents of any type. */
typedef uint64_t copy_block __attribute__((vector_size(16), aligned(1), may_alias));

#define COPY_INLINE static inline __attribute__((always_inline))

COPY_INLINE void copy_16(uint8_t *to, const uint8_t *from)
{
    *(copy_block *)to = *(const copy_block *)from;
}

COPY_INLINE void copy_32(uint8_t *to, const uint8_t *from)
{
    copy_block a = ((const copy_block *)from)[0], b = ((const copy_block *)from)[1];
    ((copy_block *)to)[0] = a;
    ((copy_block *)to)[1] = b;
}

COPY_INLINE void copy_64(uint8_t *to, const uint8_t *from)
{
    copy_block a = ((const copy_block *)from)[0], b = ((const copy_block *)from)[1];
    copy_block c = ((const copy_block *)from)[2], d = ((const copy_block *)from)[3];
    ((copy_block *)to)[0] = a;
    ((copy_block *)to)[1] = b;
    ((copy_block *)to)[2] = c;
    ((copy_block *)to)[3] = d;
}

/* 0..15 bytes */
COPY_INLINE void copy_tiny(uint8_t *to, const uint8_t *from, size_t size)
{
    if (size >= 8) {
        memcpy(to, from, 8);
        memcpy(to + size - 8, from + size - 8, 8);
    } else if (size >= 4) {
        memcpy(to, from, 4);
        memcpy(to + size - 4, from + size - 4, 4);
    } else if (size >= 2) {
        memcpy(to, from, 2);
        memcpy(to + size - 2, from + size - 2, 2);
    } else if (size == 1) {
        *to = *from;
    }
}

/* 0..64 KiB and more */
COPY_INLINE void copy_bytes(uint8_t *to, const uint8_t *from, size_t size)
{
    if (size <= 64) {
        if (size > 32) {
            copy_32(to, from);
            copy_32(to + size - 32, from + size - 32);
        } else if (size >= 16) {
            copy_16(to, from);
            copy_16(to + size - 16, from + size - 16);
        } else {
            copy_tiny(to, from, size);
        }
        return;
    }
    if (size >= COPY_STRING_MIN && copy_strings) {
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size)::"memory");
        return;
    }
    const uint8_t *last = from + size - 64;
    uint8_t *to_last = to + size - 64;
    while (size > 64) {
        copy_64(to, from);
        to += 64;
        from += 64;
        size -= 64;
    }
    copy_64(to_last, last);
}
