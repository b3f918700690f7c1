/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames from the guest, in every legal layout, split and packed: the bytes that come out are those that went
 * in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "vring_guest.h"

#define BUFFERS (GUEST_BASE + GUEST_TABLES)

static uint8_t out[PACKET_SIZE_MAX];

/* The frame lies at `address` in the guest, header first: `count` pieces of these sizes, placed with gaps. */
static unsigned scatter(struct guest *guest, const uint8_t *bytes, const uint32_t *sizes, unsigned count,
                        uint64_t address, uint32_t gap, struct guest_piece *pieces)
{
    for (unsigned i = 0; i < count; i++) {
        memcpy(guest_at(guest, address), bytes, sizes[i]);
        pieces[i] = (struct guest_piece){address, sizes[i], false};
        bytes += sizes[i];
        address += sizes[i] + gap;
    }
    return count;
}

/* One frame out of the vector equals header and frame in `bytes`. */
static void check_packet(const struct packet *packet, const uint8_t *bytes, uint32_t size)
{
    struct virtio_net_header header;
    memcpy(&header, bytes, sizeof(header));
    assert_int_equal(packet->size, size - sizeof(header));
    assert_true(packet->header_size >= (packet->size < PACKET_HEADER_MAX ? packet->size : PACKET_HEADER_MAX));
    assert_ptr_equal(packet->data, packet->buffer + PACKET_HEADROOM);
    uint64_t total = packet->header_size;
    for (unsigned i = 0; i < packet->span_count; i++) {
        assert_true(packet->spans[i].size > 0);
        total += packet->spans[i].size;
    }
    assert_int_equal(total, packet->size);
    packet_bytes(packet, out);
    assert_memory_equal(out, bytes + sizeof(header), packet->size);
    assert_memory_equal(packet->data - sizeof(header), bytes, sizeof(header));
    assert_int_equal(packet->flags, header.flags);
    assert_int_equal(packet->gso_type, header.gso_type);
    assert_int_equal(packet->hdr_len, header.hdr_len);
    assert_int_equal(packet->gso_size, header.gso_size);
    assert_int_equal(packet->csum_start, header.csum_start);
    assert_int_equal(packet->csum_offset, header.csum_offset);
}

static void check_used(struct guest *guest, int id)
{
    uint16_t used_id;
    uint32_t size;
    assert_true(guest_used(guest, &used_id, &size));
    assert_int_equal(used_id, id);
    assert_int_equal(size, 0);
}

static void one_frame(struct guest *guest, struct packet_vector *vector, const uint8_t *bytes,
                      const uint32_t *sizes, unsigned count, uint64_t address, uint32_t gap,
                      enum guest_layout layout)
{
    struct guest_piece pieces[512];
    uint32_t size = 0;
    for (unsigned i = 0; i < count; i++)
        size += sizes[i];
    scatter(guest, bytes, sizes, count, address, gap, pieces);
    int id = guest_add(guest, pieces, count, layout);
    assert_true(id >= 0);
    assert_int_equal(vring_rx(guest->ring, vector), 0);
    vring_rx_done(guest->ring, NULL);
    guest_publish(guest);
    assert_int_equal(vring_rx(guest->ring, vector), 1);
    check_packet(&vector->packets[0], bytes, size);
    uint16_t used_id;
    uint32_t used_size;
    assert_false(guest_used(guest, &used_id, &used_size));
    vring_rx_done(guest->ring, NULL);
    check_used(guest, id);
    assert_int_equal(vring_broken(guest->ring), VRING_ERROR_NONE);
}

static bool layout_exists(bool packed, enum guest_layout layout, unsigned pieces)
{
    return layout != GUEST_MIXED || (!packed && pieces >= 2);
}

#define FOR_EACH_KIND                                                                                        \
    for (int packed = 0; packed < 2; packed++)                                                               \
        for (int layout = 0; layout < GUEST_LAYOUTS; layout++)

static void test_split_at_every_byte(void **state)
{
    uint8_t bytes[12 + 300];
    struct packet_vector *vector = vector_new();
    FOR_EACH_KIND
    {
        struct guest *guest = guest_new(&(struct guest_setup){
            .packed = packed, .receives = true, .size = 8, .base = packed ? 0x8000 : 0});
        for (uint32_t total = 26; total <= sizeof(bytes); total += 26) {
            for (uint32_t cut = 0; cut <= total; cut++) {
                if (!layout_exists(packed, layout, 2))
                    continue;
                random_bytes(bytes, sizeof(bytes));
                one_frame(guest, vector, bytes, (uint32_t[]){cut, total - cut}, 2, BUFFERS, cut % 7, layout);
                one_frame(guest, vector, bytes, (uint32_t[]){cut / 2, cut - cut / 2, total - cut}, 3,
                          BUFFERS + 1, 5, layout);
            }
        }
        guest_free(guest);
    }
    free(vector);
}

static void test_every_size(void **state)
{
    static uint8_t bytes[12 + 2000];
    struct packet_vector *vector = vector_new();
    FOR_EACH_KIND
    {
        struct guest *guest = guest_new(&(struct guest_setup){
            .packed = packed, .receives = true, .size = 16, .base = packed ? 0x8000 : 0});
        for (uint32_t total = 26; total <= sizeof(bytes) && layout_exists(packed, layout, 1); total++) {
            random_bytes(bytes, total);
            one_frame(guest, vector, bytes, &total, 1, BUFFERS + total % 64, 0, layout);
        }
        guest_free(guest);
    }
    free(vector);
}

static void test_random_chains(void **state)
{
    static uint8_t bytes[12 + PACKET_SIZE_MAX];
    struct packet_vector *vector = vector_new();
    FOR_EACH_KIND
    {
        struct guest *guest = guest_new(&(struct guest_setup){
            .packed = packed, .receives = true, .size = 512, .base = packed ? 0x8000 | 500 : 65000});
        random_bytes(bytes, sizeof(bytes));
        for (unsigned round = 0; round < 400; round++) {
            uint32_t sizes[256], total = 26 + random_below(round % 4 == 0 ? sizeof(bytes) - 25 : 3000),
                                 left = total;
            unsigned count = 1 + random_below(round % 3 == 0 ? 255 : 20);
            if (!layout_exists(packed, layout, count))
                continue;
            for (unsigned i = 0; i < count; i++) { /* some pieces are empty */
                sizes[i] = i + 1 == count ? left : random_below(4) ? random_below(2 * left / count + 2) : 0;
                if (sizes[i] > left)
                    sizes[i] = left;
                left -= sizes[i];
            }
            one_frame(guest, vector, bytes, sizes, count, BUFFERS, random_below(50), layout);
        }
        one_frame(guest, vector, bytes, (uint32_t[]){10, sizeof(bytes) - 10}, 2, BUFFERS, 0, layout % 2);
        guest_free(guest);
    }
    free(vector);
}

/* A frame, and an indirect table, over the seam of two regions at each of its bytes. */
static void test_region_crossing(void **state)
{
    uint8_t bytes[12 + 160];
    uint32_t seam = GUEST_TABLES + 65536;
    struct packet_vector *vector = vector_new();
    FOR_EACH_KIND
    {
        struct guest *guest = guest_new(&(struct guest_setup){.packed = packed,
                                                              .receives = true,
                                                              .size = 8,
                                                              .base = packed ? 0x8000 : 0,
                                                              .cuts = {seam, seam + 4096, seam + 8192}});
        for (uint32_t total = 26; total <= sizeof(bytes); total += 73) {
            for (uint32_t before = 0; before <= total; before++) {
                random_bytes(bytes, sizeof(bytes));
                if (layout_exists(packed, layout, 1))
                    one_frame(guest, vector, bytes, &total, 1, GUEST_BASE + seam - before, 0, layout);
                if (layout_exists(packed, layout, 2))
                    one_frame(guest, vector, bytes, (uint32_t[]){12, total - 12}, 2,
                              GUEST_BASE + seam - before, 3, layout);
            }
        }
        static uint8_t large[12 + 9000]; /* three seams */
        random_bytes(large, sizeof(large));
        uint32_t size = sizeof(large);
        if (layout_exists(packed, layout, 1))
            one_frame(guest, vector, large, &size, 1, GUEST_BASE + seam - 100, 0, layout);
        guest_free(guest);
        if (layout == GUEST_INDIRECT) {
            guest = guest_new(&(struct guest_setup){.packed = packed,
                                                    .receives = true,
                                                    .size = 8,
                                                    .base = packed ? 0x8000 : 0,
                                                    .cuts = {GUEST_RINGS + 4096, GUEST_RINGS + 8192}});
            for (unsigned round = 0; round < 300; round++) {
                guest->next_table = GUEST_RINGS + 4096 - 8 * random_below(12);
                one_frame(guest, vector, bytes, (uint32_t[]){12, 14, 50, 60}, 4, BUFFERS, 9, layout);
            }
            guest_free(guest);
        }
    }
    free(vector);
}

/* Batches through rings of every size, around the index and both wrap counters. */
static void run_ring(bool packed, uint16_t size, uint16_t base, uint64_t features, unsigned frames)
{
    static uint8_t bytes[4096][12 + 200];
    static int ids[4096];
    static uint32_t sizes[4096];
    struct packet_vector *vector = vector_new();
    struct guest *guest = guest_new(&(struct guest_setup){
        .packed = packed, .receives = true, .size = size, .base = base, .features = features});
    unsigned sent = 0, received = 0, returned = 0;
    while (returned < frames) {
        for (unsigned burst = random_below(100); burst > 0 && sent < frames; burst--) {
            unsigned at = sent % 4096, pieces_count = 1 + (size > 4 && random_below(5) == 0);
            struct guest_piece pieces[2];
            sizes[at] = 26 + random_below(180);
            random_bytes(bytes[at], 40);
            uint32_t cut = pieces_count == 2 ? random_below(sizes[at]) : sizes[at];
            scatter(guest, bytes[at], (uint32_t[]){cut, sizes[at] - cut}, pieces_count, BUFFERS + 256ull * at,
                    1, pieces);
            ids[at] = guest_add(guest, pieces, pieces_count, GUEST_DIRECT);
            if (ids[at] < 0)
                break;
            sent++;
        }
        guest_publish(guest);
        unsigned count = vring_rx(guest->ring, vector);
        assert_true(count <= sent - received);
        for (unsigned i = 0; i < count; i++, received++)
            check_packet(&vector->packets[i], bytes[received % 4096], sizes[received % 4096]);
        vring_rx_done(guest->ring, NULL);
        for (; returned < received; returned++)
            check_used(guest, ids[returned % 4096]);
        assert_int_equal(vring_broken(guest->ring), VRING_ERROR_NONE);
    }
    uint16_t position, used;
    vring_stop(guest->ring, &position, &used);
    assert_int_equal(position, used);
    if (packed)
        assert_int_equal(position, guest->next_desc | guest->avail_wrap << 15);
    else
        assert_int_equal(position, guest->avail);
    guest_free(guest);
    free(vector);
}

static void test_wrap_around(void **state)
{
    static const uint16_t large[] = {255, 256, 1000, 4095, 4096};
    for (unsigned i = 1; i < 70 + sizeof(large) / sizeof(large[0]); i++) {
        unsigned size = i < 70 ? i : large[i - 70];
        run_ring(true, (uint16_t)size, 0x8000, 0, 3 * size + 100);
        run_ring(true, (uint16_t)size, (uint16_t)((size - 1) | (size & 1) << 15), VRING_F_IN_ORDER,
                 2 * size + 50);
    }
    run_ring(true, 4096, 0x8000 | 4090, 0, 9000);
    for (unsigned size = 1; size <= 4096; size *= 2) {
        run_ring(false, (uint16_t)size, 0, 0, 3 * size + 100);
        run_ring(false, (uint16_t)size, 65530, VRING_F_IN_ORDER, 2 * size + 50);
    }
    run_ring(false, 256, 60000, VRING_F_EVENT_IDX, 70000);
}

/* Many spans: the vector's space ends a batch, and loses nothing. */
static void test_spans_of_a_batch(void **state)
{
    uint8_t bytes[12 + 1000];
    uint32_t sizes[200];
    struct guest_piece pieces[200];
    struct packet_vector *vector = vector_new();
    for (int packed = 0; packed < 2; packed++) {
        struct guest *guest = guest_new(&(struct guest_setup){
            .packed = packed, .receives = true, .size = 64, .base = packed ? 0x8000 : 0});
        random_bytes(bytes, sizeof(bytes));
        for (unsigned i = 0; i < 200; i++)
            sizes[i] = 5;
        scatter(guest, bytes, sizes, 200, BUFFERS, 3, pieces);
        for (unsigned i = 0; i < 60; i++)
            assert_true(guest_add(guest, pieces, 200, GUEST_INDIRECT) >= 0);
        guest_publish(guest);
        unsigned received = 0;
        for (unsigned rounds = 0; received < 60 && rounds < 60; rounds++) {
            unsigned count = vring_rx(guest->ring, vector);
            assert_true(count > 0 && vector->spans_used <= PACKET_VECTOR_SPANS);
            for (unsigned i = 0; i < count; i++, received++)
                check_packet(&vector->packets[i], bytes, 1000);
            vring_rx_done(guest->ring, NULL);
        }
        assert_int_equal(received, 60);
        guest_free(guest);
    }
    free(vector);
}

/* What is not a frame is consumed and counted, and its neighbours pass. */
static void test_drops(void **state)
{
    static uint8_t bytes[12 + PACKET_SIZE_MAX + 1];
    struct packet_vector *vector = vector_new();
    FOR_EACH_KIND
    {
        struct guest *guest = guest_new(&(struct guest_setup){
            .packed = packed, .receives = true, .size = 1024, .base = packed ? 0x8000 : 0});
        random_bytes(bytes, 100);
        int ids[8];
        unsigned count = 0;
        struct guest_piece good = {BUFFERS, 60, false}, pieces[300] = {{0}};
        memcpy(guest_at(guest, BUFFERS), bytes, 60);
        ids[count++] = guest_add(guest, &good, 1, GUEST_DIRECT);
        for (unsigned i = 0; i < 300; i++)
            pieces[i] = (struct guest_piece){BUFFERS, i < 2 ? 12 : i == 2 ? 1 : 0, false};
        ids[count++] =
            guest_add(guest, pieces, 2, layout_exists(packed, layout, 2) ? layout : 0); /* 24 bytes */
        ids[count++] =
            guest_add(guest, pieces, 3, layout_exists(packed, layout, 2) ? layout : 0); /* 25 bytes */
        for (unsigned i = 0; i < 300; i++)
            pieces[i].size = 1;
        ids[count++] = guest_add(guest, pieces, 257, layout_exists(packed, layout, 2) ? layout : 0);
        pieces[0].size = sizeof(bytes) - 1;
        ids[count++] = guest_add(guest, pieces, 2, layout_exists(packed, layout, 2) ? layout : 0);
        ids[count++] = guest_add(guest, &good, 1, GUEST_DIRECT);
        guest_publish(guest);
        assert_int_equal(vring_rx(guest->ring, vector), 2);
        check_packet(&vector->packets[0], bytes, 60);
        check_packet(&vector->packets[1], bytes, 60);
        vring_rx_done(guest->ring, NULL);
        for (unsigned i = 0; i < count; i++)
            check_used(guest, ids[i]);
        const struct vring_rx_counters *counters = vring_rx_counters(guest->ring);
        assert_int_equal(counters->drops[VRING_DROP_RX_RUNT], 2);
        assert_int_equal(counters->drops[VRING_DROP_RX_FRAGMENTED], 1);
        assert_int_equal(counters->drops[VRING_DROP_RX_TOO_LONG], 1);
        assert_int_equal(vring_broken(guest->ring), VRING_ERROR_NONE);
        guest_free(guest);
    }
    free(vector);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split_at_every_byte),
        cmocka_unit_test(test_every_size),
        cmocka_unit_test(test_random_chains),
        cmocka_unit_test(test_region_crossing),
        cmocka_unit_test(test_wrap_around),
        cmocka_unit_test(test_spans_of_a_batch),
        cmocka_unit_test(test_drops),
    };
    return cmocka_run_group_tests_name("vring_rx", tests, NULL, NULL);
}
