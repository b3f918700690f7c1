/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>
#include "layout.h"
#include "pci.h"

#define BRIDGE_VENDOR 0x1b36 /* Red Hat, "generic PCIe host bridge" */
#define BRIDGE_ID     0x0008
#define BRIDGE_CLASS  0x060000
#define COMMAND_MASK  (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE)
#define BAR_ALIGNMENT 0x10000u
#define CF8_ENABLE    0x80000000u

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t get32(const uint8_t *at)
{
    return get16(at) | (uint32_t)get16(at + 2) << 16;
}

static void put16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, (uint16_t)value);
    put16(at + 2, (uint16_t)(value >> 16));
}

void pci_device_init(struct pci_device *device, const struct pci_ops *ops, uint16_t vendor, uint16_t id,
                     uint32_t class_code, uint32_t bar_size)
{
    memset(device, 0, sizeof(*device));
    device->ops = ops;
    device->bar_size = bar_size;
    device->capability_end = PCI_STD_HEADER_SIZEOF;
    uint8_t *config = device->config;
    put16(config + PCI_VENDOR_ID, vendor);
    put16(config + PCI_DEVICE_ID, id);
    put32(config + PCI_CLASS_REVISION, class_code << 8 | 1);
    put16(device->writable + PCI_COMMAND, COMMAND_MASK);
    device->writable[PCI_CACHE_LINE_SIZE] = 0xff;
    if (bar_size) {
        put32(device->writable + PCI_BASE_ADDRESS_0, ~(bar_size - 1));
        config[PCI_INTERRUPT_PIN] = 1;
        device->writable[PCI_INTERRUPT_LINE] = 0xff;
    }
}

uint8_t pci_add_capability(struct pci_device *device, uint8_t id, uint8_t size)
{
    uint8_t offset = device->capability_end;
    device->config[device->capability ? device->capability + 1 : PCI_CAPABILITY_LIST] = offset;
    device->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    device->config[offset] = id;
    device->capability = offset;
    device->capability_end = (uint8_t)((offset + size + 3) & ~3);
    return offset;
}

static void update_bar(struct pci_device *device)
{
    uint32_t previous = device->bar_address;
    uint32_t address = get32(device->config + PCI_BASE_ADDRESS_0) & ~0xfu;
    if (!(device->config[PCI_COMMAND] & PCI_COMMAND_MEMORY))
        address = 0;
    if (address == previous || !device->bar_size)
        return;
    device->bar_address = address;
    device->ops->bar_moved(device, previous);
}

static void update_intx(struct pci_bus *bus, unsigned pin)
{
    bool asserted = false;
    for (unsigned slot = pin; slot < PCI_SLOTS; slot += 8) {
        const struct pci_device *device = bus->devices[slot];
        if (device && device->intx && !(get16(device->config + PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE))
            asserted = true;
    }
    irq_line(bus->irq, LAYOUT_IRQ_PCI + pin, asserted);
}

void pci_set_intx(struct pci_bus *bus, struct pci_device *device, bool asserted)
{
    device->intx = asserted;
    device->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
    if (asserted)
        device->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
    update_intx(bus, device->slot % 8);
}

void pci_bus_init(struct pci_bus *bus, struct irq *irq)
{
    memset(bus, 0, sizeof(*bus));
    bus->irq = irq;
    pci_device_init(&bus->bridge, NULL, BRIDGE_VENDOR, BRIDGE_ID, BRIDGE_CLASS, 0);
    bus->devices[0] = &bus->bridge;
}

void pci_device_reset(struct pci_bus *bus, struct pci_device *device)
{
    put16(device->config + PCI_COMMAND, 0);
    update_bar(device);
    put32(device->config + PCI_BASE_ADDRESS_0, (uint32_t)LAYOUT_PCI_WINDOW + device->slot * BAR_ALIGNMENT);
    device->config[PCI_INTERRUPT_LINE] = (uint8_t)(LAYOUT_IRQ_PCI + device->slot % 8);
    put16(device->config + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    update_bar(device);
    pci_set_intx(bus, device, false);
}

int pci_bus_add(struct pci_bus *bus, struct pci_device *device)
{
    for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
        if (bus->devices[slot])
            continue;
        bus->devices[slot] = device;
        device->slot = slot;
        pci_device_reset(bus, device);
        return 0;
    }
    return -ENOSPC;
}

/* device/function and register of a configuration access; functions above 0 do not exist. */
static struct pci_device *config_target(struct pci_bus *bus, unsigned devfn, uint32_t reg, unsigned size)
{
    if (devfn & 7 || reg + size > PCI_CONFIG_SIZE)
        return NULL;
    return bus->devices[devfn >> 3 & (PCI_SLOTS - 1)];
}

static uint32_t config_read(struct pci_bus *bus, unsigned devfn, uint32_t reg, unsigned size)
{
    struct pci_device *device = config_target(bus, devfn, reg, size);
    if (!device)
        return reg >= PCI_CONFIG_SIZE && !(devfn & 7) && bus->devices[devfn >> 3] ? 0 : UINT32_MAX;
    if (device->ops && device->ops->config_reading)
        device->ops->config_reading(device, reg, size);
    uint32_t value = 0;
    memcpy(&value, device->config + reg, size);
    return value;
}

static void config_write(struct pci_bus *bus, unsigned devfn, uint32_t reg, uint32_t value, unsigned size)
{
    struct pci_device *device = config_target(bus, devfn, reg, size);
    if (!device)
        return;
    for (unsigned i = 0; i < size; i++) {
        uint8_t mask = device->writable[reg + i], byte = (uint8_t)(value >> 8 * i);
        device->config[reg + i] = (uint8_t)((device->config[reg + i] & ~mask) | (byte & mask));
    }
    update_bar(device);
    update_intx(bus, device->slot % 8);
    if (device->ops && device->ops->config_written)
        device->ops->config_written(device, reg, size);
}

uint64_t pci_ecam_read(struct pci_bus *bus, uint32_t offset, unsigned size)
{
    if (size > 4 || offset >> 20)
        return UINT64_MAX;
    return config_read(bus, offset >> 12, offset & 0xfff, size);
}

void pci_ecam_write(struct pci_bus *bus, uint32_t offset, uint64_t value, unsigned size)
{
    if (size <= 4 && !(offset >> 20))
        config_write(bus, offset >> 12, offset & 0xfff, (uint32_t)value, size);
}

uint32_t pci_port_read(struct pci_bus *bus, uint16_t port, unsigned size)
{
    if (port == LAYOUT_PORT_PCI && size == 4)
        return bus->address;
    if (port < LAYOUT_PORT_PCI + 4 || !(bus->address & CF8_ENABLE) || bus->address & 0x00ff0000)
        return UINT32_MAX;
    return config_read(bus, bus->address >> 8 & 0xff, (bus->address & 0xfc) + (port & 3), size);
}

void pci_port_write(struct pci_bus *bus, uint16_t port, uint32_t value, unsigned size)
{
    if (port == LAYOUT_PORT_PCI && size == 4)
        bus->address = value;
    else if (port >= LAYOUT_PORT_PCI + 4 && bus->address & CF8_ENABLE && !(bus->address & 0x00ff0000))
        config_write(bus, bus->address >> 8 & 0xff, (bus->address & 0xfc) + (port & 3), value, size);
}

struct pci_device *pci_bar_at(struct pci_bus *bus, uint64_t address, unsigned size)
{
    for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
        struct pci_device *device = bus->devices[slot];
        if (device && device->bar_address && address >= device->bar_address &&
            address - device->bar_address <= device->bar_size - size)
            return device;
    }
    return NULL;
}
