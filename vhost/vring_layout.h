/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Split and packed rings as they lie in guest memory (vring_private.h tells who may read them).
 *
 * How a guest's bytes are read: ring fields with one relaxed (or acquire) atomic load each into private
 * variables, frame bytes with one copy into private memory. Only the private values are checked and used.
 */
#include <endian.h>
#include <stdbool.h>
#include <stdint.h>

/* virtio 1.2, 2.7.5 and 2.8.13 */
#define DESC_F_NEXT     1u
#define DESC_F_WRITE    2u
#define DESC_F_INDIRECT 4u
#define DESC_F_AVAIL    (1u << 7)
#define DESC_F_USED     (1u << 15)
#define DESC_SIZE       16u /* bytes, both layouts */

/* The two words of a descriptor. Split: length, flags, next; packed: length, id, flags
 * (virtio 1.2, 2.7.5, 2.8.13). */
struct desc {
    uint64_t address;
    uint64_t rest;
};

static inline uint32_t desc_length(uint64_t rest)
{
    return (uint32_t)rest;
}

/* Split: flags. Packed: buffer id. */
static inline uint16_t desc_third(uint64_t rest)
{
    return (uint16_t)(rest >> 32);
}

/* Split: next. Packed: flags. */
static inline uint16_t desc_fourth(uint64_t rest)
{
    return (uint16_t)(rest >> 48);
}

/* virtio 1.2, 2.7.6 and 2.7.8. The event index of the other side follows the last element. */
struct split_avail {
    uint16_t flags;
    uint16_t index;
    uint16_t ring[];
};

struct split_used_element {
    uint32_t id;
    uint32_t length;
};

struct split_used {
    uint16_t flags;
    uint16_t index;
    struct split_used_element ring[];
};

/* virtio 1.2, 2.8.14: offset and wrap in the low half, flags in the high half, as one word. */
#define EVENT_ENABLE  0u
#define EVENT_DISABLE 1u
#define EVENT_DESC    2u

static inline uint16_t load16(const uint16_t *guest)
{
    return le16toh(__atomic_load_n(guest, __ATOMIC_RELAXED));
}

static inline uint16_t load16_acquire(const uint16_t *guest)
{
    return le16toh(__atomic_load_n(guest, __ATOMIC_ACQUIRE));
}

static inline void store16(uint16_t *guest, uint16_t value)
{
    __atomic_store_n(guest, htole16(value), __ATOMIC_RELAXED);
}

static inline struct desc desc_load(const struct desc *guest)
{
    return (struct desc){le64toh(__atomic_load_n(&guest->address, __ATOMIC_RELAXED)),
                         le64toh(__atomic_load_n(&guest->rest, __ATOMIC_RELAXED))};
}

/* virtio 1.2, 2.7.7.2: true if the index moved past `event` on its way from `old` to `new`. */
static inline bool event_passed(uint16_t event, uint16_t new, uint16_t old)
{
    return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}
