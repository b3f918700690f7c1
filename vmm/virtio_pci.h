/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* Between virtio.c and virtio_pci.c: the life of a device, and its registers. Threads: with the machine lock
 * held. */
#include "virtio.h"

#define VIRTIO_PCI_BAR_SIZE 0x8000u

/* virtio_pci.c */
extern const struct pci_ops virtio_pci_ops;
/* Adds the capabilities, MSI-X among them. 0 or -ENOSPC. */
int virtio_pci_init(struct virtio *virtio);

/* virtio.c */
void virtio_signal(int fd);
/* The driver wrote the status register. */
void virtio_write_status(struct virtio *virtio, uint8_t status);
/* A vector was assigned, masked, unmasked or moved. */
void virtio_bind_call(struct virtio *virtio, struct virtio_queue *queue);
void virtio_update_interrupts(struct virtio *virtio);
/* Bit n: vector n is pending. */
uint64_t virtio_pending_bits(const struct virtio *virtio);
