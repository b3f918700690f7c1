/* SPDX-License-Identifier: BSD-3-Clause */
/* Interrupts to the guest and kicks from it: flags, event index, packed event suppression, the notifier. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>
#include "vring_guest.h"

#define BUFFERS (GUEST_BASE + GUEST_TABLES)

static uint64_t read_event(int fd)
{
    uint64_t value = 0;
    return read(fd, &value, sizeof(value)) == sizeof(value) ? value : 0;
}

struct fixture {
    struct guest *guest;
    struct notifier *notifier;
    struct packet_vector *vector;
    struct packet *packet;
    int call;
};

static struct fixture fixture_new(bool packed, bool receives, uint64_t features, uint16_t size, uint16_t base)
{
    struct fixture fixture = {
        .notifier = notifier_new(), .vector = vector_new(), .call = eventfd(0, EFD_NONBLOCK)};
    uint8_t bytes[64] = {0};
    assert_non_null(fixture.notifier);
    fixture.packet = packet_make(bytes, sizeof(bytes), 128, 1);
    fixture.guest = guest_new(&(struct guest_setup){.packed = packed,
                                                    .receives = receives,
                                                    .size = size,
                                                    .features = features,
                                                    .base = base,
                                                    .call_fd = fixture.call});
    return fixture;
}

static void fixture_free(struct fixture *fixture)
{
    guest_free(fixture->guest);
    notifier_free(fixture->notifier);
    free(fixture->vector);
    packet_free(fixture->packet);
    close(fixture->call);
}

/* `count` buffers through the ring in one batch. Whether the guest was interrupted. */
static bool batch(struct fixture *fixture, unsigned count)
{
    struct guest *guest = fixture->guest;
    struct packet *packets[PACKET_VECTOR_MAX];
    struct guest_piece piece = {BUFFERS, 100, !guest->setup.receives};
    for (unsigned i = 0; i < count; i++) {
        assert_true(guest_add(guest, &piece, 1, GUEST_DIRECT) >= 0);
        packets[i] = fixture->packet;
    }
    guest_publish(guest);
    if (guest->setup.receives) {
        assert_int_equal(vring_rx(guest->ring, fixture->vector), count);
        vring_rx_done(guest->ring, fixture->notifier);
    } else {
        struct vring_tx_result result;
        vring_tx(guest->ring, packets, count, fixture->notifier, &result);
        assert_int_equal(result.sent, count);
    }
    uint16_t id;
    uint32_t size;
    for (unsigned i = 0; i < count; i++)
        assert_true(guest_used(guest, &id, &size));
    unsigned signalled = notifier_flush(fixture->notifier);
    uint64_t value = read_event(fixture->call);
    assert_int_equal(value, signalled);
    return value == 1;
}

#define FOR_EACH_KIND                                                                                        \
    for (int packed = 0; packed < 2; packed++)                                                               \
        for (int receives = 0; receives < 2; receives++)

static void test_flags(void **state)
{
    FOR_EACH_KIND
    {
        struct fixture fixture = fixture_new(packed, receives, 0, 16, packed ? 0x8000 : 0);
        uint8_t *flags = fixture.guest->driver + (packed ? 2 : 0);
        for (unsigned round = 0; round < 20; round++) {
            guest_set16(flags, round % 3 == 0);
            assert_int_equal(batch(&fixture, 1 + round % 5), round % 3 != 0);
        }
        /* Several batches before a flush: one signal. */
        guest_set16(flags, 0);
        struct guest_piece piece = {BUFFERS, 100, !receives};
        for (unsigned i = 0; i < 3; i++) {
            struct vring_tx_result result;
            guest_add(fixture.guest, &piece, 1, GUEST_DIRECT);
            guest_publish(fixture.guest);
            if (receives) {
                assert_int_equal(vring_rx(fixture.guest->ring, fixture.vector), 1);
                vring_rx_done(fixture.guest->ring, fixture.notifier);
            } else {
                vring_tx(fixture.guest->ring, &fixture.packet, 1, fixture.notifier, &result);
            }
        }
        assert_int_equal(notifier_flush(fixture.notifier), 1);
        assert_int_equal(read_event(fixture.call), 1);
        assert_int_equal(notifier_flush(fixture.notifier), 0);
        fixture_free(&fixture);
    }
}

/* The driver asks to hear when the used position passes a place; positions counted here without wrapping. */
static void test_event_index(void **state)
{
    FOR_EACH_KIND
    {
        for (unsigned size = packed ? 5 : 8; size <= 130; size += packed ? 25 : size) {
            uint16_t base = packed ? 0x8000 | 3 : 65530;
            struct fixture fixture = fixture_new(packed, receives, VRING_F_EVENT_IDX, (uint16_t)size, base);
            uint64_t position = packed ? 3 : 65530, wanted;
            for (unsigned round = 0; round < 500; round++) {
                unsigned count = 1 + random_below(size < 60 ? size : 60);
                /* somewhere from just behind to a little ahead of what this batch covers */
                wanted = position - 1 + random_below(count + size / 2);
                if (packed) {
                    bool wrap = (wanted / size) % 2 == 0;
                    guest_set16(fixture.guest->driver, (uint16_t)(wanted % size | (unsigned)wrap << 15));
                    guest_set16(fixture.guest->driver + 2, 2);
                    if (wanted >= position + size) /* not one lap ahead: the format cannot say so */
                        continue;
                } else {
                    guest_set16(fixture.guest->driver + 4 + 2 * size, (uint16_t)wanted);
                }
                bool expected = wanted >= position && wanted < position + count;
                assert_int_equal(batch(&fixture, count), expected);
                position += count;
            }
            fixture_free(&fixture);
        }
    }
}

/* Packed without the feature: DESC is not to be relied upon, so the guest is told. DISABLE and ENABLE work
 * with it. */
static void test_packed_suppression(void **state)
{
    struct fixture fixture = fixture_new(true, true, 0, 8, 0x8000);
    guest_set16(fixture.guest->driver + 2, 2);
    assert_true(batch(&fixture, 1));
    fixture_free(&fixture);
    fixture = fixture_new(true, true, VRING_F_EVENT_IDX, 8, 0x8000);
    guest_set16(fixture.guest->driver + 2, 1);
    assert_false(batch(&fixture, 1));
    guest_set16(fixture.guest->driver + 2, 0);
    assert_true(batch(&fixture, 1));
    fixture_free(&fixture);
}

static bool guest_would_kick(struct guest *guest, uint16_t old)
{
    if (guest->setup.packed)
        return guest_get16(guest->device + 2) != 1;
    if (guest->setup.features & VRING_F_EVENT_IDX) {
        uint16_t event = guest_get16(guest->device + 4 + 8ul * guest->setup.size);
        return (uint16_t)(guest->avail - event - 1) < (uint16_t)(guest->avail - old);
    }
    return !(guest_get16(guest->device) & 1);
}

static void test_kicks(void **state)
{
    FOR_EACH_KIND
    {
        for (int event_idx = 0; event_idx < 2; event_idx++) {
            struct fixture fixture =
                fixture_new(packed, receives, event_idx ? VRING_F_EVENT_IDX : 0, 16, packed ? 0x8000 : 65530);
            struct guest *guest = fixture.guest;
            struct guest_piece piece = {BUFFERS, 100, !receives};
            uint16_t id, old = guest->avail;
            uint32_t size;
            /* A ring that receives starts with kicks on, for a worker that sleeps. */
            guest_add(guest, &piece, 1, GUEST_DIRECT);
            guest_publish(guest);
            assert_int_equal(guest_would_kick(guest, old), receives);
            if (receives) {
                assert_int_equal(vring_rx(guest->ring, fixture.vector), 1);
                vring_rx_done(guest->ring, fixture.notifier);
                assert_true(guest_used(guest, &id, &size));
                old = guest->avail;
                batch(&fixture, 3);
                assert_false(guest_would_kick(guest, old)); /* polling */
                assert_false(vring_arm(guest->ring));
                old = guest->avail;
                guest_add(guest, &piece, 1, GUEST_DIRECT);
                guest_publish(guest);
                assert_true(guest_would_kick(guest, old));
                assert_true(vring_arm(guest->ring)); /* there is work now */
                vring_disarm(guest->ring);
                old = guest->avail;
                guest_add(guest, &piece, 1, GUEST_DIRECT);
                guest_publish(guest);
                assert_false(guest_would_kick(guest, old));
                for (unsigned received = 0; received < 2;) { /* the index may be looked at again in between */
                    unsigned count = vring_rx(guest->ring, fixture.vector);
                    assert_in_range(count, 1, 2);
                    received += count;
                    vring_rx_done(guest->ring, fixture.notifier);
                }
            }
            fixture_free(&fixture);
        }
    }
}

/* Bad descriptors in the middle of a batch cost their own signal only; a full counter blocks nobody. */
static void test_notifier(void **state)
{
    struct notifier *notifier = notifier_new();
    struct packet_vector *vector = vector_new();
    enum { COUNT = 300 };
    static struct guest *guests[COUNT];
    static int fds[COUNT];
    uint64_t full = UINT64_MAX - 1;
    int null_fd = open("/dev/null", O_RDWR);
    for (unsigned i = 0; i < COUNT; i++) {
        fds[i] = i % 7 == 1 ? dup(null_fd) : eventfd(0, i % 7 == 2 ? 0 : EFD_NONBLOCK);
        assert_true(fds[i] >= 0);
        guests[i] = guest_new(
            &(struct guest_setup){.receives = true, .size = 4, .call_fd = fds[i], .memory = 2u << 20});
        guest_add(guests[i], &(struct guest_piece){BUFFERS, 60, false}, 1, GUEST_DIRECT);
        guest_publish(guests[i]);
        if (i % 7 == 2) /* blocking and full: a write(2) would never return */
            assert_int_equal(write(fds[i], &full, sizeof(full)), sizeof(full));
        if (i % 7 == 3)
            close(fds[i]);
    }
    for (unsigned round = 0; round < 3; round++) {
        unsigned expected = 0;
        for (unsigned i = 0; i < COUNT; i++) {
            if (round > 0) {
                guest_add(guests[i], &(struct guest_piece){BUFFERS, 60, false}, 1, GUEST_DIRECT);
                guest_publish(guests[i]);
            }
            assert_int_equal(vring_rx(guests[i]->ring, vector), 1);
            vring_rx_done(guests[i]->ring, notifier);
            expected += i % 7 != 1 && i % 7 != 3;
        }
        unsigned last = notifier_flush(notifier); /* an earlier flush happened when the batch was full */
        assert_in_range(last, 1, expected);
        for (unsigned i = 0; i < COUNT; i++)
            if (i % 7 != 1 && i % 7 != 2 && i % 7 != 3)
                assert_int_equal(read_event(fds[i]), 1);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        guest_free(guests[i]);
        if (i % 7 != 3)
            close(fds[i]);
    }
    close(null_fd);
    /* More signals than the completion ring holds, one at a time. */
    int fd = eventfd(0, EFD_NONBLOCK);
    struct guest *guest = guest_new(&(struct guest_setup){.receives = true, .size = 4, .call_fd = fd});
    for (unsigned i = 0; i < 3000; i++) {
        uint16_t id;
        uint32_t size;
        guest_add(guest, &(struct guest_piece){BUFFERS, 60, false}, 1, GUEST_DIRECT);
        guest_publish(guest);
        assert_int_equal(vring_rx(guest->ring, vector), 1);
        vring_rx_done(guest->ring, notifier);
        assert_true(guest_used(guest, &id, &size));
        assert_int_equal(notifier_flush(notifier), 1);
    }
    assert_int_equal(read_event(fd), 3000);
    guest_free(guest);
    close(fd);
    free(vector);
    notifier_free(notifier);
    notifier_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_event_index),
        cmocka_unit_test(test_packed_suppression),
        cmocka_unit_test(test_kicks),
        cmocka_unit_test(test_notifier),
    };
    return cmocka_run_group_tests_name("vring_notify", tests, NULL, NULL);
}
