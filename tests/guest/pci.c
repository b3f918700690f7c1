/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest.h"

#define ADDRESS 0xcf8
#define DATA    0xcfc

uint32_t pci_read(uint32_t slot, uint32_t reg)
{
    out32(ADDRESS, 0x80000000u | slot << 11 | (reg & 0xfc));
    return in32(DATA);
}

void pci_write(uint32_t slot, uint32_t reg, uint32_t value)
{
    out32(ADDRESS, 0x80000000u | slot << 11 | (reg & 0xfc));
    out32(DATA, value);
}

uint32_t pci_find_virtio(uint32_t type, uint32_t nth)
{
    for (uint32_t slot = 1; slot < 32; slot++)
        if (pci_read(slot, 0) == ((0x1040 + type) << 16 | 0x1af4) && nth-- == 0)
            return slot;
    return 0;
}

volatile uint8_t *pci_bar(uint32_t slot, uint32_t bar)
{
    uint32_t low = pci_read(slot, 0x10 + 4 * bar);
    uint64_t address = low & ~0xfu;
    if ((low & 6) == 4)
        address |= (uint64_t)pci_read(slot, 0x14 + 4 * bar) << 32;
    return (volatile uint8_t *)address;
}

static uint32_t find_msix(uint32_t slot)
{
    for (uint32_t at = pci_read(slot, 0x34) & 0xfc; at; at = pci_read(slot, at) >> 8 & 0xfc)
        if ((pci_read(slot, at) & 0xff) == 0x11)
            return at;
    return 0;
}

void pci_msix(uint32_t slot, uint32_t entry, uint32_t vector, bool masked)
{
    uint32_t at = find_msix(slot), table = pci_read(slot, at + 4);
    volatile uint32_t *words = (volatile uint32_t *)(pci_bar(slot, table & 7) + (table & ~7u) + 16 * entry);
    words[3] = 1;
    words[0] = 0xfee00000;
    words[1] = 0;
    words[2] = VECTOR_BASE + vector;
    words[3] = masked;
}

void pci_msix_enable(uint32_t slot, bool enable)
{
    uint32_t at = find_msix(slot), word = pci_read(slot, at) & ~0x40000000u; /* not masked */
    pci_write(slot, at, enable ? word | 0x80000000u : word & ~0x80000000u);
}

/* Everything that software can see of the bus without changing it. */
void pci_dump(void)
{
    for (uint32_t slot = 0; slot < 32; slot++) {
        uint32_t id = pci_read(slot, 0);
        if (id == UINT32_MAX)
            continue;
        print("pci slot=%u vendor=%04x device=%04x class=%06x revision=%02x header=%02x subsystem=%08x "
              "pin=%u\n",
              slot, id & 0xffff, id >> 16, pci_read(slot, 8) >> 8, pci_read(slot, 8) & 0xff,
              pci_read(slot, 0xc) >> 16 & 0xff, pci_read(slot, 0x2c), pci_read(slot, 0x3c) >> 8 & 0xff);
        if (!(pci_read(slot, 4) >> 16 & 0x10))
            continue;
        for (uint32_t at = pci_read(slot, 0x34) & 0xfc; at; at = pci_read(slot, at) >> 8 & 0xfc) {
            uint32_t head = pci_read(slot, at);
            print("pci-capability slot=%u id=%02x type=%02x\n", slot, head & 0xff,
                  (head & 0xff) == 9 ? head >> 24 : head >> 16 & 0x7ff);
        }
    }
}
