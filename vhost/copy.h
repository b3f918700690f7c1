/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Copies of the sizes that frames have. Inline, because a call to memcpy for 76 bytes costs more than the
 * copy: sizes up to 256 go in a few blocks, the last one overlapping the one before it. Private to vhost/.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

/* 65 bytes and more; the tail goes in as few blocks as it takes, overlapping what is there already. */
COPY_INLINE void copy_blocks(uint8_t *to, const uint8_t *from, size_t size)
{
    for (; size >= 64; size -= 64) {
        copy_64(to, from);
        to += 64;
        from += 64;
    }
    if (size == 0)
        return;
    if (size > 32)
        copy_32(to + size - 64, from + size - 64);
    copy_32(to + size - 32, from + size - 32);
}

/* From COPY_LIBRARY_MIN bytes on the C library's memcpy pays, which picks the widest registers of the
 * processor. From COPY_STRING_MIN on the string instruction, where it is fast (ERMS): it takes lines that a
 * guest has read without fetching them first. It wants whole lines to write: with the ends done by hand
 * 1518-byte frames between distant cores take 325 cycles, without 405, by memcpy 480 (vring_bench). */
#define COPY_LIBRARY_MIN 256u
#define COPY_STRING_MIN  1024u
#define COPY_LINES_MAX   8192u /* beyond, the ends do not matter */

/* Set once before main by vring_copy.c: the processor has ERMS. */
extern bool copy_strings;

COPY_INLINE void copy_string(uint8_t *to, const uint8_t *from, size_t size)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size)::"memory");
}

/* COPY_STRING_MIN bytes and more: whole lines of `to` by the string instruction. */
COPY_INLINE void copy_lines(uint8_t *to, const uint8_t *from, size_t size)
{
    size_t first = -(uintptr_t)to & 63, lines = (size - first) & ~(size_t)63; /* bytes */
    copy_64(to, from);
    copy_64(to + size - 64, from + size - 64);
    copy_string(to + first, from + first, lines);
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
    } else if (size < COPY_LIBRARY_MIN) {
        copy_blocks(to, from, size);
    } else if (size < COPY_STRING_MIN || !copy_strings) {
        memcpy(to, from, size);
    } else if (size > COPY_LINES_MAX) {
        copy_string(to, from, size);
    } else {
        copy_lines(to, from, size);
    }
}
