/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "boot.h"
#include "layout.h"

unsigned boot_memory_map(const struct ram *ram, struct boot_range ranges[BOOT_RANGES_MAX])
{
    unsigned count = 0;
    ranges[count++] = (struct boot_range){0, LAYOUT_LOW_RAM_END, 1};
    ranges[count++] = (struct boot_range){LAYOUT_LOW_RAM_END, LAYOUT_KERNEL - LAYOUT_LOW_RAM_END, 2};
    ranges[count++] = (struct boot_range){LAYOUT_KERNEL, ram->ranges[0].size - LAYOUT_KERNEL, 1};
    ranges[count++] = (struct boot_range){LAYOUT_ECAM, LAYOUT_ECAM_SIZE, 2};
    if (ram->range_count > 1)
        ranges[count++] = (struct boot_range){LAYOUT_HIGH_RAM, ram->ranges[1].size, 1};
    return count;
}

int boot_read(const struct ram *ram, uint64_t address, int fd, uint64_t offset, uint64_t size)
{
    uint8_t *to = ram_at(ram, address, size);
    if (size == 0)
        return 0;
    if (!to)
        return -EFAULT;
    while (size > 0) {
        ssize_t got = pread(fd, to, size, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -EIO;
        to += got;
        offset += (uint64_t)got;
        size -= (uint64_t)got;
    }
    return 0;
}

static int file_size(int fd, uint64_t *size)
{
    struct stat stat;
    if (fstat(fd, &stat))
        return -errno;
    if (!S_ISREG(stat.st_mode))
        return -EINVAL;
    *size = (uint64_t)stat.st_size;
    return 0;
}

int boot_load_initrd(const struct ram *ram, int fd, uint64_t lowest, uint64_t limit,
                     struct boot_result *result, const char **why)
{
    result->initrd = result->initrd_size = 0;
    if (fd < 0)
        return 0;
    uint64_t size = 0;
    *why = "the initrd is not a regular file";
    int error = file_size(fd, &size);
    if (error)
        return error;
    if (limit > ram->ranges[0].size)
        limit = ram->ranges[0].size;
    *why = "the initrd does not fit into memory beside the kernel: give the machine more memory";
    if (lowest > limit || size > limit - lowest)
        return -ENOMEM;
    uint64_t address = (limit - size) & ~0xfffull;
    if (address < lowest)
        return -ENOMEM;
    *why = "the initrd cannot be read";
    error = boot_read(ram, address, fd, 0, size);
    if (error)
        return error;
    result->initrd = address;
    result->initrd_size = size;
    return 0;
}

/* Flat segments for both protocols: 0x10 code, 0x18 data. */
static void write_gdt(const struct ram *ram, bool long_mode)
{
    const uint64_t gdt[4] = {0, 0, long_mode ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull,
                             0x00cf93000000ffffull};
    memcpy(ram_at(ram, LAYOUT_GDT, sizeof(gdt)), gdt, sizeof(gdt));
}

/* The first 4 GiB one to one, in 2 MiB pages. */
static void write_page_tables(const struct ram *ram)
{
    uint64_t *tables = ram_at(ram, LAYOUT_PAGE_TABLES, 6 * 4096);
    memset(tables, 0, 6 * 4096);
    tables[0] = (LAYOUT_PAGE_TABLES + 4096) | 3;
    for (unsigned i = 0; i < 4; i++)
        tables[512 + i] = (LAYOUT_PAGE_TABLES + 4096 * (2 + i)) | 3;
    for (uint64_t i = 0; i < 2048; i++)
        tables[1024 + i] = i << 21 | 0x83;
}

int boot_load(const struct ram *ram, const struct boot_config *config, struct boot_result *result,
              const char **why)
{
    uint8_t header[BOOT_HEADER_SIZE] = {0};
    uint64_t size = 0;
    memset(result, 0, sizeof(*result));
    *why = "the kernel is not a regular file";
    int error = file_size(config->kernel_fd, &size);
    if (error)
        return error;
    *why = "the kernel cannot be read";
    if (pread(config->kernel_fd, header, sizeof(header), 0) < 0)
        return -errno;
    *why = "the command line is too long";
    size_t length = strlen(config->command_line);
    if (length >= LAYOUT_COMMAND_LINE_MAX)
        return -E2BIG;
    memcpy(ram_at(ram, LAYOUT_COMMAND_LINE, length + 1), config->command_line, length + 1);
    if (memcmp(header, "\177ELF", 4) == 0)
        error = boot_load_pvh(ram, config, header, size, result, why);
    else if (memcmp(header + 0x202, "HdrS", 4) == 0)
        error = boot_load_bzimage(ram, config, header, size, result, why);
    else {
        *why = "the kernel is neither a Linux bzImage nor an ELF file";
        error = -ENOEXEC;
    }
    if (error)
        return error;
    write_gdt(ram, result->vcpu.long_mode);
    if (result->vcpu.long_mode)
        write_page_tables(ram);
    return 0;
}
