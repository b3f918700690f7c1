/* SPDX-License-Identifier: BSD-3-Clause */
#include <asm/bootparam.h>
#include <errno.h>
#include <string.h>
#include "boot.h"
#include "layout.h"

#define SECTOR          512u
#define PROTOCOL_MIN    0x020c /* 2.12: xloadflags says that there is a 64-bit entry */
#define ENTRY_64        0x200u
#define LOADER_UNKNOWN  0xff
#define HEADER_OFFSET   0x1f1u
#define HEADER_END_BYTE 0x201u /* the header ends this byte's value after 0x202 */

static void fill_memory_map(const struct ram *ram, struct boot_params *params)
{
    struct boot_range ranges[BOOT_RANGES_MAX];
    unsigned count = boot_memory_map(ram, ranges);
    for (unsigned i = 0; i < count; i++)
        params->e820_table[i] = (struct boot_e820_entry){ranges[i].address, ranges[i].size, ranges[i].type};
    params->e820_entries = (uint8_t)count;
}

int boot_load_bzimage(const struct ram *ram, const struct boot_config *config, const uint8_t *header,
                      uint64_t file_size, struct boot_result *result, const char **why)
{
    struct boot_params params;
    memset(&params, 0, sizeof(params));
    size_t header_size = 0x202u + header[HEADER_END_BYTE] - HEADER_OFFSET;
    if (header_size > sizeof(params.hdr))
        header_size = sizeof(params.hdr);
    memcpy(&params.hdr, header + HEADER_OFFSET, header_size);
    struct setup_header *setup = &params.hdr;
    *why = "the kernel is a bzImage without a 64-bit entry (boot protocol below 2.12, or a 32-bit kernel)";
    if (setup->version < PROTOCOL_MIN || !(setup->xloadflags & XLF_KERNEL_64))
        return -ENOEXEC;
    uint64_t payload = ((setup->setup_sects ? setup->setup_sects : 4u) + 1u) * SECTOR;
    *why = "the kernel is truncated";
    if (payload >= file_size || file_size - payload < ENTRY_64)
        return -ENOEXEC;
    uint64_t size = file_size - payload;
    uint64_t address = setup->pref_address >= LAYOUT_KERNEL ? setup->pref_address : LAYOUT_KERNEL;
    uint64_t needed = setup->init_size > size ? setup->init_size : size;
    *why = "the kernel does not fit into memory: give the machine more memory";
    if (!ram_at(ram, address, needed))
        return -ENOMEM;
    *why = "the kernel cannot be read";
    int error = boot_read(ram, address, config->kernel_fd, payload, size);
    if (!error)
        error = boot_load_initrd(ram, config->initrd_fd, address + needed,
                                 (uint64_t)setup->initrd_addr_max + 1, result, why);
    if (error)
        return error;
    *why = "the command line is longer than the kernel takes";
    if (setup->cmdline_size && strlen(config->command_line) > setup->cmdline_size)
        return -E2BIG;
    setup->type_of_loader = LOADER_UNKNOWN;
    setup->loadflags &= (uint8_t) ~(CAN_USE_HEAP | QUIET_FLAG);
    setup->cmd_line_ptr = LAYOUT_COMMAND_LINE;
    setup->code32_start = (uint32_t)address;
    setup->setup_data = 0;
    setup->ramdisk_image = (uint32_t)result->initrd;
    setup->ramdisk_size = (uint32_t)result->initrd_size;
    params.acpi_rsdp_addr = config->rsdp;
    fill_memory_map(ram, &params);
    memcpy(ram_at(ram, LAYOUT_ZERO_PAGE, sizeof(params)), &params, sizeof(params));
    result->format = BOOT_BZIMAGE;
    result->kernel = address;
    result->kernel_size = needed;
    result->vcpu = (struct vcpu_boot){.long_mode = true, .rip = address + ENTRY_64, .rsi = LAYOUT_ZERO_PAGE};
    return 0;
}
