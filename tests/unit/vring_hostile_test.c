/* SPDX-License-Identifier: BSD-3-Clause */
/* What a guest may do wrong to a ring: one test a kind. The ring breaks with that error, gives nothing,
 * writes nothing any more, and stays broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>
#include "memory.h"
#include "vring_guest.h"

#define NEXT     1u
#define WRITE    2u
#define INDIRECT 4u

#define BUFFERS (GUEST_BASE + GUEST_TABLES)
#define END     (GUEST_BASE + (4u << 20)) /* of guest memory */

static uint8_t frame[256];

struct hostile {
    uint16_t size;
    uint64_t features;
    uint64_t without;
};

static struct guest *new_guest(bool packed, bool receives, const struct hostile *hostile)
{
    return guest_new(&(struct guest_setup){.packed = packed,
                                           .receives = receives,
                                           .size = hostile->size ? hostile->size : 8,
                                           .features = hostile->features,
                                           .without = hostile->without,
                                           .base = packed ? 0x8000 : 0});
}

/* Lets the device look at the ring; it must break with `error` without writing a byte of the guest's memory.
 */
static void expect(struct guest *guest, enum vring_error error)
{
    struct packet_vector *vector = vector_new();
    struct packet *packet = packet_make(frame, 100, 128, 1);
    struct vring_tx_result result;
    size_t size = 4u << 20;
    uint8_t *before = malloc(size);
    guest_publish(guest);
    if (guest->setup.receives && !guest->setup.packed) /* the first vring_rx turns kicks off */
        guest_set16(guest->device, 1);
    else if (guest->setup.receives)
        guest_set16(guest->device + 2, 1);
    memcpy(before, guest->bytes, size);
    for (unsigned round = 0; round < 3; round++) {
        if (guest->setup.receives) {
            assert_int_equal(vring_rx(guest->ring, vector), 0);
            vring_rx_done(guest->ring, NULL);
        } else {
            vring_tx(guest->ring, &packet, 1, NULL, &result);
            assert_int_equal(result.sent, 0);
            assert_int_equal(result.no_room, 1);
        }
        assert_string_equal(vring_error_text(vring_broken(guest->ring)), vring_error_text(error));
        assert_false(vring_usable(guest->ring));
        assert_false(vring_arm(guest->ring));
        vring_disarm(guest->ring);
    }
    assert_memory_equal(before, guest->bytes, size);
    vring_break(guest->ring, VRING_ERROR_MEMORY_GONE); /* the first error stays */
    assert_int_equal(vring_broken(guest->ring), error);
    free(before);
    free(vector);
    packet_free(packet);
    guest_free(guest);
}

/* A chain of ring descriptors as given, in both layouts. Split: third = flags, next = the slot behind. */
struct raw {
    uint64_t address;
    uint32_t length;
    uint16_t flags;
};

static void put(struct guest *guest, const struct raw *raw, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (guest->setup.packed) {
            guest_desc(guest, i, raw[i].address, raw[i].length, 7, raw[i].flags | 0x80);
        } else {
            guest_desc(guest, i, raw[i].address, raw[i].length, raw[i].flags, (uint16_t)(i + 1));
        }
    }
    if (!guest->setup.packed) {
        guest_set16(guest->driver + 4, 0);
        guest_set16(guest->driver + 2, 1);
        guest->avail = 1;
    }
}

/* Both layouts, both directions (`flags` gets the direction's bit if `directed`), the same outcome. */
static void each_kind(const struct raw *raw, unsigned count, const struct hostile *hostile, bool directed,
                      enum vring_error error)
{
    for (int packed = 0; packed < 2; packed++) {
        for (int receives = 0; receives < 2; receives++) {
            struct guest *guest = new_guest(packed, receives, hostile);
            struct raw copy[16];
            memcpy(copy, raw, count * sizeof(*raw));
            for (unsigned i = 0; i < count; i++)
                if (directed && !receives && !(copy[i].flags & INDIRECT))
                    copy[i].flags |= WRITE;
            put(guest, copy, count);
            expect(guest, error);
        }
    }
}

static const struct hostile plain;

static void test_addresses(void **state)
{
    const struct {
        uint64_t address;
        uint32_t length;
    } wild[] = {
        {0, 1000},
        {GUEST_BASE - 1, 1000},
        {END, 1000},
        {END - 999, 1000},
        {END - 1, 0xffffffff},
        {UINT64_MAX, 1000},
        {UINT64_MAX - 999, 1000},
        {GUEST_BASE, 0xffffffff},
        {UINT64_MAX - 0xfffffffe + GUEST_BASE, 0xffffffff},
        {0, 0}, /* empty, but still nowhere */
        {END, 0},
        {UINT64_MAX, 0},
    };
    for (unsigned i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
        each_kind(&(struct raw){wild[i].address, wild[i].length, 0}, 1, &plain, true, VRING_ERROR_ADDRESS);
        each_kind((struct raw[]){{BUFFERS, 12, NEXT}, {wild[i].address, wild[i].length, 0}}, 2, &plain, true,
                  VRING_ERROR_ADDRESS);
        /* a table there; {END - 999, 64} would be inside */
        if (wild[i].length > 0 && wild[i].address != END - 999 && wild[i].address != GUEST_BASE)
            each_kind(&(struct raw){wild[i].address, 64, INDIRECT}, 1, &plain, true, VRING_ERROR_ADDRESS);
    }
}

static void test_direction(void **state)
{
    for (int packed = 0; packed < 2; packed++) {
        for (int receives = 0; receives < 2; receives++) {
            uint16_t right = receives ? 0 : WRITE, wrong = receives ? WRITE : 0;
            struct guest *guest = new_guest(packed, receives, &plain);
            put(guest, &(struct raw){BUFFERS, 200, wrong}, 1);
            expect(guest, VRING_ERROR_DIRECTION);
            guest = new_guest(packed, receives, &plain);
            put(guest, (struct raw[]){{BUFFERS, 12, right | NEXT}, {BUFFERS, 200, wrong}}, 2);
            expect(guest, VRING_ERROR_DIRECTION);
            guest = new_guest(packed, receives, &plain);
            guest_add(guest, (struct guest_piece[]){{BUFFERS, 12, !receives}, {BUFFERS + 12, 200, receives}},
                      2, GUEST_INDIRECT);
            expect(guest, VRING_ERROR_DIRECTION);
        }
    }
}

static void test_chain_loop(void **state)
{
    struct raw raw[8];
    for (unsigned i = 0; i < 8; i++)
        raw[i] = (struct raw){BUFFERS, 1, NEXT};
    /* Split: the eighth points to slot 0. Packed: the chain has no end. */
    for (int packed = 0; packed < 2; packed++) {
        for (int receives = 0; receives < 2; receives++) {
            struct guest *guest = new_guest(packed, receives, &plain);
            for (unsigned i = 0; i < 8; i++)
                raw[i].flags = receives ? NEXT : NEXT | WRITE;
            put(guest, raw, 8);
            if (!packed)
                guest_desc(guest, 7, BUFFERS, 1, raw[7].flags, 0);
            expect(guest, VRING_ERROR_CHAIN_LOOP);
            guest = new_guest(packed, receives, &plain);
            put(guest, raw, 8);
            if (!packed) { /* a descriptor that points to itself, empty so that nothing else ends it */
                guest_desc(guest, 0, BUFFERS, 0, raw[0].flags, 0);
                expect(guest, VRING_ERROR_CHAIN_LOOP);
            } else {
                guest_free(guest);
            }
        }
    }
    /* In a table. */
    for (int receives = 0; receives < 2; receives++) {
        struct guest *guest = new_guest(false, receives, &plain);
        uint16_t flags = receives ? NEXT : NEXT | WRITE;
        uint64_t table = BUFFERS + 4096, address = BUFFERS;
        uint32_t length = 0;
        uint16_t next = 0;
        memcpy(guest_at(guest, table), &address, 8);
        memcpy(guest_at(guest, table + 8), &length, 4);
        memcpy(guest_at(guest, table + 12), &flags, 2);
        memcpy(guest_at(guest, table + 14), &next, 2);
        put(guest, &(struct raw){table, 64, INDIRECT}, 1);
        expect(guest, VRING_ERROR_CHAIN_LOOP);
    }
}

/* Packed: a chain that runs into slots of buffers of the same batch. */
static void test_chain_overrun_packed(void **state)
{
    struct guest *guest = new_guest(true, true, &plain);
    for (unsigned i = 0; i < 7; i++)
        guest_desc(guest, i, BUFFERS, 60, 1, 0x80);
    guest_desc(guest, 7, BUFFERS, 60, 1, 0x80 | NEXT);
    expect(guest, VRING_ERROR_CHAIN_LOOP);
}

static void test_split_indexes(void **state)
{
    for (int receives = 0; receives < 2; receives++) {
        static const uint16_t heads[] = {8, 9, 0x7fff, 0xffff}, jumps[] = {9, 100, 0x8000, 0xffff};
        for (unsigned i = 0; i < 4; i++) {
            struct guest *guest = new_guest(false, receives, &plain);
            put(guest, &(struct raw){BUFFERS, 200, receives ? 0 : WRITE}, 1);
            guest_set16(guest->driver + 4, heads[i]);
            expect(guest, VRING_ERROR_HEAD_RANGE);

            guest = new_guest(false, receives, &plain);
            put(guest, &(struct raw){BUFFERS, 200, receives ? 0 : WRITE}, 1);
            guest->avail = jumps[i];
            expect(guest, VRING_ERROR_INDEX_JUMP);

            guest = new_guest(false, receives, &plain);
            put(guest, &(struct raw){BUFFERS, 20, (receives ? 0 : WRITE) | NEXT}, 1);
            guest_desc(guest, 0, BUFFERS, 20, (receives ? 0 : WRITE) | NEXT, heads[i]);
            expect(guest, VRING_ERROR_CHAIN_NEXT);

            /* beyond the table, within the ring */
            guest = new_guest(false, receives, &plain);
            uint8_t entry[16] = {0};
            uint64_t address = BUFFERS;
            memcpy(entry, &address, 8);
            entry[8] = 20;
            entry[12] = (receives ? 0 : WRITE) | NEXT;
            entry[14] = 3;
            memcpy(guest_at(guest, BUFFERS + 4096), entry, 16);
            put(guest, &(struct raw){BUFFERS + 4096, 48, INDIRECT}, 1);
            expect(guest, VRING_ERROR_CHAIN_NEXT);
        }
    }
}

static void test_indirect(void **state)
{
    static const uint32_t lengths[] = {0, 1, 15, 17, 16 * 4096 + 16, 0xffffffff, 0xfffffff0};
    const struct hostile off = {.without = VRING_F_INDIRECT_DESC};
    for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
        each_kind(&(struct raw){BUFFERS, lengths[i], INDIRECT}, 1, &plain, true, VRING_ERROR_INDIRECT);
    each_kind(&(struct raw){BUFFERS, 64, INDIRECT | NEXT}, 1, &plain, true, VRING_ERROR_INDIRECT);
    each_kind(&(struct raw){BUFFERS, 64, INDIRECT}, 1, &off, true, VRING_ERROR_INDIRECT);
    /* nested */
    for (int packed = 0; packed < 2; packed++) {
        for (int receives = 0; receives < 2; receives++) {
            struct guest *guest = new_guest(packed, receives, &plain);
            uint64_t inner = BUFFERS + 8192;
            uint8_t entry[16] = {0};
            memcpy(entry, &inner, 8);
            entry[8] = 64;
            entry[packed ? 14 : 12] = INDIRECT;
            memcpy(guest_at(guest, BUFFERS + 4096), entry, 16);
            put(guest, &(struct raw){BUFFERS + 4096, 64, INDIRECT}, 1);
            expect(guest, VRING_ERROR_INDIRECT);
        }
    }
    /* packed: in the middle of a chain (2.8.8) */
    struct guest *guest = new_guest(true, true, &plain);
    put(guest, (struct raw[]){{BUFFERS, 12, NEXT}, {BUFFERS, 64, INDIRECT}}, 2);
    expect(guest, VRING_ERROR_INDIRECT);
}

static void test_runt_buffers(void **state)
{
    for (int packed = 0; packed < 2; packed++) {
        for (int merge = 0; merge < 2; merge++) {
            const struct hostile hostile = {.features = merge ? VRING_F_MRG_RXBUF : 0};
            for (uint32_t size = 0; size < 12; size++) {
                struct guest *guest = new_guest(packed, false, &hostile);
                put(guest, &(struct raw){BUFFERS, size, WRITE}, 1);
                expect(guest, VRING_ERROR_BUFFER_RUNT);
                guest = new_guest(packed, false, &hostile);
                put(guest, (struct raw[]){{BUFFERS, size, WRITE | NEXT}, {BUFFERS, 0, WRITE}}, 2);
                expect(guest, VRING_ERROR_BUFFER_RUNT);
            }
        }
    }
}

/* A budget bounds what a guest of long empty chains costs a round, and its frames still come. */
static void test_budget(void **state)
{
    for (int packed = 0; packed < 2; packed++) {
        const struct hostile hostile = {.size = 256};
        struct guest *guest = new_guest(packed, true, &hostile);
        struct packet_vector *vector = vector_new();
        struct guest_piece pieces[4096];
        for (unsigned i = 0; i < 4096; i++)
            pieces[i] = (struct guest_piece){BUFFERS, i == 4095 ? 60 : 0, false};
        for (unsigned i = 0; i < 15; i++)
            assert_true(guest_add(guest, pieces, 4096, GUEST_INDIRECT) >= 0);
        guest_publish(guest);
        unsigned received = 0;
        while (received < 15) {
            unsigned count = vring_rx(guest->ring, vector);
            assert_in_range(count, 1, 3);
            received += count;
            vring_rx_done(guest->ring, NULL);
        }
        assert_int_equal(vring_broken(guest->ring), VRING_ERROR_NONE);
        guest_free(guest);
        free(vector);
    }
}

/* The file is truncated under a running ring. */
static void test_memory_gone(void **state)
{
    assert_int_equal(memory_process_init(), 0);
    for (int packed = 0; packed < 2; packed++) {
        for (int receives = 0; receives < 2; receives++) {
            struct packet_vector *vector = vector_new();
            struct packet *packet = packet_make(frame, 100, 128, 1);
            struct vring_tx_result result;
            struct guest *guest = new_guest(packed, receives, &plain),
                         *other = new_guest(packed, true, &plain);
            put(guest, &(struct raw){BUFFERS, 200, receives ? 0 : WRITE}, 1);
            guest_publish(guest);
            assert_int_equal(ftruncate(guest->fd, 0), 0);
            if (receives) {
                (void)vring_rx(guest->ring, vector);
                vring_rx_done(guest->ring, NULL);
                assert_int_equal(vring_rx(guest->ring, vector), 0);
            } else {
                vring_tx(guest->ring, &packet, 1, NULL, &result);
                vring_tx(guest->ring, &packet, 1, NULL, &result);
                assert_int_equal(result.no_room, 1);
            }
            assert_int_equal(vring_broken(guest->ring), VRING_ERROR_MEMORY_GONE);
            assert_true(memory_dead(guest->table));
            /* the neighbour goes on */
            put(other, &(struct raw){BUFFERS, 200, 0}, 1);
            guest_publish(other);
            assert_int_equal(vring_rx(other->ring, vector), 1);
            assert_false(memory_dead(other->table));
            guest_free(other);
            guest_free(guest);
            free(vector);
            packet_free(packet);
        }
    }
}

/* Sizes, alignments and positions that cannot be. */
static void test_start_refuses(void **state)
{
    struct guest *guest = new_guest(false, true, &plain);
    struct vring *ring = vring_new(true, false);
    uint8_t *area = memory_user_range(guest->table, GUEST_USER, 4096 * 40);
    const struct vring_config good = {.size = 256,
                                      .features = VRING_F_VERSION_1,
                                      .memory = guest->table,
                                      .desc = area,
                                      .driver = area + 8192,
                                      .device = area + 16384,
                                      .call_fd = -1};
    struct vring_config bad[12];
    unsigned count = 0;
    for (unsigned i = 0; i < 12; i++)
        bad[i] = good;
    bad[count++].size = 0;
    bad[count++].size = 255;
    bad[count++].size = 8192;
    bad[count++].desc = area + 8;
    bad[count++].driver = area + 8193;
    bad[count++].device = area + 16386;
    bad[count++].desc = NULL;
    bad[count++].memory = NULL;
    bad[count].features |= VRING_F_RING_PACKED;
    bad[count++].driver = area + 8194;
    bad[count].features |= VRING_F_RING_PACKED;
    bad[count++].base_used = 256;
    bad[count].features |= VRING_F_RING_PACKED;
    bad[count++].size = 4097;
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(vring_start(ring, &bad[i]), -22);
        assert_false(vring_started(ring));
    }
    assert_int_equal(vring_start(ring, &good), 0);
    assert_int_equal(vring_start(ring, &good), -16);
    uint16_t base, used;
    vring_stop(ring, &base, &used);
    vring_free(ring);
    guest_free(guest);
}

int main(void)
{
    random_bytes(frame, sizeof(frame));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),     cmocka_unit_test(test_direction),
        cmocka_unit_test(test_chain_loop),    cmocka_unit_test(test_chain_overrun_packed),
        cmocka_unit_test(test_split_indexes), cmocka_unit_test(test_indirect),
        cmocka_unit_test(test_runt_buffers),  cmocka_unit_test(test_budget),
        cmocka_unit_test(test_memory_gone),   cmocka_unit_test(test_start_refuses),
    };
    return cmocka_run_group_tests_name("vring_hostile", tests, NULL, NULL);
}
