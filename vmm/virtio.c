/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a virtio device: its queues' eventfds, its interrupts, status, reset. The registers are in
 * virtio_pci.c.
 *
 * Theory of operation: each queue has two eventfds for the device's whole life. The kick side is bound to the
 * guest's stores (virtio_pci.c). The call side is bound to the queue's MSI-X vector whenever that vector can
 * be delivered; without MSI-X the loop watches it and raises INTx. A masked vector leaves it unbound and
 * counting: see msix.h.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "log.h"
#include "virtio.h"
#include "virtio_pci.h"

#define PCI_VENDOR_VIRTIO 0x1af4
#define PCI_DEVICE_VIRTIO 0x1040
#define ISR_QUEUE         1u
#define ISR_CONFIG        2u

void virtio_signal(int fd)
{
    uint64_t one = 1;
    if (write(fd, &one, sizeof(one)) < 0)
        return; /* the counter is full: it is signalled anyway */
}

static bool drain_eventfd(int fd)
{
    uint64_t count;
    return read(fd, &count, sizeof(count)) == sizeof(count);
}

/* Interrupts */

void virtio_bind_call(struct virtio *virtio, struct virtio_queue *queue)
{
    struct msix *msix = &virtio->msix;
    unsigned vector = queue->state.vector;
    bool want = msix_deliverable(msix, vector);
    if (queue->bound && (!want || queue->bound_gsi != msix->gsi + vector)) {
        irq_bind(msix->irq, queue->call_fd, queue->bound_gsi, false);
        queue->bound = false;
    }
    if (!want)
        return;
    int error = msix_route(msix, vector);
    if (!error && !queue->bound)
        error = irq_bind(msix->irq, queue->call_fd, msix->gsi + vector, true);
    if (error) {
        log_guest("%s: vector %u: %s", virtio->name, vector, strerror(-error));
        return;
    }
    queue->bound = true;
    queue->bound_gsi = msix->gsi + vector;
}

static void intx_event(void *context, uint32_t events)
{
    (void)events;
    struct virtio *virtio = context;
    if (drain_eventfd(virtio->config_change.call_fd))
        virtio->state.isr |= ISR_CONFIG;
    for (unsigned i = 0; i < virtio->queue_count; i++)
        if (drain_eventfd(virtio->queues[i].call_fd))
            virtio->state.isr |= ISR_QUEUE;
    if (virtio->state.isr)
        pci_set_intx(virtio->bus, &virtio->pci, true);
}

/* Without MSI-X, a started device's calls come to the loop. */
static void watch_intx(struct virtio *virtio)
{
    bool want = virtio->started && !msix_enabled(&virtio->msix);
    if (want == virtio->intx_watched)
        return;
    virtio->intx_watched = want;
    for (unsigned i = 0; i <= virtio->queue_count; i++) {
        struct virtio_queue *queue = i < virtio->queue_count ? &virtio->queues[i] : &virtio->config_change;
        if (want)
            loop_add(virtio->loop, queue->call_fd, EPOLLIN, intx_event, virtio);
        else
            loop_remove(virtio->loop, queue->call_fd);
    }
    if (!want)
        pci_set_intx(virtio->bus, &virtio->pci, false);
}

void virtio_update_interrupts(struct virtio *virtio)
{
    for (unsigned i = 0; i < virtio->queue_count; i++)
        virtio_bind_call(virtio, &virtio->queues[i]);
    virtio_bind_call(virtio, &virtio->config_change);
    watch_intx(virtio);
}

uint64_t virtio_pending_bits(const struct virtio *virtio)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i <= virtio->queue_count; i++) {
        const struct virtio_queue *queue =
            i < virtio->queue_count ? &virtio->queues[i] : &virtio->config_change;
        struct pollfd state = {.fd = queue->call_fd, .events = POLLIN};
        if (!queue->bound && queue->state.vector < virtio->msix.count && poll(&state, 1, 0) == 1)
            bits |= 1ull << queue->state.vector;
    }
    return bits;
}

void virtio_config_changed(struct virtio *virtio)
{
    virtio->state.generation++;
    if (virtio->state.status & VIRTIO_CONFIG_S_DRIVER_OK)
        virtio_signal(virtio->config_change.call_fd);
}

void virtio_needs_reset(struct virtio *virtio, const char *reason)
{
    if (virtio->state.status & VIRTIO_CONFIG_S_NEEDS_RESET)
        return;
    log_guest("%s: %s; waiting for a reset by the driver", virtio->name, reason);
    virtio->state.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    virtio_config_changed(virtio);
}

/* Life of the device */

static void reset_state(struct virtio *virtio)
{
    virtio->state =
        (struct virtio_state){.config_vector = MSIX_NO_VECTOR, .generation = virtio->state.generation};
    virtio->config_change.state.vector = MSIX_NO_VECTOR;
    for (unsigned i = 0; i < virtio->queue_count; i++) {
        struct virtio_queue *queue = &virtio->queues[i];
        queue->state = (struct virtio_queue_state){.size = queue->size_max, .vector = MSIX_NO_VECTOR};
        drain_eventfd(queue->kick_fd);
        drain_eventfd(queue->call_fd);
    }
    virtio_update_interrupts(virtio);
    pci_set_intx(virtio->bus, &virtio->pci, false);
}

void virtio_stopped(struct virtio *virtio)
{
    virtio->stopping = false;
    virtio->started = false;
    reset_state(virtio);
}

static void stop(struct virtio *virtio)
{
    if (virtio->stopping)
        return;
    virtio->stopping = true;
    if (!virtio->started || virtio->ops->stop(virtio))
        virtio_stopped(virtio);
}

void virtio_machine_reset(struct virtio *virtio)
{
    stop(virtio);
    msix_reset(&virtio->msix);
    virtio_update_interrupts(virtio);
    pci_device_reset(virtio->bus, &virtio->pci);
}

/* A ring part wholly in RAM, aligned (2.7). */
static bool ring_part_valid(const struct virtio *virtio, uint64_t address, uint64_t size, uint64_t alignment)
{
    return address % alignment == 0 && ram_at(virtio->ram, address, size) != NULL;
}

static bool queues_valid(const struct virtio *virtio)
{
    for (unsigned i = 0; i < virtio->queue_count; i++) {
        const struct virtio_queue_state *queue = &virtio->queues[i].state;
        if (!queue->enabled)
            continue;
        if (!ring_part_valid(virtio, queue->desc, 16ull * queue->size, 16) ||
            !ring_part_valid(virtio, queue->driver, 6 + 2ull * queue->size, 2) ||
            !ring_part_valid(virtio, queue->device, 6 + 8ull * queue->size, 4))
            return false;
    }
    return true;
}

void virtio_write_status(struct virtio *virtio, uint8_t status)
{
    struct virtio_state *state = &virtio->state;
    if (status == 0) {
        stop(virtio);
        return;
    }
    if (virtio->stopping)
        return;
    uint8_t kept = state->status & (VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_DRIVER_OK);
    if (status & VIRTIO_CONFIG_S_FEATURES_OK && !(state->status & VIRTIO_CONFIG_S_FEATURES_OK) &&
        (state->features & ~virtio->features_offered || !virtio_has(virtio, VIRTIO_F_VERSION_1)))
        status &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
    bool start = status & VIRTIO_CONFIG_S_DRIVER_OK && !(state->status & VIRTIO_CONFIG_S_DRIVER_OK);
    state->status = status | kept;
    if (!start)
        return;
    if (!(status & VIRTIO_CONFIG_S_FEATURES_OK) || !queues_valid(virtio)) {
        virtio_needs_reset(virtio, "driver's queues or features are not usable");
        return;
    }
    virtio->started = true;
    watch_intx(virtio);
    virtio->ops->start(virtio);
}

static int make_eventfds(struct virtio *virtio, uint16_t queue_size)
{
    virtio->config_change.call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (virtio->config_change.call_fd < 0)
        return -errno;
    for (unsigned i = 0; i < virtio->queue_count; i++) {
        struct virtio_queue *queue = &virtio->queues[i];
        queue->size_max = queue_size;
        queue->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        queue->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (queue->kick_fd < 0 || queue->call_fd < 0)
            return -errno;
    }
    return 0;
}

int virtio_init(struct virtio *virtio, const struct virtio_host *host, const struct virtio_ops *ops,
                unsigned index, unsigned queue_count, uint16_t queue_size)
{
    virtio->ops = ops;
    virtio->bus = host->bus;
    virtio->loop = host->loop;
    virtio->ram = host->ram;
    virtio->queue_count = queue_count;
    virtio->features_offered |= 1ull << VIRTIO_F_VERSION_1;
    snprintf(virtio->name, sizeof(virtio->name), "%s%u", ops->name, index);
    pci_device_init(&virtio->pci, &virtio_pci_ops, PCI_VENDOR_VIRTIO,
                    (uint16_t)(PCI_DEVICE_VIRTIO + ops->type), ops->pci_class, VIRTIO_PCI_BAR_SIZE);
    memcpy(virtio->pci.config + PCI_SUBSYSTEM_VENDOR_ID, (uint16_t[]){PCI_VENDOR_VIRTIO, 0x1100}, 4);
    int error = make_eventfds(virtio, queue_size);
    if (!error)
        error = virtio_pci_init(virtio);
    if (!error) {
        reset_state(virtio);
        error = pci_bus_add(virtio->bus, &virtio->pci);
    }
    return error;
}

void virtio_free(struct virtio *virtio)
{
    for (unsigned i = 0; i < virtio->queue_count; i++) {
        close(virtio->queues[i].kick_fd);
        close(virtio->queues[i].call_fd);
    }
    close(virtio->config_change.call_fd);
}
