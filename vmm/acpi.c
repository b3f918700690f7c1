/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include "acpi.h"
#include "aml.h"
#include "layout.h"
#include "pci.h"
#include "pm.h"

struct header {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem_id[6], oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
} __attribute__((packed));

struct generic_address { /* 5.2.3.2 */
    uint8_t space, width, offset, access;
    uint64_t address;
} __attribute__((packed));
#define SPACE_IO 1u

struct rsdp { /* 5.2.5.3 */
    char signature[8];
    uint8_t checksum;
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
    uint8_t extended_checksum, reserved[3];
} __attribute__((packed));

struct fadt { /* 5.2.9 */
    struct header header;
    uint32_t facs, dsdt;
    uint8_t reserved1, profile;
    uint16_t sci_interrupt;
    uint32_t smi_command;
    uint8_t acpi_enable, acpi_disable, s4bios, pstate_control;
    uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
    uint8_t pm1_event_length, pm1_control_length, pm2_control_length, pm_timer_length;
    uint8_t gpe0_length, gpe1_length, gpe1_base, cst_control;
    uint16_t c2_latency, c3_latency, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
    uint16_t boot_flags;
    uint8_t reserved2;
    uint32_t flags;
    struct generic_address reset_register;
    uint8_t reset_value;
    uint16_t arm_boot_flags;
    uint8_t minor_revision;
    uint64_t x_facs, x_dsdt;
    struct generic_address x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control,
        x_pm_timer, x_gpe0, x_gpe1, sleep_control, sleep_status;
    uint64_t hypervisor_id;
} __attribute__((packed));
_Static_assert(sizeof(struct fadt) == 276, "FADT revision 6");

/* Fixed feature flags, 5.2.9: the power button is the fixed one (bit 4 clear). */
#define FADT_WBINVD       (1u << 0)
#define FADT_PROC_C1      (1u << 2)
#define FADT_SLEEP_BUTTON (1u << 5)
#define FADT_TIMER_32BIT  (1u << 8)
#define FADT_RESET        (1u << 10)
/* IA-PC boot flags: no VGA, no CMOS clock. */
#define BOOT_FLAGS 0x0024u

struct facs { /* 5.2.10 */
    char signature[4];
    uint32_t length, hardware_signature, waking_vector, global_lock, flags;
    uint64_t x_waking_vector;
    uint8_t version, reserved[3];
    uint32_t ospm_flags;
    uint8_t reserved2[24];
} __attribute__((packed));

struct writer {
    uint8_t *data;
    uint32_t size, used; /* bytes */
    uint64_t address;
    void (*table)(void *context, const char *signature, const uint8_t *data, uint32_t size);
    void *context;
};

static uint8_t checksum(const void *data, size_t size)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)data)[i]);
    return (uint8_t)-sum;
}

static struct header make_header(const char *signature, uint8_t revision)
{
    struct header header = {.revision = revision, .oem_revision = 1, .creator_revision = 1};
    memcpy(header.signature, signature, 4);
    memcpy(header.oem_id, "WEFT  ", 6);
    memcpy(header.oem_table_id, "WEFTVMM ", 8);
    memcpy(header.creator_id, "WEFT", 4);
    return header;
}

/* Room for something of `size` bytes, aligned to 64; NULL: full. */
static uint8_t *reserve(struct writer *writer, uint32_t size, uint64_t *address)
{
    uint32_t at = (writer->used + 63) & ~63u;
    if (at > writer->size || size > writer->size - at)
        return NULL;
    writer->used = at + size;
    *address = writer->address + at;
    return writer->data + at;
}

/* Finishes a table (length, checksum) and puts it down. 0: no room. */
static uint64_t add_table(struct writer *writer, void *table, uint32_t size)
{
    uint64_t address = 0;
    struct header *header = table;
    header->length = size;
    header->checksum = 0;
    header->checksum = checksum(table, size);
    uint8_t *to = reserve(writer, size, &address);
    if (!to)
        return 0;
    memcpy(to, table, size);
    if (writer->table)
        writer->table(writer->context, header->signature, to, size);
    return address;
}

/* DSDT */

static void add_serial(struct aml *aml)
{
    size_t device = aml_open_device(aml, "COM1");
    aml_name_eisa(aml, "_HID", "PNP0501");
    aml_name_integer(aml, "_UID", 1);
    size_t resources = aml_open_resources(aml);
    aml_io(aml, LAYOUT_PORT_SERIAL, 8);
    aml_irq(aml, LAYOUT_IRQ_SERIAL);
    aml_close_resources(aml, resources);
    aml_close(aml, device);
}

/* Each slot's pin A goes to one of eight pins of the I/O APIC (6.2.13). */
static void add_routing(struct aml *aml)
{
    aml_name(aml, "_PRT");
    size_t table = aml_open_package(aml, PCI_SLOTS - 1);
    for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
        size_t entry = aml_open_package(aml, 4);
        aml_integer(aml, slot << 16 | 0xffff);
        aml_integer(aml, 0);
        aml_integer(aml, 0);
        aml_integer(aml, LAYOUT_IRQ_PCI + slot % 8);
        aml_close(aml, entry);
    }
    aml_close(aml, table);
}

static void add_pci(struct aml *aml)
{
    size_t device = aml_open_device(aml, "PCI0");
    aml_name_eisa(aml, "_HID", "PNP0A08");
    aml_name_eisa(aml, "_CID", "PNP0A03");
    aml_name_integer(aml, "_SEG", 0);
    aml_name_integer(aml, "_BBN", 0);
    aml_name_integer(aml, "_UID", 0);
    size_t resources = aml_open_resources(aml);
    aml_bus_range(aml, 0, 0);
    aml_io(aml, LAYOUT_PORT_PCI, 8);
    aml_io_window(aml, LAYOUT_PORT_PCI_IO, 0xffff);
    aml_memory_window(aml, (uint32_t)LAYOUT_PCI_WINDOW,
                      (uint32_t)(LAYOUT_PCI_WINDOW + LAYOUT_PCI_WINDOW_SIZE - 1));
    aml_close_resources(aml, resources);
    add_routing(aml);
    aml_close(aml, device);
}

/* The ECAM window must be reserved by a motherboard resource (PCI Firmware 3.0, 4.1.2). */
static void add_motherboard(struct aml *aml)
{
    size_t device = aml_open_device(aml, "MBRD");
    aml_name_eisa(aml, "_HID", "PNP0C02");
    aml_name_integer(aml, "_UID", 0);
    size_t resources = aml_open_resources(aml);
    aml_memory32(aml, (uint32_t)LAYOUT_ECAM, (uint32_t)LAYOUT_ECAM_SIZE);
    aml_io(aml, LAYOUT_PORT_PM, 16);
    aml_close_resources(aml, resources);
    aml_close(aml, device);
}

static void add_processors(struct aml *aml, unsigned cpu_count)
{
    static const char digits[] = "0123456789ABCDEF";
    for (unsigned i = 0; i < cpu_count; i++) {
        char name[5] = {'C', 'P', 'U', digits[i & 15], 0};
        size_t device = aml_open_device(aml, name);
        aml_name_string_value(aml, "_HID", "ACPI0007");
        aml_name_integer(aml, "_UID", i);
        aml_close(aml, device);
    }
}

static uint64_t add_dsdt(struct writer *writer, unsigned cpu_count)
{
    uint8_t data[4096];
    struct aml aml = {.data = data, .capacity = sizeof(data)};
    struct header header = make_header("DSDT", 2);
    aml_bytes(&aml, &header, sizeof(header));
    size_t scope = aml_open_scope(&aml, "\\_SB");
    add_processors(&aml, cpu_count);
    add_motherboard(&aml);
    add_pci(&aml);
    add_serial(&aml);
    aml_close(&aml, scope);
    aml_name(&aml, "\\_S5");
    size_t package = aml_open_package(&aml, 4);
    aml_integer(&aml, PM_SLEEP_TYPE_OFF);
    aml_integer(&aml, PM_SLEEP_TYPE_OFF);
    aml_integer(&aml, 0);
    aml_integer(&aml, 0);
    aml_close(&aml, package);
    return aml.overflow ? 0 : add_table(writer, data, (uint32_t)aml.size);
}

static struct generic_address port_address(uint16_t port, uint8_t width)
{
    return (struct generic_address){SPACE_IO, width, 0, width == 8 ? 1 : width == 16 ? 2 : 3, port};
}

static uint64_t add_fadt(struct writer *writer, uint64_t dsdt)
{
    uint64_t facs_address = 0;
    struct facs facs = {.length = sizeof(facs), .version = 2};
    memcpy(facs.signature, "FACS", 4);
    uint8_t *to = reserve(writer, sizeof(facs), &facs_address);
    if (!to)
        return 0;
    memcpy(to, &facs, sizeof(facs));
    struct fadt fadt = {
        .header = make_header("FACP", 6),
        .facs = (uint32_t)facs_address,
        .dsdt = (uint32_t)dsdt,
        .sci_interrupt = LAYOUT_IRQ_SCI,
        .pm1a_event = LAYOUT_PORT_PM,
        .pm1a_control = LAYOUT_PORT_PM + 4,
        .pm_timer = LAYOUT_PORT_PM + 8,
        .pm1_event_length = 4,
        .pm1_control_length = 2,
        .pm_timer_length = 4,
        .c2_latency = 0xffff,
        .c3_latency = 0xffff,
        .boot_flags = BOOT_FLAGS,
        .flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLEEP_BUTTON | FADT_TIMER_32BIT | FADT_RESET,
        .reset_register = port_address(PM_RESET_PORT, 8),
        .reset_value = PM_RESET_VALUE,
        .minor_revision = 4,
        .x_dsdt = dsdt,
        .x_pm1a_event = port_address(LAYOUT_PORT_PM, 32),
        .x_pm1a_control = port_address(LAYOUT_PORT_PM + 4, 16),
        .x_pm_timer = port_address(LAYOUT_PORT_PM + 8, 32),
    };
    memcpy(&fadt.hypervisor_id, "WEFTVMM", 8);
    return add_table(writer, &fadt, sizeof(fadt));
}

static uint64_t add_madt(struct writer *writer, unsigned cpu_count)
{
    uint8_t data[1024];
    struct aml list = {.data = data, .capacity = sizeof(data)};
    struct header header = make_header("APIC", 5);
    const uint32_t lapic = (uint32_t)LAYOUT_LOCAL_APIC, ioapic = (uint32_t)LAYOUT_IOAPIC,
                   flags = 1; /* 8259s too */
    aml_bytes(&list, &header, sizeof(header));
    aml_bytes(&list, &lapic, 4);
    aml_bytes(&list, &flags, 4);
    for (unsigned i = 0; i < cpu_count; i++) /* 5.2.12.2: local APIC, enabled */
        aml_bytes(&list, (const uint8_t[]){0, 8, (uint8_t)i, (uint8_t)i, 1, 0, 0, 0}, 8);
    aml_bytes(&list, (const uint8_t[]){1, 12, 0, 0}, 4); /* 5.2.12.3: I/O APIC, id 0 */
    aml_bytes(&list, &ioapic, 4);
    aml_bytes(&list, (const uint8_t[]){0, 0, 0, 0}, 4);
    aml_bytes(&list, (const uint8_t[]){2, 10, 0, 0, 2, 0, 0, 0, 0, 0}, 10); /* the timer is on pin 2 */
    aml_bytes(&list, (const uint8_t[]){2, 10, 0, LAYOUT_IRQ_SCI, LAYOUT_IRQ_SCI, 0, 0, 0, 0x0d, 0},
              10);                                               /* level, high */
    aml_bytes(&list, (const uint8_t[]){4, 6, 0xff, 0, 0, 1}, 6); /* NMI on LINT1 of all */
    return list.overflow ? 0 : add_table(writer, data, (uint32_t)list.size);
}

static uint64_t add_mcfg(struct writer *writer)
{
    struct {
        struct header header;
        uint64_t reserved, base;
        uint16_t segment;
        uint8_t first_bus, last_bus;
        uint32_t reserved2;
    } __attribute__((packed)) mcfg = {.header = make_header("MCFG", 1), .base = LAYOUT_ECAM};
    return add_table(writer, &mcfg, sizeof(mcfg));
}

int acpi_build(uint8_t *data, uint32_t size, uint64_t address, unsigned cpu_count,
               void (*table)(void *context, const char *signature, const uint8_t *data, uint32_t size),
               void *context, uint64_t *rsdp_address)
{
    struct writer writer = {
        .data = data, .size = size, .address = address, .table = table, .context = context};
    struct rsdp *rsdp = (struct rsdp *)(void *)reserve(&writer, sizeof(*rsdp), rsdp_address);
    if (!rsdp)
        return -ENOSPC;
    uint64_t dsdt = add_dsdt(&writer, cpu_count);
    struct {
        struct header header;
        uint64_t tables[3];
    } __attribute__((packed)) xsdt = {.header = make_header("XSDT", 1)};
    xsdt.tables[0] = add_fadt(&writer, dsdt);
    xsdt.tables[1] = add_madt(&writer, cpu_count);
    xsdt.tables[2] = add_mcfg(&writer);
    uint64_t root = add_table(&writer, &xsdt, sizeof(xsdt));
    if (!dsdt || !xsdt.tables[0] || !xsdt.tables[1] || !xsdt.tables[2] || !root)
        return -ENOSPC;
    *rsdp = (struct rsdp){.revision = 2, .length = sizeof(*rsdp), .xsdt = root};
    memcpy(rsdp->signature, "RSD PTR ", 8);
    memcpy(rsdp->oem_id, "WEFT  ", 6);
    rsdp->checksum = checksum(rsdp, offsetof(struct rsdp, length));
    rsdp->extended_checksum = checksum(rsdp, sizeof(*rsdp));
    return 0;
}

int acpi_write(const struct ram *ram, unsigned cpu_count, uint64_t *rsdp)
{
    return acpi_build(ram_at(ram, LAYOUT_ACPI, LAYOUT_ACPI_SIZE), (uint32_t)LAYOUT_ACPI_SIZE, LAYOUT_ACPI,
                      cpu_count, NULL, NULL, rsdp);
}
