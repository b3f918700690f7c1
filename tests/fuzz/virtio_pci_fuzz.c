/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PCI and virtio register model with the devices that this process serves, driven by a guest of random
 * accesses. Input: steps of 12 bytes: what (1), slot (1), offset (2), value (8); guest RAM is written with
 * steps too, so that rings can come to life. Three devices: entropy, balloon, disk (whose requests stay
 * queued: its threads do not run).
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "../unit/vmm_bench.h"
#include "balloon.h"
#include "blk.h"
#include "log.h"
#include "rng.h"

#define RAM_SIZE  (1u << 20)
#define STEPS_MAX 2000u
#define RING      0x10000ull

struct step {
    uint8_t what, slot;
    uint16_t offset;
    uint64_t value;
} __attribute__((packed));

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In place of vmm/log.c: what it says of the guest would be all that one sees. */
void log_init(const char *name, bool verbose)
{
    (void)name;
    (void)verbose;
}

void log_error(const char *format, ...)
{
    (void)format;
}

void log_info(const char *format, ...)
{
    (void)format;
}

void log_guest(const char *format, ...)
{
    (void)format;
}

static struct virtio *virtio_of(struct bench *bench, unsigned slot)
{
    return (struct virtio *)bench->bus.devices[1 + slot % 3];
}

static void run_step(struct bench *bench, const struct step *step)
{
    struct virtio *virtio = virtio_of(bench, step->slot);
    unsigned width = 1u << (step->what >> 4 & 3);
    switch (step->what & 0xf) {
    case 0:
        bench_config(bench, virtio, step->offset & 0xfff, width < 8 ? width : 4);
        break;
    case 1:
        bench_set_config(bench, virtio, step->offset & 0xfff, (uint32_t)step->value, width < 8 ? width : 4);
        break;
    case 2:
        pci_port_write(&bench->bus, (uint16_t)(0xcf8 + step->offset % 4), (uint32_t)step->value,
                       width < 8 ? width : 4);
        break;
    case 3:
        pci_port_write(&bench->bus, (uint16_t)(0xcfc + step->offset % 4), (uint32_t)step->value, 1);
        pci_port_read(&bench->bus, (uint16_t)(0xcfc + step->offset % 4), 1);
        break;
    case 4:
        bench_read(virtio, step->offset % (0x8000 - width), width);
        break;
    case 5:
        bench_write(virtio, step->offset % (0x8000 - width), step->value, width);
        break;
    case 6:
        bench_write(virtio, step->offset & 0x3f, step->value & 0xff, width);
        break;
    case 7:
        bench_start(virtio, (uint16_t)(step->value & 3), 64, step->value & 4 ? step->value : RING);
        break;
    case 8: /* a descriptor, at ring or buffer */
        memcpy(bench->ram.host + RING + 16u * (step->offset & 63), &step->value, 8);
        break;
    case 9:
        memcpy(bench->ram.host + RING + 16u * (step->offset & 63) + 8, &step->value, 8);
        break;
    case 10: /* driver area */
        memcpy(bench->ram.host + RING + 0x4000 + step->offset % 140, &step->value, 2);
        break;
    case 11:
        bench_write(virtio, 0x3000 + 4 * (step->offset & 3), 0, 2);
        loop_poll(bench->loop);
        break;
    case 12:
        virtio_machine_reset(virtio);
        break;
    case 13:
        memcpy(bench->ram.host + (step->value & (RAM_SIZE - 8)), &step->value, 8);
        break;
    default:
        loop_poll(bench->loop);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bench bench;
    struct step step;
    struct blk_config config = {.fd = memfd_create("disk", MFD_CLOEXEC), .threads = 1};
    if (config.fd < 0 || ftruncate(config.fd, 65536) || bench_init(&bench, RAM_SIZE))
        abort();
    struct rng *rng = rng_new(&bench.host);
    struct balloon *balloon = balloon_new(&bench.host);
    struct blk *blk = blk_new(&bench.host, 0, &config);
    if (!rng || !balloon || !blk)
        abort();
    for (unsigned i = 0; i < STEPS_MAX && size >= sizeof(step);
         i++, data += sizeof(step), size -= sizeof(step)) {
        memcpy(&step, data, sizeof(step));
        run_step(&bench, &step);
    }
    for (unsigned i = 0; i < 4; i++)
        loop_poll(bench.loop);
    blk_free(blk);
    balloon_free(balloon);
    rng_free(rng);
    bench_free(&bench);
    return 0;
}
