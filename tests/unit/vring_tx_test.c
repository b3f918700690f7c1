/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames to the guest: into single buffers, chains, indirect tables, merged buffers; bytes, lengths,
 * num_buffers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "vring_guest.h"

#define BUFFERS     (GUEST_BASE + GUEST_TABLES)
#define PIECES_MAX  400u
#define BUFFERS_MAX 4096u
#define GUARD       0xee

static uint8_t source[PACKET_SIZE_MAX];

/* The buffers that the guest gave, oldest first. */
static struct {
    int id;
    unsigned count;
    struct guest_piece pieces[20];
} given[BUFFERS_MAX];
static unsigned given_first, given_last;
static uint64_t next_address;

/* Gives a buffer of these pieces at fresh addresses, with guard bytes around each. */
static bool give(struct guest *guest, const uint32_t *sizes, unsigned count, enum guest_layout layout)
{
    struct guest_piece pieces[20];
    for (unsigned i = 0; i < count; i++) {
        pieces[i] = (struct guest_piece){next_address + 8, sizes[i], true};
        memset(guest_at(guest, next_address), GUARD, sizes[i] + 16);
        next_address += sizes[i] + 16;
    }
    int id = guest_add(guest, pieces, count, layout);
    if (id < 0)
        return false;
    given[given_last % BUFFERS_MAX].id = id;
    given[given_last % BUFFERS_MAX].count = count;
    memcpy(given[given_last % BUFFERS_MAX].pieces, pieces, sizeof(pieces));
    given_last++;
    return true;
}

static void reset(void)
{
    given_first = given_last = 0;
    next_address = BUFFERS;
}

/* Takes the next returned buffer's first `*size` bytes; guards are intact. False: nothing returned. */
static bool take(struct guest *guest, uint8_t *to, uint32_t *size)
{
    uint16_t id;
    if (!guest_used(guest, &id, size))
        return false;
    assert_true(given_first < given_last);
    assert_int_equal(id, given[given_first % BUFFERS_MAX].id);
    uint32_t left = *size;
    for (unsigned i = 0; i < given[given_first % BUFFERS_MAX].count; i++) {
        struct guest_piece piece = given[given_first % BUFFERS_MAX].pieces[i];
        const uint8_t *at = guest_at(guest, piece.address);
        uint32_t used = left < piece.size ? left : piece.size;
        memcpy(to, at, used);
        to += used;
        left -= used;
        for (unsigned j = 1; j <= 8; j++) {
            assert_int_equal(at[-(int)j], GUARD);
            assert_int_equal(at[piece.size + j - 1], GUARD);
        }
        for (uint32_t j = used; j < piece.size; j++)
            assert_int_equal(at[j], GUARD);
    }
    assert_int_equal(left, 0);
    given_first++;
    return true;
}

/* The next frame in the returned buffers is `packet`. Returns the buffers it took. */
static unsigned check_frame(struct guest *guest, const struct packet *packet, const uint8_t *bytes)
{
    static uint8_t got[PACKET_SIZE_MAX + 12 + 4096];
    uint32_t size, total;
    struct virtio_net_header header;
    assert_true(take(guest, got, &total));
    memcpy(&header, got, sizeof(header));
    assert_true(header.num_buffers >= 1);
    for (unsigned i = 1; i < header.num_buffers; i++) {
        assert_true(take(guest, got + total, &size));
        total += size;
    }
    assert_int_equal(total, 12 + packet->size);
    assert_memory_equal(got + 12, bytes, packet->size);
    assert_int_equal(header.flags, packet->flags);
    assert_int_equal(header.gso_type, packet->gso_type);
    assert_int_equal(header.hdr_len, packet->hdr_len);
    assert_int_equal(header.gso_size, packet->gso_size);
    assert_int_equal(header.csum_start, packet->csum_start);
    assert_int_equal(header.csum_offset, packet->csum_offset);
    return header.num_buffers;
}

static struct packet *random_packet(uint32_t size)
{
    uint32_t private_size = random_below(4) ? 128 : random_below(220);
    struct packet *packet =
        packet_make(source, size, private_size, 1 + random_below(random_below(3) ? 1 : 30));
    random_bytes(&packet->flags, 10); /* all offload fields */
    return packet;
}

static struct vring_tx_result transmit(struct guest *guest, struct packet *packet)
{
    struct vring_tx_result result;
    vring_tx(guest->ring, &packet, 1, NULL, &result);
    return result;
}

#define FOR_EACH_KIND                                                                                        \
    for (int packed = 0; packed < 2; packed++)                                                               \
        for (int layout = 0; layout < GUEST_LAYOUTS - packed; layout++)

static void test_every_size(void **state)
{
    for (int packed = 0; packed < 2; packed++) {
        struct guest *guest = guest_new(&(struct guest_setup){
            .packed = packed, .size = 16, .base = packed ? 0x8000 : 65500, .features = VRING_F_MRG_RXBUF});
        for (uint32_t size = 14; size < 2000; size++) {
            reset();
            struct packet *packet = random_packet(size);
            give(guest, (uint32_t[]){2048}, 1, GUEST_DIRECT);
            assert_int_equal(transmit(guest, packet).no_room, 1);
            guest_publish(guest);
            struct vring_tx_result result = transmit(guest, packet);
            assert_int_equal(result.sent, 1);
            assert_int_equal(result.sent_bytes, size);
            assert_int_equal(check_frame(guest, packet, source), 1);
            packet_free(packet);
        }
        guest_free(guest);
    }
}

/* A buffer of two pieces, cut at every byte. */
static void test_split_at_every_byte(void **state)
{
    FOR_EACH_KIND
    {
        struct guest *guest =
            guest_new(&(struct guest_setup){.packed = packed, .size = 8, .base = packed ? 0x8000 : 0});
        for (uint32_t cut = 0; cut <= 212; cut++) {
            reset();
            struct packet *packet = random_packet(200);
            give(guest, (uint32_t[]){cut, 212 - cut}, 2, layout);
            guest_publish(guest);
            assert_int_equal(transmit(guest, packet).sent, 1);
            assert_int_equal(check_frame(guest, packet, source), 1);
            packet_free(packet);
        }
        guest_free(guest);
    }
}

/* Not mergeable: a frame that does not fit its buffer is skipped, the next one takes the same buffer. */
static void test_too_big(void **state)
{
    FOR_EACH_KIND
    {
        struct guest *guest =
            guest_new(&(struct guest_setup){.packed = packed, .size = 8, .base = packed ? 0x8000 : 0});
        reset();
        give(guest, (uint32_t[]){12, 100}, 2, layout);
        give(guest, (uint32_t[]){12, 50, 60}, 3, layout);
        guest_publish(guest);
        struct packet *packets[] = {random_packet(111), random_packet(100), random_packet(1000),
                                    random_packet(110), random_packet(60)};
        struct vring_tx_result result;
        vring_tx(guest->ring, packets, 5, NULL, &result);
        assert_int_equal(result.sent, 2);
        assert_int_equal(result.too_big, 2);
        assert_int_equal(result.no_room, 1);
        assert_int_equal(result.sent_bytes, 210);
        check_frame(guest, packets[1], source);
        check_frame(guest, packets[3], source);
        assert_int_equal(vring_broken(guest->ring), VRING_ERROR_NONE);
        for (unsigned i = 0; i < 5; i++)
            packet_free(packets[i]);
        guest_free(guest);
    }
}

/* Mergeable: a frame takes as many buffers as it needs, or none at all. */
static void test_merge(void **state)
{
    FOR_EACH_KIND
    {
        struct guest *guest = guest_new(&(struct guest_setup){.packed = packed,
                                                              .size = 256,
                                                              .base = packed ? 0x8000 | 250 : 65530,
                                                              .features = VRING_F_MRG_RXBUF});
        for (unsigned round = 0; round < 300; round++) {
            reset();
            uint32_t size = 14 + random_below(round % 5 ? 3000 : PACKET_SIZE_MAX - 13), room = 0;
            uint32_t unit = size < 3000 ? 12 + random_below(300) : 600 + random_below(4000);
            struct packet *packet = random_packet(size);
            while (room < 12 + size) {
                uint32_t sizes[20], count = 1;
                sizes[0] = unit + random_below(100);
                if (layout != GUEST_DIRECT || random_below(4) == 0) {
                    count = 2 + random_below(5);
                    for (unsigned i = 1; i < count; i++)
                        sizes[i] = random_below(unit);
                }
                /* One buffer less than enough: nothing may happen. */
                guest_publish(guest);
                assert_int_equal(transmit(guest, packet).no_room, 1);
                uint16_t id;
                uint32_t used;
                assert_false(guest_used(guest, &id, &used));
                assert_true(give(guest, sizes, count, count > 1 ? layout : GUEST_DIRECT));
                for (unsigned i = 0; i < count; i++)
                    room += sizes[i];
            }
            guest_publish(guest);
            assert_int_equal(transmit(guest, packet).sent, 1);
            assert_int_equal(check_frame(guest, packet, source), given_last);
            assert_int_equal(vring_broken(guest->ring), VRING_ERROR_NONE);
            packet_free(packet);
        }
        guest_free(guest);
    }
}

/* A frame that even all buffers of the ring cannot hold, or only in more pieces than a frame may have. */
static void test_merge_never_fits(void **state)
{
    for (int packed = 0; packed < 2; packed++) {
        struct guest *guest = guest_new(&(struct guest_setup){
            .packed = packed, .size = 4, .base = packed ? 0x8000 : 0, .features = VRING_F_MRG_RXBUF});
        reset();
        for (unsigned i = 0; i < 4; i++)
            give(guest, (uint32_t[]){100}, 1, GUEST_DIRECT);
        guest_publish(guest);
        struct packet *packets[] = {random_packet(400), random_packet(388)};
        struct vring_tx_result result;
        vring_tx(guest->ring, packets, 2, NULL, &result);
        assert_int_equal(result.too_big, 1);
        assert_int_equal(result.sent, 1);
        assert_int_equal(check_frame(guest, packets[1], source), 4);
        guest_free(guest);
        guest = guest_new(&(struct guest_setup){
            .packed = packed, .size = 4096, .base = packed ? 0x8000 : 0, .features = VRING_F_MRG_RXBUF});
        reset();
        for (unsigned i = 0; i < 4096; i++)
            give(guest, (uint32_t[]){12}, 1, GUEST_DIRECT);
        guest_publish(guest);
        assert_int_equal(transmit(guest, packets[0]).sent, 1);
        assert_int_equal(check_frame(guest, packets[0], source), 35);
        struct packet *large = random_packet(30000);
        assert_int_equal(transmit(guest, large).too_big, 1);
        assert_int_equal(vring_broken(guest->ring), VRING_ERROR_NONE);
        packet_free(large);
        packet_free(packets[0]);
        packet_free(packets[1]);
        guest_free(guest);
    }
}

static void test_region_crossing(void **state)
{
    uint32_t seam = GUEST_TABLES + 65536;
    for (int packed = 0; packed < 2; packed++) {
        struct guest *guest = guest_new(&(struct guest_setup){.packed = packed,
                                                              .size = 8,
                                                              .base = packed ? 0x8000 : 0,
                                                              .cuts = {seam, seam + 4096, seam + 8192}});
        for (uint32_t size = 14; size < 10000; size = size < 200 ? size + 60 : size * 2) {
            for (uint32_t before = 0; before <= 230; before++) {
                reset();
                next_address = GUEST_BASE + seam - 8 - before;
                struct packet *packet = random_packet(size);
                give(guest, (uint32_t[]){12 + size}, 1, GUEST_DIRECT);
                guest_publish(guest);
                assert_int_equal(transmit(guest, packet).sent, 1);
                check_frame(guest, packet, source);
                packet_free(packet);
            }
        }
        guest_free(guest);
    }
}

static void run_ring(bool packed, uint16_t size, uint16_t base, uint64_t features, unsigned frames)
{
    struct guest *guest =
        guest_new(&(struct guest_setup){.packed = packed, .size = size, .base = base, .features = features});
    static struct packet *packets[64];
    unsigned sent = 0, in_ring = 0;
    reset();
    for (unsigned i = 0; i < 64; i++)
        packets[i] = random_packet(14 + random_below(400));
    while (sent < frames) {
        for (unsigned burst = 1 + random_below(size < 80 ? size : 80); burst > 0; burst--) {
            if (next_address > BUFFERS + (2u << 20))
                next_address = BUFFERS; /* at most 4096 buffers of 444 bytes are outstanding */
            if (!give(guest, (uint32_t[]){428}, 1, GUEST_DIRECT))
                break;
            in_ring++;
        }
        guest_publish(guest);
        unsigned count = 1 + random_below(64);
        struct vring_tx_result result;
        vring_tx(guest->ring, packets, count, NULL, &result);
        assert_int_equal(result.sent, count < in_ring ? count : in_ring);
        assert_int_equal(result.sent + result.no_room, count);
        for (unsigned i = 0; i < result.sent; i++)
            check_frame(guest, packets[i], source);
        sent += result.sent;
        in_ring -= result.sent;
    }
    for (unsigned i = 0; i < 64; i++)
        packet_free(packets[i]);
    guest_free(guest);
}

static void test_wrap_around(void **state)
{
    static const uint16_t large[] = {255, 256, 1000, 4095, 4096};
    for (unsigned i = 1; i < 70 + sizeof(large) / sizeof(large[0]); i++) {
        unsigned size = i < 70 ? i : large[i - 70];
        run_ring(true, (uint16_t)size, 0x8000, 0, 3 * size + 100);
        run_ring(true, (uint16_t)size, (uint16_t)((size - 1) | (size & 1) << 15), VRING_F_IN_ORDER,
                 2 * size + 50);
        if ((size & (size - 1)) == 0) {
            run_ring(false, (uint16_t)size, 0, 0, 3 * size + 100);
            run_ring(false, (uint16_t)size, 65530, VRING_F_IN_ORDER | VRING_F_MRG_RXBUF, 2 * size + 50);
        }
    }
}

static void test_not_usable(void **state)
{
    struct packet *packet = random_packet(60);
    for (int packed = 0; packed < 2; packed++) {
        struct guest *guest = guest_new(
            &(struct guest_setup){.packed = packed, .shared = true, .size = 8, .base = packed ? 0x8000 : 0});
        reset();
        give(guest, (uint32_t[]){100}, 1, GUEST_DIRECT);
        guest_publish(guest);
        vring_set_enabled(guest->ring, false);
        assert_int_equal(transmit(guest, packet).no_room, 1);
        vring_set_enabled(guest->ring, true);
        vring_hold(guest->ring);
        vring_hold(guest->ring);
        vring_release(guest->ring);
        assert_false(vring_usable(guest->ring));
        assert_int_equal(transmit(guest, packet).no_room, 1);
        vring_release(guest->ring);
        assert_int_equal(transmit(guest, packet).sent, 1);
        check_frame(guest, packet, source);
        guest_free(guest);
    }
    packet_free(packet);
}

int main(void)
{
    random_bytes(source, sizeof(source));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_size),       cmocka_unit_test(test_split_at_every_byte),
        cmocka_unit_test(test_too_big),          cmocka_unit_test(test_merge),
        cmocka_unit_test(test_merge_never_fits), cmocka_unit_test(test_region_crossing),
        cmocka_unit_test(test_wrap_around),      cmocka_unit_test(test_not_usable),
    };
    return cmocka_run_group_tests_name("vring_tx", tests, NULL, NULL);
}
