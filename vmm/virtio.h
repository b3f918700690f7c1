/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * virtio 1.2 over PCI, modern interface only (4.1): the registers of the transport, kept here for every
 * device; what a device is, is told by its ops.
 *
 * A device is told `start` when the driver sets DRIVER_OK, with queues and features settled and checked (ring
 * parts in RAM, sizes powers of two), and `stop` at reset. A device that cannot stop at once (its backend is
 * asked) returns false and calls virtio_stopped later; until then the status register does not read 0
 * (4.1.4.3.1).
 *
 * Threads: with the machine lock held. kick_fd and call_fd may be used by any thread between start and stop.
 */
#include "loop.h"
#include "ram.h"
#include "msix.h"
#include "pci.h"

#define VIRTIO_QUEUES_MAX     17u
#define VIRTIO_QUEUE_SIZE_MAX 1024u
#define VIRTIO_CONFIG_MAX     64u /* bytes of device configuration */

struct virtio;

struct virtio_ops {
    const char *name; /* "net", for logs and status */
    uint16_t type;    /* 5, device types */
    uint32_t pci_class;
    void (*start)(struct virtio *virtio);
    bool (*stop)(struct virtio *virtio);
    /* Driver wrote [offset, offset + size) of the device configuration, where config_writable allowed. May be
     * NULL. */
    void (*config_written)(struct virtio *virtio, uint32_t offset, unsigned size);
};

/* What the driver programmed; plain, so that it can be saved. */
struct virtio_queue_state {
    uint16_t size; /* descriptors */
    uint16_t vector;
    uint16_t enabled;
    uint64_t desc, driver, device; /* guest physical addresses of the ring's parts (2.7) */
};

struct virtio_queue {
    struct virtio_queue_state state;
    uint16_t size_max;
    int kick_fd; /* the guest signals: ioeventfd */
    int call_fd; /* the device signals: irqfd, or watched here for INTx */
    bool bound;
    unsigned bound_gsi;
};

struct virtio_state {
    uint64_t features; /* accepted by the driver */
    uint32_t device_feature_select, driver_feature_select;
    uint16_t queue_select, config_vector;
    uint8_t status, isr, generation;
};

struct virtio {
    struct pci_device pci; /* first: pci_ops get a pointer to it */
    const struct virtio_ops *ops;
    struct pci_bus *bus;
    struct loop *loop;
    const struct ram *ram;
    struct msix msix;
    char name[32];             /* "net0" */
    uint64_t features_offered; /* VIRTIO_F_VERSION_1 is added */
    uint8_t config[VIRTIO_CONFIG_MAX], config_writable[VIRTIO_CONFIG_MAX];
    unsigned config_size;   /* bytes */
    uint8_t cfg_capability; /* offset of VIRTIO_PCI_CAP_PCI_CFG */
    struct virtio_state state;
    bool started, stopping, intx_watched;
    unsigned queue_count;
    struct virtio_queue queues[VIRTIO_QUEUES_MAX];
    struct virtio_queue config_change; /* only call_fd, bound, state.vector */
};

/* What all devices of a machine share. */
struct virtio_host {
    struct pci_bus *bus;
    struct loop *loop;
    const struct ram *ram;
};

/* Fills in the device and puts it on the bus. queue_size: a power of two. 0 or -errno. */
int virtio_init(struct virtio *virtio, const struct virtio_host *host, const struct virtio_ops *ops,
                unsigned index, unsigned queue_count, uint16_t queue_size);
void virtio_free(struct virtio *virtio);
/* Machine reset: like a reset by the driver, and the PCI side too. */
void virtio_machine_reset(struct virtio *virtio);
void virtio_stopped(struct virtio *virtio);

/* The device configuration changed (virtio->config is already new). */
void virtio_config_changed(struct virtio *virtio);
/* The driver broke the rules, or the device cannot go on: NEEDS_RESET, with a reason for the log. */
void virtio_needs_reset(struct virtio *virtio, const char *reason);
static inline bool virtio_has(const struct virtio *virtio, unsigned feature)
{
    return virtio->state.features >> feature & 1;
}
