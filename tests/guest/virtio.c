/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest.h"

/* Offsets in the common configuration (virtio 1.2, 4.1.4.3). */
enum {
    DEVICE_SELECT = 0x00,
    DEVICE_FEATURES = 0x04,
    DRIVER_SELECT = 0x08,
    DRIVER_FEATURES = 0x0c,
    CONFIG_VECTOR = 0x10,
    QUEUE_COUNT = 0x12,
    STATUS = 0x14,
    QUEUE_SELECT = 0x16,
    QUEUE_SIZE = 0x18,
    QUEUE_VECTOR = 0x1a,
    QUEUE_ENABLE = 0x1c,
    QUEUE_NOTIFY = 0x1e,
    QUEUE_DESC = 0x20,
    QUEUE_DRIVER = 0x28,
    QUEUE_DEVICE = 0x30,
};
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };
#define VERSION_1 (1ull << 32)

static volatile uint8_t *reg8(const struct device *device, uint32_t at)
{
    return device->common + at;
}
static volatile uint16_t *reg16(const struct device *device, uint32_t at)
{
    return (volatile uint16_t *)(device->common + at);
}
static volatile uint32_t *reg32(const struct device *device, uint32_t at)
{
    return (volatile uint32_t *)(device->common + at);
}

static void set_address(const struct device *device, uint32_t at, const volatile void *address)
{
    *reg32(device, at) = (uint32_t)(uintptr_t)address;
    *reg32(device, at + 4) = (uint32_t)((uintptr_t)address >> 32);
}

static void find_structures(struct device *device)
{
    uint32_t slot = device->slot;
    for (uint32_t at = pci_read(slot, 0x34) & 0xfc; at; at = pci_read(slot, at) >> 8 & 0xfc) {
        uint32_t head = pci_read(slot, at);
        if ((head & 0xff) != 9)
            continue;
        volatile uint8_t *place = pci_bar(slot, pci_read(slot, at + 4) & 7) + pci_read(slot, at + 8);
        switch (head >> 24) {
        case 1:
            device->common = place;
            break;
        case 2:
            device->notify = place;
            device->notify_multiplier = pci_read(slot, at + 16);
            break;
        case 3:
            device->isr = place;
            break;
        case 4:
            device->config = place;
            break;
        default:
            break;
        }
    }
}

void virtio_reset(struct device *device)
{
    *reg8(device, STATUS) = 0;
    uint64_t end = now_us() + 3000000;
    while (*reg8(device, STATUS) != 0 && now_us() < end)
        ;
    if (*reg8(device, STATUS) != 0)
        print("error reset of device type=%u hangs\n", device->type);
}

uint8_t virtio_status(const struct device *device)
{
    return *reg8(device, STATUS);
}

bool virtio_open(struct device *device, uint32_t type, uint32_t nth, uint64_t wanted)
{
    *device = (struct device){.type = type, .slot = pci_find_virtio(type, nth)};
    if (!device->slot)
        return false;
    pci_write(device->slot, 4, 6); /* memory, bus master */
    find_structures(device);
    virtio_reset(device);
    *reg8(device, STATUS) = ACKNOWLEDGE;
    *reg8(device, STATUS) = ACKNOWLEDGE | DRIVER;
    *reg32(device, DEVICE_SELECT) = 0;
    device->offered = *reg32(device, DEVICE_FEATURES);
    *reg32(device, DEVICE_SELECT) = 1;
    device->offered |= (uint64_t)*reg32(device, DEVICE_FEATURES) << 32;
    device->features = device->offered & (wanted | VERSION_1);
    *reg32(device, DRIVER_SELECT) = 0;
    *reg32(device, DRIVER_FEATURES) = (uint32_t)device->features;
    *reg32(device, DRIVER_SELECT) = 1;
    *reg32(device, DRIVER_FEATURES) = (uint32_t)(device->features >> 32);
    *reg8(device, STATUS) = ACKNOWLEDGE | DRIVER | FEATURES_OK;
    device->queue_count = *reg16(device, QUEUE_COUNT);
    pci_msix_enable(device->slot, true);
    if (*reg8(device, STATUS) & FEATURES_OK)
        return true;
    print("error device type=%u refuses features=%lx\n", type, device->features);
    return false;
}

void virtio_queue(struct device *device, struct queue *queue, uint16_t index, uint16_t size_max,
                  uint32_t vector)
{
    *reg16(device, QUEUE_SELECT) = index;
    uint16_t size = *reg16(device, QUEUE_SIZE);
    if (size > size_max)
        size = size_max;
    *queue = (struct queue){.index = index, .size = size};
    queue->desc = allocate(16u * size, 4096);
    queue->driver = allocate(6 + 2u * size, 4096);
    queue->device = allocate(6 + 8u * size, 4096);
    for (uint16_t i = 0; i < size; i++)
        queue->desc[i].next = (uint16_t)(i + 1);
    *reg16(device, QUEUE_SIZE) = size;
    set_address(device, QUEUE_DESC, queue->desc);
    set_address(device, QUEUE_DRIVER, queue->driver);
    set_address(device, QUEUE_DEVICE, queue->device);
    if (vector) {
        pci_msix(device->slot, index, vector, false);
        *reg16(device, QUEUE_VECTOR) = index;
    }
    queue->doorbell = device->notify + *reg16(device, QUEUE_NOTIFY) * device->notify_multiplier;
    *reg16(device, QUEUE_ENABLE) = 1;
}

void virtio_ready(struct device *device)
{
    *reg8(device, STATUS) = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
}

int queue_put(struct queue *queue, const struct piece *pieces, unsigned reads, unsigned writes)
{
    unsigned count = reads + writes;
    if (queue->in_flight + count > queue->size)
        return -1;
    uint16_t head = queue->next_free, at = head;
    for (unsigned i = 0; i < count; i++) {
        struct descriptor *desc = &queue->desc[at];
        desc->address = (uint64_t)pieces[i].data;
        desc->size = pieces[i].size;
        desc->flags = (uint16_t)((i + 1 < count ? DESC_NEXT : 0) | (i >= reads ? DESC_WRITE : 0));
        at = desc->next;
    }
    queue->next_free = at;
    queue->in_flight = (uint16_t)(queue->in_flight + count);
    uint16_t index = queue->driver[1];
    queue->driver[2 + (index & (queue->size - 1))] = head;
    barrier();
    queue->driver[1] = (uint16_t)(index + 1);
    return head;
}

void queue_kick(struct queue *queue)
{
    fence();
    if (!(queue->device[0] & 1))
        *(volatile uint16_t *)queue->doorbell = queue->index;
}

int queue_take(struct queue *queue, uint32_t *size)
{
    if (queue->used_seen == queue->device[1])
        return -1;
    barrier();
    volatile uint32_t *element =
        (volatile uint32_t *)(queue->device + 2) + 2 * (queue->used_seen & (queue->size - 1));
    uint16_t head = (uint16_t)element[0], last = head;
    *size = element[1];
    queue->used_seen++;
    unsigned count = 1;
    while (queue->desc[last].flags & DESC_NEXT) {
        last = queue->desc[last].next;
        count++;
    }
    queue->desc[last].next = queue->next_free;
    queue->next_free = head;
    queue->in_flight = (uint16_t)(queue->in_flight - count);
    return head;
}

int64_t queue_call(struct queue *queue, const struct piece *pieces, unsigned reads, unsigned writes)
{
    uint32_t size;
    if (queue_put(queue, pieces, reads, writes) < 0)
        return -1;
    queue_kick(queue);
    uint64_t end = now_us() + 60000000;
    for (;;) {
        uint32_t seen = interrupt_total;
        if (queue_take(queue, &size) >= 0)
            return size;
        uint64_t now = now_us();
        if (now >= end)
            return -1;
        sleep_unless(seen, end - now);
    }
}
