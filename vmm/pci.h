/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * One PCI bus: configuration space by ECAM (PCI Express Base 7.2.2) and by ports CF8/CFC
 * (PCI 3.0, 3.2.2.3.2), devices with one 32-bit memory BAR, INTx on pin A, addresses assigned before the
 * guest starts (it may move them).
 *
 * Threads: with the machine lock held.
 */
#include <stdbool.h>
#include <stdint.h>
#include "irq.h"

#define PCI_SLOTS       32u
#define PCI_CONFIG_SIZE 256u /* bytes; the extended space reads as zeros */

struct pci_device;

struct pci_ops {
    /* offset + size is within the BAR; size is 1, 2, 4 or 8. */
    uint64_t (*bar_read)(struct pci_device *device, uint32_t offset, unsigned size);
    void (*bar_write)(struct pci_device *device, uint32_t offset, uint64_t value, unsigned size);
    /* Before a read, after a write of [offset, offset + size) of the configuration space. */
    void (*config_reading)(struct pci_device *device, uint32_t offset, unsigned size);
    void (*config_written)(struct pci_device *device, uint32_t offset, unsigned size);
    /* The BAR moved or its decoding was switched: device->bar_address (0: not decoded). */
    void (*bar_moved)(struct pci_device *device, uint32_t previous);
};

struct pci_device {
    const struct pci_ops *ops;
    unsigned slot;
    uint32_t bar_size;    /* bytes, a power of two; 0: no BAR */
    uint32_t bar_address; /* where it is decoded, 0: nowhere */
    bool intx;            /* the device's interrupt line is asserted */
    uint8_t capability;   /* offset of the last capability */
    uint8_t capability_end;
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t writable[PCI_CONFIG_SIZE]; /* bits that the guest may change */
};

struct pci_bus {
    struct irq *irq;
    uint32_t address; /* CF8 */
    struct pci_device *devices[PCI_SLOTS];
    struct pci_device bridge;
};

void pci_bus_init(struct pci_bus *bus, struct irq *irq);

/* A new device's identity, before its capabilities. */
void pci_device_init(struct pci_device *device, const struct pci_ops *ops, uint16_t vendor, uint16_t id,
                     uint32_t class_code, uint32_t bar_size);
/* Appends a capability of `size` bytes (PCI 3.0, 6.7); the caller fills in bytes 2..size. Returns its offset.
 */
uint8_t pci_add_capability(struct pci_device *device, uint8_t id, uint8_t size);
/* Puts it on the bus, in the next free slot, BAR assigned. 0 or -ENOSPC. */
int pci_bus_add(struct pci_bus *bus, struct pci_device *device);
/* Back to the state after pci_bus_add: BAR address, command register. */
void pci_device_reset(struct pci_bus *bus, struct pci_device *device);

/* INTx (when the guest does not use MSI-X). */
void pci_set_intx(struct pci_bus *bus, struct pci_device *device, bool asserted);

/* The bus's windows. Sizes 1, 2, 4 (BARs: 8 too); reads of nothing are all ones. */
uint64_t pci_ecam_read(struct pci_bus *bus, uint32_t offset, unsigned size);
void pci_ecam_write(struct pci_bus *bus, uint32_t offset, uint64_t value, unsigned size);
uint32_t pci_port_read(struct pci_bus *bus, uint16_t port, unsigned size);
void pci_port_write(struct pci_bus *bus, uint16_t port, uint32_t value, unsigned size);
/* The device whose BAR holds all of [address, address + size), or NULL. */
struct pci_device *pci_bar_at(struct pci_bus *bus, uint64_t address, unsigned size);
