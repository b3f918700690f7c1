/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* A machine without KVM for tests of the register model: RAM, PCI bus, loop, and helpers to be its guest. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "irq.h"
#include "loop.h"
#include "pci.h"
#include "ram.h"
#include "virtio.h"

struct bench {
    pthread_mutex_t lock;
    struct ram ram;
    struct irq irq;
    struct pci_bus bus;
    struct loop *loop;
    struct virtio_host host;
};

static inline int bench_init(struct bench *bench, uint64_t ram_size)
{
    memset(bench, 0, sizeof(*bench));
    pthread_mutex_init(&bench->lock, NULL);
    int error = ram_init(&bench->ram, ram_size, RAM_HUGEPAGES_OFF, false);
    if (!error)
        error = irq_init(&bench->irq, -1);
    pci_bus_init(&bench->bus, &bench->irq);
    bench->loop = loop_new(&bench->lock);
    bench->host = (struct virtio_host){.bus = &bench->bus, .loop = bench->loop, .ram = &bench->ram};
    return bench->loop ? error : -1;
}

static inline void bench_free(struct bench *bench)
{
    loop_free(bench->loop);
    irq_free(&bench->irq);
    ram_free(&bench->ram);
    pthread_mutex_destroy(&bench->lock);
}

/* Accesses of the guest to a device's BAR and configuration space. */
static inline uint64_t bench_read(struct virtio *virtio, uint32_t offset, unsigned size)
{
    return virtio->pci.ops->bar_read(&virtio->pci, offset, size);
}

static inline void bench_write(struct virtio *virtio, uint32_t offset, uint64_t value, unsigned size)
{
    virtio->pci.ops->bar_write(&virtio->pci, offset, value, size);
}

static inline uint32_t bench_config(struct bench *bench, const struct virtio *virtio, uint32_t reg,
                                    unsigned size)
{
    return (uint32_t)pci_ecam_read(&bench->bus, virtio->pci.slot << 15 | reg, size);
}

static inline void bench_set_config(struct bench *bench, const struct virtio *virtio, uint32_t reg,
                                    uint32_t value, unsigned size)
{
    pci_ecam_write(&bench->bus, virtio->pci.slot << 15 | reg, value, size);
}

/* Queue `index` with its parts at `address` (desc), + 0x4000 (driver), + 0x8000 (device); then DRIVER_OK. */
static inline void bench_start(struct virtio *virtio, uint16_t index, uint16_t size, uint64_t address)
{
    bench_write(virtio, 0x14, 3, 1);
    bench_write(virtio, 0x08, 1, 4);
    bench_write(virtio, 0x0c, 1, 4); /* VERSION_1 */
    bench_write(virtio, 0x14, 11, 1);
    bench_write(virtio, 0x16, index, 2);
    bench_write(virtio, 0x18, size, 2);
    bench_write(virtio, 0x20, address, 8);
    bench_write(virtio, 0x28, address + 0x4000, 8);
    bench_write(virtio, 0x30, address + 0x8000, 8);
    bench_write(virtio, 0x1c, 1, 2);
    bench_write(virtio, 0x14, 15, 1);
}
