/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * ACPI tables (ACPI 6.4): RSDP, XSDT, FADT, MADT, MCFG, DSDT. They say what layout.h says: CPUs, I/O APIC,
 * PCI root with its windows and interrupt routing, serial port, power button, reset register, S5.
 */
#include <stdint.h>
#include "ram.h"

/* Writes the tables to LAYOUT_ACPI. 0 or -ENOSPC; *rsdp: guest physical address of the root. */
int acpi_write(const struct ram *ram, unsigned cpu_count, uint64_t *rsdp);

/* The same into any buffer that the guest sees at `address`: for acpi_write, the dump and the tests.
 * table: called for each one as it is finished, may be NULL. */
int acpi_build(uint8_t *data, uint32_t size, uint64_t address, unsigned cpu_count,
               void (*table)(void *context, const char *signature, const uint8_t *data, uint32_t size),
               void *context, uint64_t *rsdp);
