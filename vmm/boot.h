/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Loads what the guest starts with: a Linux bzImage (Documentation/arch/x86/boot.rst, 64-bit protocol) or an
 * ELF file with a PVH entry note (xen/include/public/arch-x86/hvm/start_info.h), an initrd, a command line.
 * The files come from the user but are not trusted: every offset and size in them is checked against the file
 * and against RAM.
 */
#include <stdint.h>
#include "ram.h"
#include "vcpu.h"

struct boot_config {
    int kernel_fd;
    int initrd_fd; /* -1: none */
    const char *command_line;
    uint64_t rsdp; /* guest physical address of ACPI's root; 0: no ACPI */
};

enum boot_format { BOOT_BZIMAGE, BOOT_PVH };

struct boot_result {
    enum boot_format format;
    struct vcpu_boot vcpu;
    uint64_t kernel, kernel_size; /* guest physical, bytes */
    uint64_t initrd, initrd_size;
};

/* 0, or -errno and *why (constant text: what is wrong with which file). May be called again for a reset. */
int boot_load(const struct ram *ram, const struct boot_config *config, struct boot_result *result,
              const char **why);

/* The two formats; boot_load picks one by the first bytes of the file. `header` is its first page, zero
 * padded. */
#define BOOT_HEADER_SIZE 4096u
int boot_load_bzimage(const struct ram *ram, const struct boot_config *config, const uint8_t *header,
                      uint64_t file_size, struct boot_result *result, const char **why);
int boot_load_pvh(const struct ram *ram, const struct boot_config *config, const uint8_t *header,
                  uint64_t file_size, struct boot_result *result, const char **why);

/* For them. */
struct boot_range {
    uint64_t address, size;
    uint32_t type; /* E820: 1 RAM, 2 reserved */
};
#define BOOT_RANGES_MAX 8u
unsigned boot_memory_map(const struct ram *ram, struct boot_range ranges[BOOT_RANGES_MAX]);
/* Reads [offset, offset + size) of a file into RAM. 0, -EFAULT (no RAM there), -EIO (file too short). */
int boot_read(const struct ram *ram, uint64_t address, int fd, uint64_t offset, uint64_t size);
/* As high as possible below `limit`, above `lowest`. Fills in result->initrd*. */
int boot_load_initrd(const struct ram *ram, int fd, uint64_t lowest, uint64_t limit,
                     struct boot_result *result, const char **why);
