/* SPDX-License-Identifier: BSD-3-Clause */
/* Which device answers at which port and address. */
#include "layout.h"
#include "machine.h"

#define KEYBOARD_COMMAND     (LAYOUT_PORT_KEYBOARD + 4)
#define KEYBOARD_PULSE_RESET 0xfeu

static bool in(uint16_t port, unsigned first, unsigned count, unsigned size)
{
    return port >= first && port + size <= first + count;
}

uint32_t machine_port_read(struct machine *machine, uint16_t port, unsigned size)
{
    if (in(port, LAYOUT_PORT_SERIAL, 8, size) && size == 1)
        return serial_read(&machine->serial, port - LAYOUT_PORT_SERIAL);
    if (in(port, LAYOUT_PORT_PM, 12, size))
        return pm_read(&machine->pm, port - LAYOUT_PORT_PM, size);
    if (in(port, LAYOUT_PORT_PCI, 8, size))
        return pci_port_read(&machine->pci, port, size);
    if (port == KEYBOARD_COMMAND)
        return 0; /* its buffers are empty */
    return UINT32_MAX;
}

void machine_port_write(struct machine *machine, uint16_t port, uint32_t value, unsigned size)
{
    if (in(port, LAYOUT_PORT_SERIAL, 8, size) && size == 1)
        serial_write(&machine->serial, port - LAYOUT_PORT_SERIAL, (uint8_t)value);
    else if (in(port, LAYOUT_PORT_PM, 12, size)) {
        if (pm_write(&machine->pm, port - LAYOUT_PORT_PM, value, size) == PM_OFF)
            machine_request(machine, MACHINE_OFF);
    } else if (port == PM_RESET_PORT && size == 1) {
        if (value & 4)
            machine_request(machine, MACHINE_RESET);
    } else if (in(port, LAYOUT_PORT_PCI, 8, size))
        pci_port_write(&machine->pci, port, value, size);
    else if (port == KEYBOARD_COMMAND && (uint8_t)value == KEYBOARD_PULSE_RESET)
        machine_request(machine, MACHINE_RESET);
}

uint64_t machine_mmio_read(struct machine *machine, uint64_t address, unsigned size)
{
    if (address - LAYOUT_ECAM < LAYOUT_ECAM_SIZE)
        return pci_ecam_read(&machine->pci, (uint32_t)(address - LAYOUT_ECAM), size);
    struct pci_device *device = pci_bar_at(&machine->pci, address, size);
    return device ? device->ops->bar_read(device, (uint32_t)(address - device->bar_address), size)
                  : UINT64_MAX;
}

void machine_mmio_write(struct machine *machine, uint64_t address, uint64_t value, unsigned size)
{
    if (address - LAYOUT_ECAM < LAYOUT_ECAM_SIZE) {
        pci_ecam_write(&machine->pci, (uint32_t)(address - LAYOUT_ECAM), value, size);
        return;
    }
    struct pci_device *device = pci_bar_at(&machine->pci, address, size);
    if (device)
        device->ops->bar_write(device, (uint32_t)(address - device->bar_address), value, size);
}
