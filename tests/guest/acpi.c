/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest.h"

static const uint8_t *root;

void acpi_init(uint64_t rsdp)
{
    uint64_t address;
    if (!rsdp)
        return;
    memcpy(&address, (const uint8_t *)rsdp + 24, 8);
    root = (const uint8_t *)address;
}

const uint8_t *acpi_table(const char *signature)
{
    uint32_t length;
    if (!root)
        return NULL;
    memcpy(&length, root + 4, 4);
    for (uint32_t at = 36; at + 8 <= length; at += 8) {
        uint64_t address;
        memcpy(&address, root + at, 8);
        if (memcmp((const void *)address, signature, 4) == 0)
            return (const uint8_t *)address;
    }
    return NULL;
}
