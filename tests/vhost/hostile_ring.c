/* SPDX-License-Identifier: BSD-3-Clause */
/* Lies in the rings: what a guest can do without its VMM. */
#include <string.h>
#include "hostile.h"

#define RANGES   "address ranges"
#define CHAINS   "chains"
#define SPLIT    "headers split at will"
#define RUNTS    "runt receive buffers"
#define OFFLOADS "offload metadata"

#define FEATURE(bit)  (1ull << (bit))
#define PACKED        FEATURE(VIRTIO_F_RING_PACKED)
#define INDIRECT      FEATURE(VIRTIO_RING_F_INDIRECT_DESC)
#define MERGED        FEATURE(VIRTIO_NET_F_MRG_RXBUF)
#define NEXT          1u
#define WRITE         2u
#define TABLE         4u
#define FRAME         112u /* bytes: virtio header and a frame of 100 */
#define DESC_MAX      4u
#define TABLE_ADDRESS GUEST_TABLE

struct piece {
    uint64_t address;
    uint32_t size;
    uint16_t flags, next;
};

/* Descriptors 0.. of a ring, entries 0.. of the indirect table, and the head that is given. */
struct chain {
    uint64_t features;
    unsigned ring;
    uint16_t head;
    struct piece desc[DESC_MAX];
    struct piece table[DESC_MAX];
};

static void fill_table(struct hostile *h, const struct chain *chain)
{
    struct piece *table = hostile_at(h, TABLE_ADDRESS);
    memcpy(table, chain->table, sizeof(chain->table));
    if (h->packed) { /* there the last two fields are id and flags; 2.8.7 */
        for (unsigned i = 0; i < DESC_MAX; i++) {
            table[i].next = chain->table[i].flags;
            table[i].flags = 0;
        }
    }
}

static bool bad_chain(struct hostile *h, const void *argument)
{
    const struct chain *chain = argument;
    unsigned count = 1;
    if (!hostile_start(h, chain->features))
        return false;
    hostile_fill_frame(hostile_at(h, GUEST_BUFFER + VIRTIO_NET_HEADER_SIZE), 100);
    fill_table(h, chain);
    while (count < DESC_MAX && (chain->desc[count].address || chain->desc[count].flags))
        count++;
    for (unsigned i = count; i-- > 0;) {
        const struct piece *piece = &chain->desc[i];
        hostile_put(h, chain->ring, i, piece->address, piece->size, piece->flags,
                    h->packed ? 0 : piece->next);
    }
    hostile_give(h, chain->ring, chain->head);
    return chain->ring == HOSTILE_TX || hostile_feed(h);
}

/* All slots available and chained: the chain has no end. Packed has no "next" to loop with. */
static bool endless_packed(struct hostile *h, const void *argument)
{
    if (!hostile_start(h, PACKED))
        return false;
    for (unsigned i = HOSTILE_RING_SIZE; i-- > 0;)
        hostile_put(h, HOSTILE_TX, i, GUEST_BUFFER, 1, NEXT, 0);
    hostile_kick(h, HOSTILE_TX);
    return true;
}

static bool index_is(struct hostile *h, const void *argument)
{
    const uint16_t *index = argument;
    if (!hostile_start(h, 0))
        return false;
    uint16_t *avail = h->rings[HOSTILE_TX].driver;
    __atomic_store_n(&avail[1], *index, __ATOMIC_RELEASE);
    hostile_kick(h, HOSTILE_TX);
    return true;
}

static bool receive_index_jumps(struct hostile *h, const void *argument)
{
    if (!hostile_start(h, 0))
        return false;
    uint16_t *avail = h->rings[HOSTILE_RX].driver;
    __atomic_store_n(&avail[1], 0x8000, __ATOMIC_RELEASE);
    return hostile_feed(h);
}

/* The header in pieces of one byte, the frame in pieces of `size`. */
static bool in_pieces(struct hostile *h, const void *argument)
{
    const uint32_t *size = argument;
    if (!hostile_start(h, 0))
        return false;
    hostile_fill_frame(hostile_at(h, GUEST_BUFFER + VIRTIO_NET_HEADER_SIZE), 100);
    unsigned slot = 0;
    for (uint32_t at = 0; at < FRAME; slot++) {
        uint32_t part = at < VIRTIO_NET_HEADER_SIZE ? 1 : *size;
        if (part > FRAME - at)
            part = FRAME - at;
        bool last = at + part == FRAME;
        hostile_put(h, HOSTILE_TX, slot, GUEST_BUFFER + at, part, last ? 0 : NEXT, (uint16_t)(slot + 1));
        at += part;
    }
    hostile_give(h, HOSTILE_TX, 0);
    return true;
}

/* Far more pieces, or bytes, than a frame can have: dropped, not broken. */
static bool long_chain(struct hostile *h, const void *argument)
{
    const uint32_t *size = argument;
    if (!hostile_start(h, 0))
        return false;
    for (unsigned i = 0; i < 199; i++)
        hostile_put(h, HOSTILE_TX, i, GUEST_BUFFER, *size, i < 198 ? NEXT : 0, (uint16_t)(i + 1));
    hostile_give(h, HOSTILE_TX, 0);
    return true;
}

static bool receive_in_bytes(struct hostile *h, const void *argument)
{
    if (!hostile_start(h, 0))
        return false;
    for (unsigned i = 0; i < 199; i++)
        hostile_put(h, HOSTILE_RX, i, GUEST_BUFFER + 0x10000 + i, 1, (i < 198 ? NEXT : 0) | WRITE,
                    (uint16_t)(i + 1));
    hostile_give(h, HOSTILE_RX, 0);
    return hostile_feed(h);
}

static bool too_small_to_receive(struct hostile *h, const void *argument)
{
    const uint64_t *features = argument;
    if (!hostile_start(h, *features))
        return false;
    for (unsigned i = 0; i < 100; i++) {
        hostile_put(h, HOSTILE_RX, i, GUEST_BUFFER + 0x10000, 20, WRITE, 0);
        hostile_give(h, HOSTILE_RX, (uint16_t)i);
    }
    return hostile_feed(h);
}

/* A frame whose virtio header says what is not so. */
struct lie {
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

static bool header_lies(struct hostile *h, const void *argument)
{
    const struct lie *lie = argument;
    struct virtio_net_header header = {.flags = lie->flags,
                                       .gso_type = lie->gso_type,
                                       .hdr_len = lie->hdr_len,
                                       .gso_size = lie->gso_size,
                                       .csum_start = lie->csum_start,
                                       .csum_offset = lie->csum_offset,
                                       .num_buffers = lie->num_buffers};
    if (!hostile_start(h, FEATURE(VIRTIO_NET_F_CSUM) | FEATURE(VIRTIO_NET_F_HOST_TSO4) |
                              FEATURE(VIRTIO_NET_F_HOST_TSO6)))
        return false;
    uint8_t *bytes = hostile_at(h, GUEST_BUFFER);
    memcpy(bytes, &header, sizeof(header));
    hostile_fill_frame(bytes + VIRTIO_NET_HEADER_SIZE, 100);
    hostile_put(h, HOSTILE_TX, 0, GUEST_BUFFER, FRAME, 0, 0);
    hostile_give(h, HOSTILE_TX, 0);
    return true;
}

#define CHAIN(...)                                                                                           \
    &(const struct chain)                                                                                    \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
#define LIE(...)                                                                                             \
    &(const struct lie)                                                                                      \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
#define B   GUEST_BUFFER
#define END (GUEST_SECOND + REGION_SIZE) /* of guest memory: nothing is behind */
#define W   GUEST_WILD
#define TX  HOSTILE_TX
#define RX  HOSTILE_RX
#define T   TABLE_ADDRESS
/* clang-format off */
const struct pattern hostile_ring_patterns[] = {
    {"head-beyond-ring", CHAINS, BROKEN, bad_chain, CHAIN(0, TX, 256, {{B, FRAME, 0, 0}}, {}), false},
    {"head-65535", CHAINS, BROKEN, bad_chain, CHAIN(0, TX, 65535, {{B, FRAME, 0, 0}}, {}), false},
    {"index-jumps-ahead", CHAINS, BROKEN, index_is, &(const uint16_t){257}, false},
    {"index-steps-back", CHAINS, BROKEN, index_is, &(const uint16_t){65535}, false},
    {"index-half-way", CHAINS, BROKEN, index_is, &(const uint16_t){0x8000}, false},
    {"chain-to-itself", CHAINS, BROKEN, bad_chain, CHAIN(0, TX, 0, {{B, 1, NEXT, 0}}, {}), false},
    {"chain-of-two-loops", CHAINS, BROKEN, bad_chain, CHAIN(0, TX, 0, {{B, 1, NEXT, 1}, {B, 1, NEXT, 0}}, {}), false},
    {"chain-to-itself-huge", CHAINS, ALIVE, bad_chain, CHAIN(0, TX, 0, {{B, 0x10000, NEXT, 0}}, {}), false},
    {"chain-beyond-ring", CHAINS, BROKEN, bad_chain, CHAIN(0, TX, 0, {{B, FRAME, NEXT, 256}}, {}), false},
    {"packed-chain-without-end", CHAINS, BROKEN, endless_packed, NULL, false},

    {"wild-address", RANGES, BROKEN, bad_chain, CHAIN(0, TX, 0, {{W, FRAME, 0, 0}}, {}), false},
    {"wild-address-packed", RANGES, BROKEN, bad_chain, CHAIN(PACKED, TX, 0, {{W, FRAME, 0, 0}}, {}), false},
    {"wild-second-piece", RANGES, BROKEN, bad_chain, CHAIN(0, TX, 0, {{B, 12, NEXT, 1}, {W, 100, 0, 0}}, {}), false},
    {"address-zero", RANGES, BROKEN, bad_chain, CHAIN(0, TX, 0, {{0, FRAME, 0, 0}}, {}), false},
    {"length-4-gib", RANGES, BROKEN, bad_chain, CHAIN(0, TX, 0, {{B, 0xffffffff, 0, 0}}, {}), false},
    {"length-4-gib-packed", RANGES, BROKEN, bad_chain, CHAIN(PACKED, TX, 0, {{B, 0xffffffff, 0, 0}}, {}), false},
    {"address-wraps", RANGES, BROKEN, bad_chain, CHAIN(0, TX, 0, {{~0ull - 50, FRAME, 0, 0}}, {}), false},
    {"over-the-region-edge", RANGES, BROKEN, bad_chain, CHAIN(0, TX, 0, {{END - 50, FRAME, 0, 0}}, {}), false},
    {"zero-length-wild", RANGES, BROKEN, bad_chain, CHAIN(0, TX, 0, {{B, FRAME, NEXT, 1}, {W, 0, 0, 0}}, {}), false},
    {"user-address-as-guest-address", RANGES, BROKEN, bad_chain, CHAIN(0, TX, 0, {{USER_BASE, FRAME, 0, 0}}, {}), false},

    {"transmit-writable", CHAINS, BROKEN, bad_chain, CHAIN(0, TX, 0, {{B, FRAME, WRITE, 0}}, {}), false},
    {"transmit-writable-packed", CHAINS, BROKEN, bad_chain, CHAIN(PACKED, TX, 0, {{B, FRAME, WRITE, 0}}, {}), false},
    {"transmit-partly-writable", CHAINS, BROKEN, bad_chain,
     CHAIN(0, TX, 0, {{B, 12, NEXT, 1}, {B, 100, WRITE, 0}}, {}), false},

    {"indirect-not-agreed", CHAINS, BROKEN, bad_chain, CHAIN(0, TX, 0, {{T, 16, TABLE, 0}}, {{B, FRAME, 0, 0}}), false},
    {"indirect-nested", CHAINS, BROKEN, bad_chain, CHAIN(INDIRECT, TX, 0, {{T, 32, TABLE, 0}}, {{T, 32, TABLE, 0}}), false},
    {"indirect-nested-packed", CHAINS, BROKEN, bad_chain,
     CHAIN(INDIRECT | PACKED, TX, 0, {{T, 32, TABLE, 0}}, {{T, 32, TABLE, 0}}), false},
    {"indirect-misaligned-size", CHAINS, BROKEN, bad_chain,
     CHAIN(INDIRECT, TX, 0, {{T, 17, TABLE, 0}}, {{B, FRAME, 0, 0}}), false},
    {"indirect-empty", CHAINS, BROKEN, bad_chain, CHAIN(INDIRECT, TX, 0, {{T, 0, TABLE, 0}}, {}), false},
    {"indirect-huge", CHAINS, BROKEN, bad_chain, CHAIN(INDIRECT, TX, 0, {{T, 0x100000, TABLE, 0}}, {{B, FRAME, 0, 0}}), false},
    {"indirect-4-gib", CHAINS, BROKEN, bad_chain, CHAIN(INDIRECT, TX, 0, {{T, 0xfffffff0, TABLE, 0}}, {}), false},
    {"indirect-wild", CHAINS, BROKEN, bad_chain, CHAIN(INDIRECT, TX, 0, {{W, 32, TABLE, 0}}, {}), false},
    {"indirect-wild-packed", CHAINS, BROKEN, bad_chain, CHAIN(INDIRECT | PACKED, TX, 0, {{W, 32, TABLE, 0}}, {}), false},
    {"indirect-entry-wild", CHAINS, BROKEN, bad_chain, CHAIN(INDIRECT, TX, 0, {{T, 16, TABLE, 0}}, {{W, FRAME, 0, 0}}), false},
    {"indirect-loops", CHAINS, BROKEN, bad_chain,
     CHAIN(INDIRECT, TX, 0, {{T, 32, TABLE, 0}}, {{B, 1, NEXT, 1}, {B, 1, NEXT, 0}}), false},
    {"indirect-next-beyond-table", CHAINS, BROKEN, bad_chain,
     CHAIN(INDIRECT, TX, 0, {{T, 32, TABLE, 0}}, {{B, 12, NEXT, 2}, {B, 100, 0, 0}}), false},
    {"indirect-over-the-edge", CHAINS, BROKEN, bad_chain, CHAIN(INDIRECT, TX, 0, {{END - 16, 32, TABLE, 0}}, {}), false},
    {"indirect-entry-writable", CHAINS, BROKEN, bad_chain,
     CHAIN(INDIRECT, TX, 0, {{T, 16, TABLE, 0}}, {{B, FRAME, WRITE, 0}}), false},

    {"header-in-bytes", SPLIT, ALIVE, in_pieces, &(const uint32_t){100}, false},
    {"frame-in-bytes", SPLIT, ALIVE, in_pieces, &(const uint32_t){1}, false},
    {"frame-of-nothing", SPLIT, ALIVE, bad_chain, CHAIN(0, TX, 0, {{B, 0, 0, 0}}, {}), false},
    {"frame-of-five-bytes", SPLIT, ALIVE, bad_chain, CHAIN(0, TX, 0, {{B, 5, 0, 0}}, {}), false},
    {"header-only", SPLIT, ALIVE, bad_chain, CHAIN(0, TX, 0, {{B, 12, 0, 0}}, {}), false},
    {"header-and-13-bytes", SPLIT, ALIVE, bad_chain, CHAIN(0, TX, 0, {{B, 25, 0, 0}}, {}), false},
    {"frame-of-five-bytes-packed", SPLIT, ALIVE, bad_chain, CHAIN(PACKED, TX, 0, {{B, 5, 0, 0}}, {}), false},
    {"frame-over-64-kib", CHAINS, ALIVE, bad_chain, CHAIN(0, TX, 0, {{B, 0x20000, 0, 0}}, {}), false},
    {"chain-of-megabytes", CHAINS, ALIVE, long_chain, &(const uint32_t){0x10000}, false},
    {"chain-of-199-bytes", CHAINS, ALIVE, long_chain, &(const uint32_t){1}, false},

    {"receive-head-beyond-ring", CHAINS, BROKEN, bad_chain, CHAIN(0, RX, 300, {{B, 2048, WRITE, 0}}, {}), true},
    {"receive-index-jumps", CHAINS, BROKEN, receive_index_jumps, NULL, true},
    {"receive-read-only", RUNTS, BROKEN, bad_chain, CHAIN(0, RX, 0, {{B, 2048, 0, 0}}, {}), true},
    {"receive-read-only-packed", RUNTS, BROKEN, bad_chain, CHAIN(PACKED, RX, 0, {{B, 2048, 0, 0}}, {}), true},
    {"receive-wild", RANGES, BROKEN, bad_chain, CHAIN(0, RX, 0, {{W, 2048, WRITE, 0}}, {}), true},
    {"receive-wild-packed", RANGES, BROKEN, bad_chain, CHAIN(PACKED, RX, 0, {{W, 2048, WRITE, 0}}, {}), true},
    {"receive-over-the-edge", RANGES, BROKEN, bad_chain, CHAIN(0, RX, 0, {{END - 20, 2048, WRITE, 0}}, {}), true},
    {"receive-loop", CHAINS, BROKEN, bad_chain, CHAIN(0, RX, 0, {{B, 0, NEXT | WRITE, 0}}, {}), true},
    {"receive-runt", RUNTS, BROKEN, bad_chain, CHAIN(0, RX, 0, {{B, 4, WRITE, 0}}, {}), true},
    {"receive-runt-merged", RUNTS, BROKEN, bad_chain, CHAIN(MERGED, RX, 0, {{B, 11, WRITE, 0}}, {}), true},
    {"receive-nothing", RUNTS, BROKEN, bad_chain, CHAIN(0, RX, 0, {{B, 0, WRITE, 0}}, {}), true},
    {"receive-in-bytes", RUNTS, ALIVE, receive_in_bytes, NULL, true},
    {"receive-too-small", RUNTS, ALIVE, too_small_to_receive, &(const uint64_t){0}, true},
    {"receive-too-small-merged", RUNTS, ALIVE, too_small_to_receive, &(const uint64_t){MERGED}, true},

    {"flags-all", OFFLOADS, ALIVE, header_lies, LIE(0xff, 0, 0, 0, 0, 0, 0), false},
    {"gso-type-unknown", OFFLOADS, ALIVE, header_lies, LIE(1, 0x55, 54, 100, 34, 16, 0), false},
    {"gso-udp-not-agreed", OFFLOADS, ALIVE, header_lies, LIE(1, 3, 42, 100, 34, 6, 0), false},
    {"gso-size-zero", OFFLOADS, ALIVE, header_lies, LIE(1, 1, 54, 0, 34, 16, 0), false},
    {"gso-size-huge", OFFLOADS, ALIVE, header_lies, LIE(1, 1, 54, 0xffff, 34, 16, 0), false},
    {"gso-without-checksum", OFFLOADS, ALIVE, header_lies, LIE(0, 1, 54, 10, 0, 0, 0), false},
    {"gso-of-no-ip", OFFLOADS, ALIVE, header_lies, LIE(1, 4, 54, 10, 34, 16, 0), false},
    {"header-length-huge", OFFLOADS, ALIVE, header_lies, LIE(1, 1, 0xffff, 10, 34, 16, 0), false},
    {"checksum-start-beyond", OFFLOADS, ALIVE, header_lies, LIE(1, 0, 0, 0, 99, 50, 0), false},
    {"checksum-start-65535", OFFLOADS, ALIVE, header_lies, LIE(1, 0, 0, 0, 0xffff, 0xffff, 0), false},
    {"checksum-in-the-addresses", OFFLOADS, ALIVE, header_lies, LIE(1, 0, 0, 0, 0, 0, 0), false},
    {"buffer-count-lie", OFFLOADS, ALIVE, header_lies, LIE(0, 0, 0, 0, 0, 0, 0xffff), false},
};
/* clang-format on */
const unsigned hostile_ring_count = sizeof(hostile_ring_patterns) / sizeof(hostile_ring_patterns[0]);
