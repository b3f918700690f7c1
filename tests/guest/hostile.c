/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a guest may try against its machine. pattern=all, or one of the names below. After each the entropy
 * device must still serve an ordinary driver: the machine answers, or stops one device until it is reset, and
 * nothing else.
 */
#include "guest.h"

#define WILD 0xfffffffffffff000ull

static uint64_t rounds;

/* Nothing here may harm this guest itself: what a device is told to write to lies outside RAM or in the
 * scratch area. */
#define SCRATCH      (48ull << 20)
#define SCRATCH_SIZE (16ull << 20) /* to the end of RAM, if the machine has 64 MiB */

static uint64_t wild_address(void)
{
    static const uint64_t addresses[] = {
        0,           0xfffffff0, 0xc0000000,           0xe0000000, 0xfee00000,
        0x100000000, WILD,       0x7fffffffffffffff,   0xbffffff8, 0x3fffff8,
        4096,        0x1000000,  0xfffffffffffffff0ull};
    uint64_t address =
        random_number() & 1 ? addresses[random_number() % 13] : random_number() >> (random_number() % 60);
    return address < 0xc0000000 ? SCRATCH + address % SCRATCH_SIZE : address;
}

static uint32_t wild_size(void)
{
    static const uint32_t sizes[] = {0, 1, 16, 511, 4096, 0x7fffffff, 0xffffffff, 0xfffffff0};
    return random_number() & 1 ? sizes[random_number() % 8] : (uint32_t)random_number();
}

/* Configuration space of all devices, with values of any kind; BARs and command registers among them. */
static void pattern_config(void)
{
    for (uint64_t i = 0; i < rounds; i++) {
        uint32_t slot = (uint32_t)random_number() % 8, reg = (uint32_t)random_number() & 0xff;
        out32(0xcf8, (random_number() & 15 ? 0x80000000u : 0) | slot << 11 | (reg & 0xfc) |
                         (random_number() & 31 ? 0 : (uint32_t)random_number()));
        switch (random_number() % 6) {
        case 0:
            out8((uint16_t)(0xcfc + (reg & 3)), (uint8_t)random_number());
            break;
        case 1:
            out16((uint16_t)(0xcfc + (reg & 2)), (uint16_t)random_number());
            break;
        case 2:
            out32(0xcfc, (uint32_t)random_number());
            break;
        default:
            in32(0xcfc);
        }
    }
}

/* Puts the BARs back where the firmware had them. */
static void restore_config(uint32_t bars[8])
{
    for (uint32_t slot = 1; slot < 8; slot++) {
        if (pci_read(slot, 0) == UINT32_MAX)
            continue;
        pci_write(slot, 4, 0);
        pci_write(slot, 0x10, bars[slot]);
        pci_write(slot, 4, 6);
        pci_msix_enable(slot, false);
    }
}

/* An MSI-X message may interrupt us, but not as an INIT or an NMI. */
static void store_table(volatile uint8_t *page)
{
    uint32_t word = (uint32_t)random_number() % 18;
    ((volatile uint32_t *)page)[word] =
        (uint32_t)(word % 4 == 2 ? 32 + random_number() % 16 : wild_address());
}

static void store(volatile uint8_t *at, unsigned width, uint64_t value)
{
    if (width == 0)
        *at = (uint8_t)value;
    else if (width == 1)
        *(volatile uint16_t *)at = (uint16_t)value;
    else if (width == 2)
        *(volatile uint32_t *)at = (uint32_t)value;
    else
        *(volatile uint64_t *)at = value;
}

/* Stores of every width all over the registers, aligned or not. */
static void pattern_mmio(void)
{
    static const uint32_t pages[] = {0, 0, 0, 0x1000, 0x2000, 0x3000, 0x4000, 0x4000, 0x5000, 0x7000};
    for (uint64_t i = 0; i < rounds; i++) {
        uint32_t slot = 1 + (uint32_t)random_number() % 7;
        if (pci_read(slot, 0) == UINT32_MAX)
            continue;
        uint32_t page = pages[random_number() % 10];
        volatile uint8_t *bar = pci_bar(slot, 0) + page + random_number() % 0x48;
        uint64_t value = random_number() & 1 ? wild_address() : random_number() & 15;
        if (page == 0x4000)
            store_table(pci_bar(slot, 0) + page);
        else if (random_number() & 3)
            store(bar, random_number() & 3, value);
        else
            barrier(), (void)*bar;
    }
    for (uint32_t slot = 1; slot < 8; slot++) /* beyond everything */
        if (pci_read(slot, 0) != UINT32_MAX)
            store(pci_bar(slot, 0) + 0x7ff8, 3, WILD);
}

static bool open_any(struct device *device, struct queue *queue, uint32_t type)
{
    uint64_t features = random_number() & (3ull << 28);
    if (!virtio_open(device, type, 0, features))
        return false;
    virtio_queue(device, queue, (uint16_t)(random_number() % device->queue_count), 64, 0);
    virtio_ready(device);
    return true;
}

/* What a descriptor is told to be. The balloon takes what is in a buffer for numbers of pages to give up,
 * which must not be ours: its buffers are a page of zeros, of which it gives up the first one of RAM, or
 * wild. */
static struct descriptor nonsense(uint32_t type, const struct descriptor *inner)
{
    static const uint8_t zeros[4096];
    uint16_t flags = (uint16_t)(random_number() & (random_number() & 7 ? 7 : 0xffff));
    bool pages = type == 5 && !(flags & DESC_INDIRECT);
    const void *own = pages ? (const void *)zeros : inner;
    uint32_t size = random_number() & 3 ? 16 * (1 + (uint32_t)random_number() % 64) : wild_size();
    bool wild = (random_number() & 3) == 0;
    return (struct descriptor){wild ? wild_address() : (uint64_t)(uintptr_t)own,
                               pages && !wild ? size % sizeof(zeros) : size, flags,
                               (uint16_t)(random_number() & 3 ? random_number() % 64 : random_number())};
}

/* A ring of nonsense: addresses, lengths, flags, next, heads, index jumps. */
static void scribble(struct queue *queue, uint32_t type)
{
    struct descriptor *inner = allocate(64 * 16, 4096);
    for (uint16_t i = 0; i < queue->size; i++) {
        struct descriptor *table = random_number() & 1 ? queue->desc : inner;
        table[i] = nonsense(type, inner);
        queue->driver[2 + i] =
            (uint16_t)(random_number() & 7 ? random_number() % queue->size : random_number());
    }
    queue->driver[1] =
        (uint16_t)(queue->driver[1] + (random_number() & 3 ? random_number() % 8 : random_number()));
    *(volatile uint16_t *)queue->doorbell = (uint16_t)random_number();
}

static void pattern_rings(void)
{
    static const uint32_t types[] = {1, 2, 4, 5};
    for (uint64_t i = 0; i < rounds / 50 + 1; i++) {
        struct device device;
        struct queue queue;
        uint32_t type = types[random_number() % 4];
        if (!open_any(&device, &queue, type))
            continue;
        for (unsigned n = 0; n < 4; n++)
            scribble(&queue, type);
        delay_us(200);
        virtio_reset(&device);
    }
}

/* Ring addresses changed while the device works on them, rings far outside RAM. */
static void pattern_live(void)
{
    static const uint32_t types[] = {1, 2, 4, 5};
    for (uint64_t i = 0; i < rounds / 50 + 1; i++) {
        struct device device;
        struct queue queue;
        if (!open_any(&device, &queue, types[random_number() % 4]))
            continue;
        for (unsigned n = 0; n < 16; n++) {
            uint32_t at = 0x18 + 4 * ((uint32_t)random_number() % 8);
            store(device.common + at, 2, n & 1 ? wild_address() : 1);
            *(volatile uint16_t *)queue.doorbell = 0;
        }
        virtio_reset(&device);
        *(device.common + 0x14) = 11;
        for (unsigned n = 0; n < 3; n++) {
            store(device.common + 0x20 + 8 * n, 2, wild_address());
            store(device.common + 0x24 + 8 * n, 2, wild_address() >> 32);
        }
        *(volatile uint16_t *)(device.common + 0x1c) = 1;
        *(device.common + 0x14) = 15; /* DRIVER_OK with these */
        *(volatile uint16_t *)queue.doorbell = 0;
        virtio_reset(&device);
    }
}

/* Doorbells, status and interrupt masks as fast as they go. */
static void pattern_storm(void)
{
    static struct device device;
    static struct queue queue;
    if (!open_any(&device, &queue, 4))
        return;
    volatile uint32_t *table = (volatile uint32_t *)(pci_bar(device.slot, 0) + 0x4000);
    for (uint64_t i = 0; i < rounds; i++) {
        *(volatile uint16_t *)queue.doorbell = 0;
        if (i % 8 == 0)
            table[3] = i & 8 ? 1 : 0;
        if (i % 64 == 0) {
            pci_msix_enable(device.slot, i & 64);
            *(device.common + 0x14) = (uint8_t)random_number();
        }
    }
    virtio_reset(&device);
}

/* Ports that exist and ports that do not. The power and reset registers are left out. */
static void pattern_ports(void)
{
    for (uint64_t i = 0; i < rounds; i++) {
        uint16_t port = (uint16_t)random_number();
        if (port >> 4 == 0x60 || port == 0xcf9 || port == 0x64 || port >> 3 == 0x3f8 >> 3 || port < 0x100)
            continue;
        if (random_number() & 1)
            out32(port, (uint32_t)random_number());
        else
            in32(port);
    }
}

bool mode_hostile(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } patterns[] = {{"config", pattern_config}, {"mmio", pattern_mmio},   {"rings", pattern_rings},
                    {"live", pattern_live},     {"storm", pattern_storm}, {"ports", pattern_ports}};
    uint32_t bars[8];
    bool right = true, all = argument_is("pattern", "all") || !argument("pattern");
    rounds = argument_number("rounds", 3000);
    for (uint32_t slot = 1; slot < 8; slot++)
        bars[slot] = pci_read(slot, 0x10);
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        if (!all && !argument_is("pattern", patterns[i].name))
            continue;
        print("hostile pattern=%s\n", patterns[i].name);
        patterns[i].run();
        restore_config(bars);
        uint64_t start = now_us();
        bool well = mode_rng();
        uint64_t time = now_us() - start;
        print("hostile pattern=%s well=%u us=%lu\n", patterns[i].name, well, time);
        well = well && time < 30000000; /* by an interrupt, not by the driver's patience of 60 s */
        right = right && well;
    }
    return right;
}
