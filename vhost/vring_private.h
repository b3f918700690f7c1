/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Shared by vring.c, vring_split.c, vring_packed.c, vring_copy.c and notifier.c, and by nobody else: these
 * files alone dereference guest pointers.
 *
 * How a guest's bytes are read: ring fields with one relaxed (or acquire) atomic load each into private
 * variables, frame bytes with one copy into private memory. Only the private values are checked and used.
 */
#include <endian.h>
#include <stdatomic.h>
#include "memory.h"
#include "vring.h"
#include "vring_config.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* virtio 1.2, 2.7.5 and 2.8.13 */
#define DESC_F_NEXT     1u
#define DESC_F_WRITE    2u
#define DESC_F_INDIRECT 4u
#define DESC_F_AVAIL    (1u << 7)
#define DESC_F_USED     (1u << 15)
#define DESC_SIZE       16u /* bytes, both layouts */

/* Bytes of a frame with its virtio header that a receive copies into private memory. */
#define HEAD_SIZE (VIRTIO_NET_HEADER_SIZE + PACKET_HEADER_MAX)
/* Shortest and longest buffer chain that holds a frame. */
#define FRAME_MIN (VIRTIO_NET_HEADER_SIZE + PACKET_SIZE_MIN)
#define FRAME_MAX (VIRTIO_NET_HEADER_SIZE + PACKET_SIZE_MAX)

/* Pieces (and mergeable buffers) that one frame to the guest is written into at most; needs 64 KiB / 128. */
#define PIECES_MAX 520u
/* Descriptors outside the one-descriptor path that a batch follows at most: a guest that chains 4096 empty
 * descriptors to a frame gets few frames a round, and other ports get theirs. */
#define WALK_BUDGET 8192u

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

/* A buffer taken from the ring and not yet returned. */
struct pending {
    uint16_t id;          /* split: head; packed: buffer id */
    uint16_t descriptors; /* ring slots it takes; split: 1 */
};

/* A buffer that one frame fills, in whole or in part. */
struct filled {
    uint16_t id;
    uint16_t descriptors;
    uint32_t size; /* bytes written */
};

struct vring {
    /* control: w, worker: r */
    atomic_bool active; /* started, enabled, not held */
    atomic_uchar
        error; /* enum vring_error; any thread: NONE to something, control: back to NONE while unusable */
    bool packed;
    bool receives;
    bool shared;
    bool event_idx;
    bool mergeable;
    bool indirect;
    uint16_t size; /* descriptors */
    uint16_t mask; /* split: size - 1 */
    int call_fd;
    struct desc *desc;
    union {
        struct split_avail *avail;
        const uint32_t *driver_event; /* packed */
    };
    union {
        struct split_used *used;
        uint32_t *device_event; /* packed */
    };
    const struct memory_table *memory;

    /* Everything from here on: the worker that is inside the ring; control while it is unusable. */
    atomic_flag lock __attribute__((aligned(64))); /* shared rings: held for a vring_tx */
    bool kicks;                                    /* the guest is asked to kick */
    bool avail_wrap;                               /* packed: our wrap counters */
    bool used_wrap;
    uint16_t avail_next;   /* split: free running index; packed: slot */
    uint16_t avail_cached; /* split: guest's index as last read */
    uint16_t used_next;    /* as avail_next */
    unsigned pending_count;
    unsigned walked;       /* descriptors followed in this batch outside the fast path */
    unsigned deaths_seen;  /* value of memory_deaths at which our memory was still all there */
    uint64_t region_guest; /* the region hit last */
    uint64_t region_size;
    uint8_t *region_host;
    struct pending pending[PACKET_VECTOR_MAX];
    struct vring_rx_counters counters;

    /* control only */
    bool started __attribute__((aligned(64)));
    bool enabled;
    unsigned holds;

    /* the worker: pieces of the frame that is being written outside the fast path */
    struct memory_span pieces[PIECES_MAX];
    struct filled filled[PIECES_MAX];
};

/* Orders our publication of used buffers before reading whether the guest wants to hear of it, and our
 * request for kicks before looking for new buffers (virtio 1.2, 2.7.7.1, 2.7.10.1, 2.8.14, 2.8.21.3.1): a
 * store and a later load, which x86 reorders too. */
static inline void full_barrier(void)
{
#ifdef __SANITIZE_THREAD__ /* knows no fences */
    static atomic_int anchor;
    atomic_fetch_add(&anchor, 0);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* The compiler may not read the source of a copy again where the private result is meant. */
static inline void compiler_barrier(void)
{
    __asm__ volatile("" ::: "memory");
}

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

/* One-region translation: the region hit last, or one look-up. NULL: [address, +size) is not wholly inside
 * one region (chain_add tells whether it crosses into the next one or is wrong). */
uint8_t *vring_translate_slow(struct vring *ring, uint64_t address, uint32_t size);

static inline uint8_t *vring_translate(struct vring *ring, uint64_t address, uint32_t size)
{
    uint64_t offset = address - ring->region_guest;
    if (likely(offset < ring->region_size && size <= ring->region_size - offset))
        return ring->region_host + offset;
    return vring_translate_slow(ring, address, size);
}

/* Drops that name the frame's fault. The counter has one writer; readers on other threads see whole values.
 */
static inline void vring_count_drop(struct vring *ring, enum vring_drop drop)
{
    uint64_t *counter = &ring->counters.drops[drop];
    __atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

static inline bool vring_is_usable(const struct vring *ring)
{
    return atomic_load_explicit(&ring->active, memory_order_acquire) &&
           atomic_load_explicit(&ring->error, memory_order_relaxed) == VRING_ERROR_NONE;
}

/* A descriptor chain being collected. */
struct chain {
    struct memory_span *spans;
    unsigned count;
    unsigned max;
    bool write;      /* descriptors must be device-writable, else device-readable */
    bool overflow;   /* more spans than max: total is not right any more */
    uint64_t total;  /* bytes */
    uint64_t enough; /* bytes: what comes after that many need not be looked at */
};

static inline bool chain_done(const struct chain *chain)
{
    return chain->overflow || chain->total >= chain->enough;
}

/* Adds one buffer descriptor. VRING_ERROR_NONE, _DIRECTION or _ADDRESS. */
enum vring_error chain_add(struct vring *ring, struct chain *chain, uint64_t address, uint32_t size,
                           bool write);
/* Reads entry `index` of an indirect table at guest address `table`. False: outside guest memory. */
bool vring_read_indirect(struct vring *ring, uint64_t table, unsigned index, struct desc *desc);

/* Frames found by a receive pass, before their first bytes are copied. */
struct source {
    const uint8_t *base; /* the whole chain is here; NULL: it is in the packet's spans */
    uint32_t size;       /* bytes with the virtio header, FRAME_MIN..FRAME_MAX */
};

/* What a transmit pass found: `base` has room for the packet and its virtio header. */
struct sink {
    uint8_t *base;
    const struct packet *packet;
};

/* vring_copy.c */
void vring_copy_in(struct packet_vector *vector, const struct source *sources, unsigned count);
void vring_copy_out(const struct sink *sinks, unsigned count);
/* Writes header, private bytes and spans into pieces that hold at least that many bytes. */
void vring_copy_out_pieces(const struct memory_span *pieces, const struct packet *packet,
                           uint16_t num_buffers);

static inline void prefetch_read(const void *address)
{
    __builtin_prefetch(address, 0, 3);
}

static inline void prefetch_write(const void *address)
{
    __builtin_prefetch(address, 1, 3);
}

/* The lines that vring_copy_in reads. (The third: 55 to 35 cycles a packet in vring_rx between cores.) */
static inline void prefetch_head(const uint8_t *base, uint32_t size)
{
    prefetch_read(base);
    prefetch_read(base + 64);
    if (size > 128)
        prefetch_read(base + 128);
}

/* A frame of a batch that took the slow way: makes packet's spans of what chain collected. True: the frame is
 * good and sources[vector->count] is filled. */
bool vring_rx_chain(struct vring *ring, struct packet_vector *vector, const struct chain *chain,
                    struct source *source);
/* Whether the vector can hold the spans of one more chain and the batch's budget is not used up. */
static inline bool vring_rx_has_room(const struct vring *ring, const struct packet_vector *vector)
{
    return vector->spans_used <= PACKET_VECTOR_SPANS - PACKET_SPANS_MAX - PACKET_VECTOR_MAX &&
           ring->walked < WALK_BUDGET;
}

enum vring_fit {
    FIT_WRITTEN,
    FIT_NO_ROOM,
    FIT_TOO_BIG,
    FIT_BROKEN,
};

/* vring_split.c, vring_packed.c */
int vring_split_start(struct vring *ring, const struct vring_config *config);
unsigned vring_split_rx(struct vring *ring, struct packet_vector *vector);
void vring_split_rx_done(struct vring *ring, struct notifier *notifier);
void vring_split_tx(struct vring *ring, struct packet *const *packets, unsigned count,
                    struct notifier *notifier, struct vring_tx_result *result);
void vring_split_set_kicks(struct vring *ring, bool wanted);
bool vring_split_has_work(struct vring *ring);

int vring_packed_start(struct vring *ring, const struct vring_config *config);
unsigned vring_packed_rx(struct vring *ring, struct packet_vector *vector);
void vring_packed_rx_done(struct vring *ring, struct notifier *notifier);
void vring_packed_tx(struct vring *ring, struct packet *const *packets, unsigned count,
                     struct notifier *notifier, struct vring_tx_result *result);
void vring_packed_set_kicks(struct vring *ring, bool wanted);
bool vring_packed_has_work(struct vring *ring);

/* notifier.c: `fd` is to be signalled at the next flush. */
void notifier_add(struct notifier *notifier, int fd);
