/* SPDX-License-Identifier: BSD-3-Clause */
/* Boot images, the memory map, ACPI tables, RAM, CPU masks and the cloud-init seed, from made-up inputs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "acpi.h"
#include "boot.h"
#include "cpuid.h"
#include "layout.h"
#include "seed.h"

#define RAM_SIZE (32ull << 20)

static int file_of(const void *data, size_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), size);
    return fd;
}

static int load(struct ram *ram, const void *kernel, size_t size, size_t initrd_size, const char *line,
                struct boot_result *result)
{
    const char *why = NULL;
    uint8_t *initrd = calloc(1, initrd_size + 1);
    memset(initrd, 0xab, initrd_size);
    struct boot_config config = {.kernel_fd = file_of(kernel, size),
                                 .initrd_fd = initrd_size ? file_of(initrd, initrd_size) : -1,
                                 .command_line = line,
                                 .rsdp = 0xe0000};
    int error = boot_load(ram, &config, result, &why);
    assert_true(!error || why);
    close(config.kernel_fd);
    if (config.initrd_fd >= 0)
        close(config.initrd_fd);
    free(initrd);
    return error;
}

/* An ELF file with one segment at `address` and a PVH note behind it. */
struct image {
    Elf64_Ehdr elf;
    Elf64_Phdr segments[2];
    uint8_t code[64];
    struct {
        Elf64_Nhdr header;
        char name[4];
        uint32_t entry;
    } note;
};

static struct image make_image(uint64_t address)
{
    struct image image = {0};
    memcpy(image.elf.e_ident, "\177ELF\2\1\1", 7);
    image.elf.e_machine = EM_X86_64;
    image.elf.e_phoff = offsetof(struct image, segments);
    image.elf.e_phentsize = sizeof(Elf64_Phdr);
    image.elf.e_phnum = 2;
    image.segments[0] = (Elf64_Phdr){.p_type = PT_LOAD,
                                     .p_offset = offsetof(struct image, code),
                                     .p_paddr = address,
                                     .p_filesz = sizeof(image.code),
                                     .p_memsz = 4096};
    image.segments[1] = (Elf64_Phdr){
        .p_type = PT_NOTE, .p_offset = offsetof(struct image, note), .p_filesz = sizeof(image.note)};
    memset(image.code, 0x90, sizeof(image.code));
    image.note.header = (Elf64_Nhdr){4, 4, 18};
    memcpy(image.note.name, "Xen", 4);
    image.note.entry = (uint32_t)address + 16;
    return image;
}

static void pvh_image(void **state)
{
    struct ram *ram = *state;
    struct boot_result result;
    struct image image = make_image(0x200000);
    memset(ram->host + 0x200000, 0xff, 8192);
    assert_int_equal(load(ram, &image, sizeof(image), 5000, "hello", &result), 0);
    assert_int_equal(result.format, BOOT_PVH);
    assert_int_equal(result.vcpu.rip, 0x200010);
    assert_int_equal(result.vcpu.rbx, LAYOUT_START_INFO);
    assert_int_equal(ram->host[0x200000], 0x90);
    assert_int_equal(ram->host[0x200040], 0); /* the part that is not in the file */
    assert_int_equal(ram->host[0x200fff], 0);
    assert_int_equal(ram->host[0x201000], 0xff);
    assert_string_equal((const char *)ram->host + LAYOUT_COMMAND_LINE, "hello");
    assert_int_equal(result.initrd % 4096, 0);
    assert_int_equal(ram->host[result.initrd + 4999], 0xab);
    uint32_t magic;
    memcpy(&magic, ram->host + LAYOUT_START_INFO, 4);
    assert_int_equal(magic, 0x336ec578);
}

static void bad_pvh_images(void **state)
{
    struct ram *ram = *state;
    struct boot_result result;
    struct image image;
#define REFUSED(change, expected)                                                                            \
    image = make_image(0x200000);                                                                            \
    change;                                                                                                  \
    assert_int_equal(load(ram, &image, sizeof(image), 0, "", &result), expected)
    REFUSED(image.elf.e_ident[EI_CLASS] = ELFCLASS32, -ENOEXEC);
    REFUSED(image.elf.e_machine = EM_AARCH64, -ENOEXEC);
    REFUSED(image.elf.e_phoff = UINT64_MAX - 10, -ENOEXEC);
    REFUSED(image.elf.e_phoff = sizeof(image), -ENOEXEC);
    REFUSED(image.elf.e_phnum = 0, -ENOEXEC);
    REFUSED(image.elf.e_phnum = 65535, -ENOEXEC);
    REFUSED(image.elf.e_phentsize = 8, -ENOEXEC);
    REFUSED(image.segments[0].p_offset = UINT64_MAX, -ENOEXEC);
    REFUSED(image.segments[0].p_filesz = 1 << 20, -ENOEXEC);
    REFUSED(image.segments[0].p_memsz = 8, -ENOEXEC);
    REFUSED(image.segments[0].p_memsz = UINT64_MAX, -ENOMEM);
    REFUSED(image.segments[0].p_paddr = RAM_SIZE - 100, -ENOMEM);
    REFUSED(image.segments[0].p_paddr = UINT64_MAX - 100, -ENOMEM);
    REFUSED(image.segments[0].p_paddr = 0x8000, -ENOMEM); /* over the loader's own data */
    REFUSED(image.note.header.n_descsz = UINT32_MAX, -ENOEXEC);
    REFUSED(image.note.header.n_namesz = UINT32_MAX - 2, -ENOEXEC);
    REFUSED(image.note.header.n_type = 1, -ENOEXEC);
    REFUSED(image.note.entry = 0x201000, -ENOEXEC); /* outside what was loaded */
    REFUSED((void)0, 0);
}

static void bzimage(void **state)
{
    struct ram *ram = *state;
    struct boot_result result;
    uint8_t *kernel = calloc(1, 20000);
    kernel[0x1f1] = 4;
    memcpy(kernel + 0x202, "HdrS\x0f\x02", 6);
    kernel[0x201] = 0x6a;
    kernel[0x236] = 1;                                /* xloadflags: 64-bit */
    memcpy(kernel + 0x258, &(uint64_t){0x400000}, 8); /* pref_address */
    memcpy(kernel + 0x260, &(uint32_t){1 << 20}, 4);  /* init_size */
    memcpy(kernel + 0x22c, &(uint32_t){0x7fffffff}, 4);
    memset(kernel + 2560, 0xcc, 20000 - 2560);
    assert_int_equal(load(ram, kernel, 20000, 4096, "console=ttyS0", &result), 0);
    assert_int_equal(result.format, BOOT_BZIMAGE);
    assert_int_equal(result.vcpu.rip, 0x400200);
    assert_int_equal(result.vcpu.rsi, LAYOUT_ZERO_PAGE);
    assert_true(result.vcpu.long_mode);
    assert_int_equal(ram->host[0x400000], 0xcc);
    uint8_t *zero_page = ram->host + LAYOUT_ZERO_PAGE;
    assert_int_equal(zero_page[0x1e8], 4); /* E820 entries */
    assert_memory_equal(zero_page + 0x202, "HdrS", 4);
    uint32_t value;
    memcpy(&value, zero_page + 0x228, 4);
    assert_int_equal(value, LAYOUT_COMMAND_LINE);
    memcpy(&value, zero_page + 0x218, 4);
    assert_int_equal(value, result.initrd);
    assert_true(result.initrd >= 0x400000 + (1 << 20));
    assert_int_equal(load(ram, kernel, 2600, 0, "", &result), -ENOEXEC); /* truncated */
    assert_int_equal(load(ram, kernel, 20000, RAM_SIZE, "", &result), -ENOMEM);
    memcpy(kernel + 0x260, &(uint32_t){0xffffffff}, 4);
    assert_int_equal(load(ram, kernel, 20000, 0, "", &result), -ENOMEM);
    kernel[0x236] = 0;
    assert_int_equal(load(ram, kernel, 20000, 0, "", &result), -ENOEXEC);
    assert_int_equal(load(ram, "nothing", 7, 0, "", &result), -ENOEXEC);
    char line[LAYOUT_COMMAND_LINE_MAX + 1];
    memset(line, 'x', sizeof(line));
    line[LAYOUT_COMMAND_LINE_MAX] = 0;
    assert_int_equal(load(ram, kernel, 20000, 0, line, &result), -E2BIG);
    free(kernel);
}

static void ram_ranges(void **state)
{
    (void)state;
    struct ram ram;
    assert_int_equal(ram_init(&ram, 4ull << 30, RAM_HUGEPAGES_OFF, false), 0);
    assert_int_equal(ram.range_count, 2);
    assert_non_null(ram_at(&ram, 0, 1));
    assert_non_null(ram_at(&ram, LAYOUT_LOW_RAM_MAX - 16, 16));
    assert_null(ram_at(&ram, LAYOUT_LOW_RAM_MAX - 16, 17));
    assert_null(ram_at(&ram, LAYOUT_LOW_RAM_MAX, 1));
    assert_ptr_equal(ram_at(&ram, LAYOUT_HIGH_RAM, 1), ram.host + LAYOUT_LOW_RAM_MAX);
    assert_null(ram_at(&ram, LAYOUT_HIGH_RAM + (1ull << 30), 1));
    assert_null(ram_at(&ram, 0, 0));
    assert_null(ram_at(&ram, 16, UINT64_MAX));
    assert_null(ram_at(&ram, UINT64_MAX, 2));
    assert_int_not_equal(ftruncate(ram.fd, 4096), 0); /* sealed */
    *(uint8_t *)ram_at(&ram, 0x5000, 1) = 7;
    assert_int_equal(ram_discard(&ram, 0x5000, 4096), 0);
    assert_int_equal(*(uint8_t *)ram_at(&ram, 0x5000, 1), 0);
    assert_int_equal(ram_discard(&ram, LAYOUT_ECAM, 4096), -EFAULT);
    ram_free(&ram);
}

static unsigned tables_seen;

static void check_table(void *context, const char *signature, const uint8_t *data, uint32_t size)
{
    (void)context;
    uint8_t sum = 0;
    uint32_t length;
    for (uint32_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + data[i]);
    memcpy(&length, data + 4, 4);
    assert_int_equal(sum, 0);
    assert_int_equal(length, size);
    assert_memory_equal(data, signature, 4);
    tables_seen++;
}

static void acpi_tables(void **state)
{
    (void)state;
    uint8_t *data = calloc(1, LAYOUT_ACPI_SIZE);
    uint64_t rsdp;
    for (unsigned cpus = 1; cpus <= 16; cpus++) {
        tables_seen = 0;
        assert_int_equal(acpi_build(data, LAYOUT_ACPI_SIZE, LAYOUT_ACPI, cpus, check_table, NULL, &rsdp), 0);
        assert_int_equal(tables_seen, 5);
        assert_int_equal(rsdp, LAYOUT_ACPI);
        assert_memory_equal(data, "RSD PTR ", 8);
    }
    assert_int_equal(acpi_build(data, 256, LAYOUT_ACPI, 1, NULL, NULL, &rsdp), -ENOSPC);
    free(data);
}

static void cpu_masks(void **state)
{
    (void)state;
    struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + 2 * sizeof(cpuid->entries[0]));
    const char *name = NULL;
    cpuid->nent = 1;
    cpuid->entries[0] = (struct kvm_cpuid_entry2){.function = 1, .ecx = UINT32_MAX};
    assert_int_equal(cpuid_mask(cpuid, "-xsave,-popcnt", &name), 0);
    assert_int_equal(cpuid->entries[0].ecx, ~(1u << 26 | 1u << 23));
    assert_int_equal(cpuid_mask(cpuid, "-flux", &name), -EINVAL);
    assert_int_equal(cpuid_mask(cpuid, "xsave", &name), -EINVAL);
    assert_int_equal(cpuid_mask(cpuid, "-", &name), -EINVAL);
    assert_int_equal(cpuid_mask(cpuid, "", &name), 0);
    free(cpuid);
}

/* Reads a file of the seed back by following the structures of FAT16. */
static char *read_seed(const uint8_t *image, const char *short_name)
{
    uint32_t fat_sectors = image[22] | (uint32_t)image[23] << 8;
    const uint8_t *fat = image + 512, *root = fat + 2 * fat_sectors * 512, *data = root + 64 * 32;
    for (const uint8_t *entry = root; entry[0]; entry += 32) {
        if (entry[11] != 0x20 || memcmp(entry, short_name, 11) != 0)
            continue;
        uint32_t size = entry[28] | (uint32_t)entry[29] << 8 | (uint32_t)entry[30] << 16;
        uint32_t cluster = entry[26] | (uint32_t)entry[27] << 8, done = 0;
        char *text = calloc(1, size + 1);
        while (done < size) {
            uint32_t part = size - done < 2048 ? size - done : 2048;
            memcpy(text + done, data + (cluster - 2) * 2048, part);
            done += part;
            cluster = fat[2 * cluster] | (uint32_t)fat[2 * cluster + 1] << 8;
        }
        assert_int_equal(cluster, 0xffff);
        return text;
    }
    return NULL;
}

static void cloud_init_seed(void **state)
{
    (void)state;
    char directory[] = "/tmp/vmm-seed-XXXXXX", path[64], user[5001];
    const char *why;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/user-data", directory);
    for (unsigned i = 0; i < 5000; i++)
        user[i] = (char)('a' + i % 26);
    user[5000] = 0;
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, user, 5000), 5000);
    close(fd);
    int by_directory = seed_make(directory, "acme/vm1", &why), by_file = seed_make(path, "acme/vm1", &why);
    assert_true(by_directory >= 0 && by_file >= 0);
    struct stat stat;
    assert_int_equal(fstat(by_directory, &stat), 0);
    uint8_t *image = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_SHARED, by_directory, 0);
    assert_ptr_not_equal(image, MAP_FAILED);
    assert_memory_equal(image + 43, "CIDATA     FAT16   ", 19);
    char *text = read_seed(image, "USER-D~1   "), *meta = read_seed(image, "META-D~1   ");
    assert_string_equal(text, user);
    assert_string_equal(meta, "instance-id: acme-vm1\nlocal-hostname: acme-vm1\n");
    assert_null(read_seed(image, "NETWOR~1   "));
    free(text);
    free(meta);
    munmap(image, (size_t)stat.st_size);
    assert_int_not_equal(ftruncate(by_file, 0), 0); /* sealed */
    close(by_directory);
    close(by_file);
    unlink(path);
    rmdir(directory);
    assert_int_equal(seed_make(directory, "vm", &why), -ENOENT);
}

static int make_ram(void **state)
{
    static struct ram ram;
    *state = &ram;
    return ram_init(&ram, RAM_SIZE, RAM_HUGEPAGES_OFF, false);
}

static int drop_ram(void **state)
{
    ram_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pvh_image, make_ram, drop_ram),
        cmocka_unit_test_setup_teardown(bad_pvh_images, make_ram, drop_ram),
        cmocka_unit_test_setup_teardown(bzimage, make_ram, drop_ram),
        cmocka_unit_test(ram_ranges),
        cmocka_unit_test(acpi_tables),
        cmocka_unit_test(cpu_masks),
        cmocka_unit_test(cloud_init_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
