/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * MSI-X (PCI 3.0, 6.8.2): a table and a pending bit array in the device's BAR, a capability that enables and
 * masks. Each vector has a GSI of its own; eventfds are bound to it while the vector can be delivered. While
 * it cannot, they stay unbound, what is signalled meanwhile stays in their counters: that is the pending bit.
 *
 * Threads: with the machine lock held.
 */
#include "irq.h"
#include "pci.h"

#define MSIX_VECTORS_MAX 32u
#define MSIX_NO_VECTOR   0xffffu

struct msix {
    struct pci_device *device;
    struct irq *irq;
    uint8_t capability; /* offset */
    unsigned count;     /* vectors */
    unsigned gsi;       /* of vector 0 */
    struct msix_entry {
        uint32_t word[4]; /* address low, address high, data, control (bit 0: masked) */
    } table[MSIX_VECTORS_MAX];
};

/* Adds the capability; table and pending bits at these offsets of the BAR. 0 or -ENOSPC. */
int msix_init(struct msix *msix, struct pci_device *device, struct irq *irq, unsigned count,
              uint32_t table_offset, uint32_t pending_offset);
void msix_reset(struct msix *msix);
bool msix_enabled(const struct msix *msix);
/* The vector exists, and is neither masked nor is the function. */
bool msix_deliverable(const struct msix *msix, unsigned vector);
/* Tells the kernel where the vector goes. 0 or -errno. */
int msix_route(struct msix *msix, unsigned vector);
uint32_t msix_table_read(const struct msix *msix, uint32_t offset);
/* True if something changed that may bind or unbind. */
bool msix_table_write(struct msix *msix, uint32_t offset, uint32_t value);
