/* SPDX-License-Identifier: BSD-3-Clause */
/* PCI configuration space, MSI-X and the virtio transport's registers, with the entropy device and without
 * KVM. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <unistd.h>
#include "layout.h"
#include "rng.h"
#include "vmm_bench.h"

#define RAM_SIZE  (2u << 20)
#define RING      0x100000ull
#define BUFFER    0x180000ull
#define MSIX_CTRL 0x11u

struct fixture {
    struct bench bench;
    struct rng *rng;
    struct virtio *virtio;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    if (bench_init(&fixture->bench, RAM_SIZE))
        return -1;
    fixture->rng = rng_new(&fixture->bench.host);
    fixture->virtio = rng_virtio(fixture->rng);
    *state = fixture;
    return fixture->rng ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    rng_free(fixture->rng);
    bench_free(&fixture->bench);
    free(fixture);
    return 0;
}

static uint8_t find_capability(struct fixture *fixture, uint8_t id)
{
    uint32_t at = bench_config(&fixture->bench, fixture->virtio, 0x34, 1);
    while (at && bench_config(&fixture->bench, fixture->virtio, at, 1) != id)
        at = bench_config(&fixture->bench, fixture->virtio, at + 1, 1);
    return (uint8_t)at;
}

static void identity_and_bar(void **state)
{
    struct fixture *fixture = *state;
    struct bench *bench = &fixture->bench;
    struct virtio *virtio = fixture->virtio;
    assert_int_equal(bench_config(bench, virtio, 0, 4), 0x10441af4);
    bench_set_config(bench, virtio, 0, 0, 4);
    assert_int_equal(bench_config(bench, virtio, 0, 4), 0x10441af4);
    uint32_t address = bench_config(bench, virtio, 0x10, 4);
    assert_ptr_equal(pci_bar_at(&bench->bus, address, 4), &virtio->pci);
    assert_ptr_equal(pci_bar_at(&bench->bus, address + 0x7ffc, 4), &virtio->pci);
    assert_null(pci_bar_at(&bench->bus, address + 0x7ffd, 4));
    assert_null(pci_bar_at(&bench->bus, address - 1, 4));
    bench_set_config(bench, virtio, 0x10, 0xffffffff, 4); /* sizing */
    assert_int_equal(bench_config(bench, virtio, 0x10, 4), 0xffff8000);
    bench_set_config(bench, virtio, 0x10, 0xd0000000, 4);
    assert_ptr_equal(pci_bar_at(&bench->bus, 0xd0000000, 1), &virtio->pci);
    bench_set_config(bench, virtio, 4, 0, 2); /* memory decoding off */
    assert_null(pci_bar_at(&bench->bus, 0xd0000000, 1));
    virtio_machine_reset(virtio);
    assert_ptr_equal(pci_bar_at(&bench->bus, address, 4), &virtio->pci);
}

/* The same registers by ECAM and by CF8/CFC; nothing where there is nothing. */
static void two_ways_to_configuration(void **state)
{
    struct fixture *fixture = *state;
    struct pci_bus *bus = &fixture->bench.bus;
    for (uint32_t slot = 0; slot < 3; slot++)
        for (uint32_t reg = 0; reg < 256; reg += 4) {
            pci_port_write(bus, 0xcf8, 0x80000000u | slot << 11 | reg, 4);
            uint32_t by_port = pci_port_read(bus, 0xcfc, 4);
            assert_int_equal(by_port, (uint32_t)pci_ecam_read(bus, slot << 15 | reg, 4));
            assert_int_equal(pci_port_read(bus, 0xcfe, 1) & 0xff, by_port >> 16 & 0xff);
            if (slot == 2)
                assert_int_equal(by_port, UINT32_MAX);
        }
    assert_int_equal(pci_ecam_read(bus, 1 << 15 | 0x100, 4), 0);                      /* extended space */
    assert_int_equal((uint32_t)pci_ecam_read(bus, 1 << 15 | 1 << 12, 4), UINT32_MAX); /* function 1 */
    assert_int_equal((uint32_t)pci_ecam_read(bus, 1 << 20, 4), UINT32_MAX);           /* bus 1 */
    pci_port_write(bus, 0xcf8, 1 << 11, 4);                                           /* not enabled */
    assert_int_equal(pci_port_read(bus, 0xcfc, 4), UINT32_MAX);
}

static void features_and_status(void **state)
{
    struct virtio *virtio = ((struct fixture *)*state)->virtio;
    bench_write(virtio, 0, 1, 4);
    assert_int_equal(bench_read(virtio, 4, 4), 1); /* VERSION_1 */
    bench_write(virtio, 0, 2, 4);
    assert_int_equal(bench_read(virtio, 4, 4), 0);
    bench_write(virtio, 0x14, 3, 1);
    bench_write(virtio, 0x14, 11, 1); /* without VERSION_1 */
    assert_int_equal(bench_read(virtio, 0x14, 1), 3);
    bench_write(virtio, 8, 1, 4);
    bench_write(virtio, 0xc, 0x80000001, 4); /* a feature that was not offered */
    bench_write(virtio, 0x14, 11, 1);
    assert_int_equal(bench_read(virtio, 0x14, 1), 3);
    bench_write(virtio, 0xc, 1, 4);
    bench_write(virtio, 0x14, 11, 1);
    assert_int_equal(bench_read(virtio, 0x14, 1), 11);
    bench_write(virtio, 0xc, 0, 4); /* too late */
    assert_int_equal(bench_read(virtio, 0xc, 4), 1);
    bench_write(virtio, 0x14, 0, 1);
    assert_int_equal(bench_read(virtio, 0x14, 1), 0);
    assert_int_equal(bench_read(virtio, 0xc, 4), 0);
}

static void queue_registers(void **state)
{
    struct virtio *virtio = ((struct fixture *)*state)->virtio;
    assert_int_equal(bench_read(virtio, 0x12, 2), 1);
    assert_int_equal(bench_read(virtio, 0x18, 2), 64);
    const uint16_t bad[] = {0, 3, 63, 128, 65535};
    for (unsigned i = 0; i < 5; i++) {
        bench_write(virtio, 0x18, bad[i], 2);
        assert_int_equal(bench_read(virtio, 0x18, 2), 64);
    }
    bench_write(virtio, 0x18, 16, 2);
    assert_int_equal(bench_read(virtio, 0x18, 2), 16);
    bench_write(virtio, 0x20, 0x1234567890abcdef, 8);
    assert_int_equal(bench_read(virtio, 0x20, 4), 0x90abcdef);
    assert_int_equal(bench_read(virtio, 0x24, 4), 0x12345678);
    bench_write(virtio, 0x24, 1, 4);
    assert_int_equal(bench_read(virtio, 0x24, 4), 1);
    bench_write(virtio, 0x1a, 7, 2); /* no such vector */
    assert_int_equal(bench_read(virtio, 0x1a, 2), 0xffff);
    bench_write(virtio, 0x1a, 1, 2);
    assert_int_equal(bench_read(virtio, 0x1a, 2), 1);
    bench_write(virtio, 0x16, 1, 2); /* no such queue */
    assert_int_equal(bench_read(virtio, 0x18, 2), 0);
    bench_write(virtio, 0x18, 16, 2);
    bench_write(virtio, 0x16, 0, 2);
    bench_write(virtio, 0x1c, 1, 2);
    bench_write(virtio, 0x18, 8, 2); /* a ring in use keeps its size and place */
    bench_write(virtio, 0x20, 0, 8);
    assert_int_equal(bench_read(virtio, 0x18, 2), 16);
    assert_int_equal(bench_read(virtio, 0x20, 4), 0x90abcdef);
}

/* A ring that is not wholly in RAM, or not aligned, is refused at DRIVER_OK. */
static void rings_outside_ram(void **state)
{
    struct virtio *virtio = ((struct fixture *)*state)->virtio;
    const uint64_t bad[] = {RAM_SIZE, RAM_SIZE - 0x8000, UINT64_MAX - 15,
                            RING + 8, LAYOUT_ECAM,       LAYOUT_HIGH_RAM};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        bench_start(virtio, 0, 64, bad[i]);
        assert_int_equal(bench_read(virtio, 0x14, 1), 0x4f);
        assert_false(virtio->started);
        bench_write(virtio, 0x14, 0, 1);
        assert_int_equal(bench_read(virtio, 0x14, 1), 0);
    }
    bench_start(virtio, 0, 64, RING);
    assert_int_equal(bench_read(virtio, 0x14, 1), 15);
    assert_true(virtio->started);
}

struct ring_desc {
    uint64_t address;
    uint32_t size;
    uint16_t flags, next;
};

static void put_request(struct fixture *fixture, uint16_t index, struct ring_desc desc)
{
    uint8_t *ram = fixture->bench.ram.host;
    memcpy(ram + RING + 16u * index, &desc, sizeof(desc));
    memcpy(ram + RING + 0x4000 + 4 + 2u * index, &index, 2);
    uint16_t next = (uint16_t)(index + 1);
    memcpy(ram + RING + 0x4000 + 2, &next, 2);
}

static bool interrupted(struct virtio *virtio)
{
    uint64_t count;
    return read(virtio->queues[0].call_fd, &count, sizeof(count)) == sizeof(count);
}

static void a_request_is_served(void **state)
{
    struct fixture *fixture = *state;
    uint8_t *ram = fixture->bench.ram.host;
    bench_set_config(&fixture->bench, fixture->virtio, find_capability(fixture, MSIX_CTRL) + 2u, 0x8000, 2);
    bench_start(fixture->virtio, 0, 64, RING);
    put_request(fixture, 0, (struct ring_desc){BUFFER, 64, 2, 0});
    bench_write(fixture->virtio, 0x3000, 0, 2);
    loop_poll(fixture->bench.loop);
    uint32_t used[3];
    memcpy(used, ram + RING + 0x8000, sizeof(used));
    assert_int_equal(used[0] >> 16, 1);
    assert_int_equal(used[1], 0);
    assert_int_equal(used[2], 64);
    assert_true(interrupted(fixture->virtio));
    ram[RING + 0x4000] = 1; /* VRING_AVAIL_F_NO_INTERRUPT */
    put_request(fixture, 1, (struct ring_desc){BUFFER, 64, 2, 0});
    bench_write(fixture->virtio, 0x3000, 0, 2);
    loop_poll(fixture->bench.loop);
    assert_int_equal(ram[RING + 0x8002], 2);
    assert_false(interrupted(fixture->virtio));
}

/* Without MSI-X the interrupt is the ISR register and the pin. */
static void interrupt_pin(void **state)
{
    struct fixture *fixture = *state;
    unsigned pin = LAYOUT_IRQ_PCI + fixture->virtio->pci.slot % 8;
    bench_start(fixture->virtio, 0, 64, RING);
    put_request(fixture, 0, (struct ring_desc){BUFFER, 64, 2, 0});
    bench_write(fixture->virtio, 0x3000, 0, 2);
    for (unsigned i = 0; i < 3; i++)
        loop_poll(fixture->bench.loop);
    assert_true(fixture->bench.irq.lines_high >> pin & 1);
    bench_set_config(&fixture->bench, fixture->virtio, 4, 0x406, 2); /* INTx disabled */
    assert_false(fixture->bench.irq.lines_high >> pin & 1);
    bench_set_config(&fixture->bench, fixture->virtio, 4, 6, 2);
    assert_true(fixture->bench.irq.lines_high >> pin & 1);
    assert_int_equal(bench_read(fixture->virtio, 0x1000, 1), 1);
    assert_int_equal(bench_read(fixture->virtio, 0x1000, 1), 0);
    assert_false(fixture->bench.irq.lines_high >> pin & 1);
}

/* What is signalled while a vector is masked is pending, and is still there when it is unmasked. */
static void masked_vector(void **state)
{
    struct fixture *fixture = *state;
    struct virtio *virtio = fixture->virtio;
    uint8_t at = find_capability(fixture, MSIX_CTRL);
    bench_set_config(&fixture->bench, virtio, at + 2u, 0x8000, 2);
    bench_start(virtio, 0, 64, RING);
    bench_write(virtio, 0x1a, 1, 2);
    assert_false(virtio->queues[0].bound); /* entries start masked */
    put_request(fixture, 0, (struct ring_desc){BUFFER, 64, 2, 0});
    bench_write(virtio, 0x3000, 0, 2);
    loop_poll(fixture->bench.loop);
    assert_int_equal(bench_read(virtio, 0x5000, 8), 2);
    bench_write(virtio, 0x4010, 0xfee00000, 4);
    bench_write(virtio, 0x401c, 0, 4);
    assert_true(virtio->queues[0].bound);
    assert_int_equal(bench_read(virtio, 0x5000, 8), 0);
    bench_set_config(&fixture->bench, virtio, at + 2u, 0xc000, 2); /* the whole function */
    assert_false(virtio->queues[0].bound);
    bench_set_config(&fixture->bench, virtio, at + 2u, 0x8000, 2);
    assert_true(virtio->queues[0].bound);
    bench_write(virtio, 0x14, 0, 1);
    assert_false(virtio->queues[0].bound);
}

static void malformed_request(void **state)
{
    struct fixture *fixture = *state;
    const struct ring_desc bad[] = {
        {RAM_SIZE - 8, 64, 2, 0}, {UINT64_MAX - 8, 64, 2, 0}, {BUFFER, 0, 2, 0},
        {BUFFER, 64, 3, 0},       {BUFFER, 64, 3, 64},        {BUFFER, 64, 3, 65535},
        {BUFFER, 24, 4, 0},       {BUFFER, 0, 4, 0},          {BUFFER, 32, 5, 0}};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        memset(fixture->bench.ram.host, 0, RAM_SIZE);
        bench_start(fixture->virtio, 0, 64, RING);
        put_request(fixture, 0, bad[i]);
        bench_write(fixture->virtio, 0x3000, 0, 2);
        loop_poll(fixture->bench.loop);
        assert_int_equal(bench_read(fixture->virtio, 0x14, 1), 0x4f);
        bench_write(fixture->virtio, 0x14, 0, 1);
    }
}

/* VIRTIO_PCI_CAP_PCI_CFG: the BAR through configuration space. */
static void configuration_window(void **state)
{
    struct fixture *fixture = *state;
    struct bench *bench = &fixture->bench;
    uint32_t at = fixture->virtio->cfg_capability;
    bench_set_config(bench, fixture->virtio, at + 8, 0x14, 4);
    bench_set_config(bench, fixture->virtio, at + 12, 1, 4);
    bench_set_config(bench, fixture->virtio, at + 16, 3, 1);
    assert_int_equal(bench_read(fixture->virtio, 0x14, 1), 3);
    bench_write(fixture->virtio, 0x14, 0, 1);
    assert_int_equal(bench_config(bench, fixture->virtio, at + 16, 1), 0);
    bench_set_config(bench, fixture->virtio, at + 8, 0xfffffffc, 4); /* beyond the BAR */
    bench_set_config(bench, fixture->virtio, at + 12, 4, 4);
    bench_set_config(bench, fixture->virtio, at + 16, 0x55, 4);
    bench_set_config(bench, fixture->virtio, at + 12, 3, 4); /* no such width */
    bench_config(bench, fixture->virtio, at + 16, 4);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(identity_and_bar),    TEST(two_ways_to_configuration),
        TEST(features_and_status), TEST(queue_registers),
        TEST(rings_outside_ram),   TEST(a_request_is_served),
        TEST(interrupt_pin),       TEST(masked_vector),
        TEST(malformed_request),   TEST(configuration_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
