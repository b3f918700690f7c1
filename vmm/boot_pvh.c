/* SPDX-License-Identifier: BSD-3-Clause */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "boot.h"
#include "layout.h"

#define SEGMENTS_MAX     64u
#define NOTES_SIZE_MAX   65536u
#define NOTE_PHYS32      18u /* XEN_ELFNOTE_PHYS32_ENTRY */
#define START_INFO_MAGIC 0x336ec578u

/* xen/include/public/arch-x86/hvm/start_info.h, version 1 */
struct start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, command_line, rsdp, memory_map;
    uint32_t memory_map_count, reserved;
};

struct start_module {
    uint64_t address, size, command_line, reserved;
};

struct start_range {
    uint64_t address, size;
    uint32_t type, reserved;
};

/* What stands behind the start info in its page. */
struct start_page {
    struct start_info info;
    struct start_module module;
    struct start_range ranges[BOOT_RANGES_MAX];
};

/* The entry point out of a note segment; 0: it holds none. */
static uint64_t entry_of_notes(const uint8_t *notes, uint64_t size)
{
    uint64_t offset = 0;
    while (size - offset >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr note;
        memcpy(&note, notes + offset, sizeof(note));
        offset += sizeof(note);
        uint64_t name_size = (note.n_namesz + 3ull) & ~3ull, value_size = (note.n_descsz + 3ull) & ~3ull;
        if (name_size > size - offset || value_size > size - offset - name_size)
            return 0;
        const uint8_t *value = notes + offset + name_size;
        if (note.n_type == NOTE_PHYS32 && note.n_namesz == 4 && memcmp(notes + offset, "Xen", 4) == 0 &&
            (note.n_descsz == 4 || note.n_descsz == 8)) {
            uint64_t entry = 0;
            memcpy(&entry, value, note.n_descsz);
            return entry;
        }
        offset += name_size + value_size;
    }
    return 0;
}

static int read_entry(int fd, const Elf64_Phdr *segment, uint64_t *entry)
{
    uint64_t size = segment->p_filesz < NOTES_SIZE_MAX ? segment->p_filesz : NOTES_SIZE_MAX;
    uint8_t *notes = malloc(size ? size : 1);
    if (!notes)
        return -ENOMEM;
    ssize_t got = pread(fd, notes, size, (off_t)segment->p_offset);
    if (got > 0 && !*entry)
        *entry = entry_of_notes(notes, (uint64_t)got);
    free(notes);
    return got < 0 ? -errno : 0;
}

static int load_segment(const struct ram *ram, int fd, uint64_t file_size, const Elf64_Phdr *segment,
                        struct boot_result *result, const char **why)
{
    if (segment->p_memsz == 0)
        return 0;
    *why = "the kernel is truncated";
    if (segment->p_filesz > segment->p_memsz || segment->p_offset > file_size ||
        segment->p_filesz > file_size - segment->p_offset)
        return -ENOEXEC;
    *why = "the kernel does not fit into memory: give the machine more memory";
    uint8_t *memory = ram_at(ram, segment->p_paddr, segment->p_memsz);
    if (!memory || segment->p_paddr < LAYOUT_KERNEL)
        return -ENOMEM;
    *why = "the kernel cannot be read";
    int error = boot_read(ram, segment->p_paddr, fd, segment->p_offset, segment->p_filesz);
    if (error)
        return error;
    memset(memory + segment->p_filesz, 0, segment->p_memsz - segment->p_filesz);
    uint64_t end = segment->p_paddr + segment->p_memsz;
    if (!result->kernel || segment->p_paddr < result->kernel) {
        result->kernel_size += result->kernel ? result->kernel - segment->p_paddr : 0;
        result->kernel = segment->p_paddr;
    }
    if (end - result->kernel > result->kernel_size)
        result->kernel_size = end - result->kernel;
    return 0;
}

static void write_start_info(const struct ram *ram, const struct boot_config *config,
                             const struct boot_result *result)
{
    struct start_page page = {
        .info = {.magic = START_INFO_MAGIC,
                 .version = 1,
                 .module_count = result->initrd_size > 0,
                 .modules = LAYOUT_START_INFO + offsetof(struct start_page, module),
                 .command_line = LAYOUT_COMMAND_LINE,
                 .rsdp = config->rsdp,
                 .memory_map = LAYOUT_START_INFO + offsetof(struct start_page, ranges)},
        .module = {.address = result->initrd, .size = result->initrd_size},
    };
    struct boot_range ranges[BOOT_RANGES_MAX];
    page.info.memory_map_count = boot_memory_map(ram, ranges);
    for (unsigned i = 0; i < page.info.memory_map_count; i++)
        page.ranges[i] = (struct start_range){ranges[i].address, ranges[i].size, ranges[i].type, 0};
    memcpy(ram_at(ram, LAYOUT_START_INFO, sizeof(page)), &page, sizeof(page));
}

int boot_load_pvh(const struct ram *ram, const struct boot_config *config, const uint8_t *header,
                  uint64_t file_size, struct boot_result *result, const char **why)
{
    Elf64_Ehdr elf;
    uint64_t entry = 0;
    memcpy(&elf, header, sizeof(elf));
    *why = "the kernel is an ELF file, but not a 64-bit x86 one";
    if (elf.e_ident[EI_CLASS] != ELFCLASS64 || elf.e_ident[EI_DATA] != ELFDATA2LSB ||
        elf.e_machine != EM_X86_64)
        return -ENOEXEC;
    *why = "the kernel's ELF program headers are not usable";
    if (elf.e_phentsize != sizeof(Elf64_Phdr) || elf.e_phnum == 0 || elf.e_phnum > SEGMENTS_MAX ||
        elf.e_phoff > file_size || elf.e_phnum * sizeof(Elf64_Phdr) > file_size - elf.e_phoff)
        return -ENOEXEC;
    for (unsigned i = 0; i < elf.e_phnum; i++) {
        Elf64_Phdr segment;
        *why = "the kernel's ELF program headers are not usable";
        if (pread(config->kernel_fd, &segment, sizeof(segment), (off_t)(elf.e_phoff + i * sizeof(segment))) !=
            sizeof(segment))
            return -ENOEXEC;
        int error = 0;
        if (segment.p_type == PT_LOAD)
            error = load_segment(ram, config->kernel_fd, file_size, &segment, result, why);
        else if (segment.p_type == PT_NOTE)
            error = read_entry(config->kernel_fd, &segment, &entry);
        if (error)
            return error;
    }
    *why = "the kernel is an ELF file without a PVH entry note (Linux: CONFIG_PVH), and not a bzImage";
    if (entry - result->kernel >= result->kernel_size || entry > UINT32_MAX)
        return -ENOEXEC;
    int error = boot_load_initrd(ram, config->initrd_fd, result->kernel + result->kernel_size,
                                 LAYOUT_LOW_RAM_MAX, result, why);
    if (error)
        return error;
    write_start_info(ram, config, result);
    result->format = BOOT_PVH;
    result->vcpu = (struct vcpu_boot){.rip = entry, .rbx = LAYOUT_START_INFO};
    return 0;
}
