/* SPDX-License-Identifier: BSD-3-Clause */
#include <linux/pci_regs.h>
#include <string.h>
#include "msix.h"

int msix_init(struct msix *msix, struct pci_device *device, struct irq *irq, unsigned count,
              uint32_t table_offset, uint32_t pending_offset)
{
    int gsi = irq_msi_reserve(irq, count);
    if (gsi < 0)
        return gsi;
    *msix = (struct msix){.device = device, .irq = irq, .count = count, .gsi = (unsigned)gsi};
    msix->capability = pci_add_capability(device, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);
    uint8_t *at = device->config + msix->capability;
    at[PCI_MSIX_FLAGS] = (uint8_t)(count - 1);
    memcpy(at + PCI_MSIX_TABLE, &table_offset, 4); /* bits 0-2: BAR 0 */
    memcpy(at + PCI_MSIX_PBA, &pending_offset, 4);
    device->writable[msix->capability + PCI_MSIX_FLAGS + 1] =
        (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
    msix_reset(msix);
    return 0;
}

void msix_reset(struct msix *msix)
{
    msix->device->config[msix->capability + PCI_MSIX_FLAGS + 1] = 0;
    memset(msix->table, 0, sizeof(msix->table));
    for (unsigned i = 0; i < msix->count; i++)
        msix->table[i].word[3] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

static uint16_t flags(const struct msix *msix)
{
    return (uint16_t)(msix->device->config[msix->capability + PCI_MSIX_FLAGS + 1] << 8);
}

bool msix_enabled(const struct msix *msix)
{
    return flags(msix) & PCI_MSIX_FLAGS_ENABLE;
}

bool msix_deliverable(const struct msix *msix, unsigned vector)
{
    return vector < msix->count && msix_enabled(msix) && !(flags(msix) & PCI_MSIX_FLAGS_MASKALL) &&
           !(msix->table[vector].word[3] & PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

int msix_route(struct msix *msix, unsigned vector)
{
    const uint32_t *word = msix->table[vector].word;
    return irq_msi_route(msix->irq, msix->gsi + vector, word[0] | (uint64_t)word[1] << 32, word[2]);
}

uint32_t msix_table_read(const struct msix *msix, uint32_t offset)
{
    unsigned vector = offset / 16;
    return vector < msix->count ? msix->table[vector].word[offset / 4 % 4] : 0;
}

bool msix_table_write(struct msix *msix, uint32_t offset, uint32_t value)
{
    unsigned vector = offset / 16, word = offset / 4 % 4;
    if (vector >= msix->count)
        return false;
    if (word == 3)
        value &= PCI_MSIX_ENTRY_CTRL_MASKBIT;
    if (msix->table[vector].word[word] == value)
        return false;
    msix->table[vector].word[word] = value;
    return true;
}
