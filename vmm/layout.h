/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* Guest physical addresses, I/O ports and interrupt numbers of the machine. One place, so that nothing
 * overlaps. */

/* RAM: [0, 3 GiB) and [4 GiB, ...). */
#define LAYOUT_LOW_RAM_MAX 0xc0000000ull
#define LAYOUT_HIGH_RAM    0x100000000ull

/* The 32-bit hole. */
#define LAYOUT_PCI_WINDOW      0xc0000000ull
#define LAYOUT_PCI_WINDOW_SIZE 0x20000000ull
#define LAYOUT_ECAM            0xe0000000ull /* bus 0 only */
#define LAYOUT_ECAM_SIZE       0x00100000ull
#define LAYOUT_IOAPIC          0xfec00000ull
#define LAYOUT_LOCAL_APIC      0xfee00000ull
#define LAYOUT_KVM_IDENTITY    0xfffbc000ull /* one page, then three for the TSS (Intel hosts) */
#define LAYOUT_KVM_TSS         0xfffbd000ull

/* What the boot loader leaves in low memory. The guest may take all of it back. */
#define LAYOUT_GDT              0x00000500ull
#define LAYOUT_START_INFO       0x00006000ull /* PVH start info, its module list and memory map */
#define LAYOUT_ZERO_PAGE        0x00007000ull /* struct boot_params */
#define LAYOUT_PAGE_TABLES      0x00010000ull /* 6 pages */
#define LAYOUT_COMMAND_LINE     0x00020000ull
#define LAYOUT_COMMAND_LINE_MAX 0x00001000ull /* bytes, with the terminating zero */
#define LAYOUT_LOW_RAM_END      0x0009fc00ull
#define LAYOUT_ACPI             0x000e0000ull /* where a guest searches for the RSDP */
#define LAYOUT_ACPI_SIZE        0x00020000ull
#define LAYOUT_KERNEL           0x00100000ull /* lowest address of a loaded kernel */

/* I/O ports. */
#define LAYOUT_PORT_KEYBOARD 0x0060u /* 8042: only its reset line */
#define LAYOUT_PORT_SERIAL   0x03f8u
#define LAYOUT_PORT_PM       0x0600u /* PM1 event (4), PM1 control (2), gap (2), PM timer (4) */
#define LAYOUT_PORT_PCI      0x0cf8u /* CF8, CFC; CF9: reset register */
#define LAYOUT_PORT_PCI_IO   0xc000u /* the root bridge's I/O window; no device uses it */

/* Global system interrupts: 0-23 are pins of the I/O APIC, those above carry MSIs. */
#define LAYOUT_IRQ_SERIAL 4u
#define LAYOUT_IRQ_SCI    9u
#define LAYOUT_IRQ_PCI    16u /* eight pins, slot modulo 8 */
#define LAYOUT_GSI_MSI    24u
