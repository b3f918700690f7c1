/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * FAT16 (Microsoft FAT specification, 2005): boot sector, two FATs, a root directory of 64 entries, 2 KiB
 * clusters. The image is sparse: only what holds something takes memory. Files lie in the root directory,
 * each in consecutive clusters, with long names (an entry of 13 UTF-16 characters each, last part first).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "seed.h"

#define SECTOR           512u
#define CLUSTER_SECTORS  4u
#define CLUSTER          (SECTOR * CLUSTER_SECTORS)
#define ROOT_ENTRIES     64u
#define ENTRY_SIZE       32u
#define CLUSTERS_MIN     4200u /* fewer than 4085 would make it FAT12 */
#define CLUSTERS_MAX     65000u
#define FILE_SIZE_MAX    (16u << 20)
#define ATTRIBUTE_VOLUME 0x08u
#define ATTRIBUTE_FILE   0x20u
#define ATTRIBUTE_LONG   0x0fu
#define END_OF_CHAIN     0xffffu

struct seed_file {
    const char *name, *short_name; /* the latter: 11 characters */
    uint8_t *data;
    uint32_t size; /* bytes */
    bool present;
};

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value & 0xffff);
    put16(at + 2, value >> 16);
}

/* A text without its end: the fields of FAT have fixed sizes. */
static void put_text(uint8_t *at, const char *text, unsigned length)
{
    for (unsigned i = 0; i < length; i++)
        at[i] = (uint8_t)text[i];
}

static int read_file(int directory, const char *path, struct seed_file *file)
{
    struct stat stat;
    int fd = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    int error = fstat(fd, &stat)               ? -errno
                : !S_ISREG(stat.st_mode)       ? -EINVAL
                : stat.st_size > FILE_SIZE_MAX ? -EFBIG
                                               : 0;
    if (!error) {
        file->data = malloc((size_t)stat.st_size + 1);
        ssize_t got = file->data ? read(fd, file->data, (size_t)stat.st_size) : -1;
        error = got < 0 ? -EIO : 0;
        file->size = got < 0 ? 0 : (uint32_t)got;
        file->present = !error;
    }
    close(fd);
    return error;
}

static int make_meta_data(struct seed_file *file, const char *name)
{
    char *text = NULL;
    int length = asprintf(&text, "instance-id: %s\nlocal-hostname: %s\n", name, name);
    if (length < 0)
        return -ENOMEM;
    *file = (struct seed_file){file->name, file->short_name, (uint8_t *)text, (uint32_t)length, true};
    for (int i = 0; i < length; i++) /* a host name has no slash */
        if (text[i] == '/')
            text[i] = '-';
    return 0;
}

/* The long name's entries and the entry itself; returns where the next begins. */
static uint8_t *add_entry(uint8_t *entry, const struct seed_file *file, uint32_t cluster)
{
    static const uint8_t places[13] = {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};
    uint8_t sum = 0;
    for (unsigned i = 0; i < 11; i++)
        sum = (uint8_t)((sum >> 1 | sum << 7) + (uint8_t)file->short_name[i]);
    unsigned length = (unsigned)strlen(file->name), parts = (length + 12) / 13;
    for (unsigned part = parts; part > 0; part--, entry += ENTRY_SIZE) {
        entry[0] = (uint8_t)(part | (part == parts ? 0x40u : 0));
        entry[11] = ATTRIBUTE_LONG;
        entry[13] = sum;
        for (unsigned i = 0; i < 13; i++) {
            unsigned at = (part - 1) * 13 + i;
            put16(entry + places[i], at < length ? (uint8_t)file->name[at] : at == length ? 0 : 0xffff);
        }
    }
    put_text(entry, file->short_name, 11);
    entry[11] = ATTRIBUTE_FILE;
    put16(entry + 24, 0x21); /* 1980-01-01 */
    put16(entry + 26, file->size ? cluster : 0);
    put32(entry + 28, file->size);
    return entry + ENTRY_SIZE;
}

static void fill_boot_sector(uint8_t *sector, uint32_t fat_sectors, uint32_t sectors)
{
    put_text(sector, "\xeb\x3c\x90WEFT    ", 11);
    put16(sector + 11, SECTOR);
    sector[13] = CLUSTER_SECTORS;
    put16(sector + 14, 1); /* reserved: this one */
    sector[16] = 2;        /* FATs */
    put16(sector + 17, ROOT_ENTRIES);
    put16(sector + 19, sectors < 65536 ? sectors : 0);
    sector[21] = 0xf8; /* a fixed disk */
    put16(sector + 22, fat_sectors);
    put32(sector + 32, sectors < 65536 ? 0 : sectors);
    sector[36] = 0x80;
    sector[38] = 0x29; /* the next three fields are there */
    put32(sector + 39, 0x57454654);
    put_text(sector + 43, "CIDATA     FAT16   ", 19);
    put16(sector + 510, 0xaa55);
}

static void fill_image(uint8_t *image, const struct seed_file *files, unsigned count, uint32_t fat_sectors,
                       uint32_t sectors)
{
    uint8_t *fat = image + SECTOR, *second = fat + fat_sectors * SECTOR;
    uint8_t *root = second + fat_sectors * SECTOR, *data = root + ROOT_ENTRIES * ENTRY_SIZE;
    fill_boot_sector(image, fat_sectors, sectors);
    put16(fat, 0xfff8);
    put16(fat + 2, END_OF_CHAIN);
    put_text(root, "CIDATA     ", 11);
    root[11] = ATTRIBUTE_VOLUME;
    put16(root + 24, 0x21);
    uint8_t *entry = root + ENTRY_SIZE;
    uint32_t cluster = 2;
    for (unsigned i = 0; i < count; i++) {
        if (!files[i].present)
            continue;
        entry = add_entry(entry, &files[i], cluster);
        memcpy(data + (cluster - 2) * CLUSTER, files[i].data, files[i].size);
        uint32_t clusters = (files[i].size + CLUSTER - 1) / CLUSTER;
        for (uint32_t n = 0; n < clusters; n++, cluster++)
            put16(fat + 2 * cluster, n + 1 < clusters ? cluster + 1 : END_OF_CHAIN);
    }
    memcpy(second, fat, 2 * cluster);
}

static int make_image(const struct seed_file *files, unsigned count)
{
    uint32_t clusters = 0;
    for (unsigned i = 0; i < count; i++)
        clusters += (files[i].size + CLUSTER - 1) / CLUSTER;
    if (clusters > CLUSTERS_MAX)
        return -EFBIG;
    if (clusters < CLUSTERS_MIN)
        clusters = CLUSTERS_MIN;
    uint32_t fat_sectors = ((clusters + 2) * 2 + SECTOR - 1) / SECTOR;
    uint32_t sectors = 1 + 2 * fat_sectors + ROOT_ENTRIES * ENTRY_SIZE / SECTOR + clusters * CLUSTER_SECTORS;
    size_t size = (size_t)sectors * SECTOR;
    int fd = memfd_create("weft-vmm-seed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)size)) {
        int error = -errno;
        if (fd >= 0)
            close(fd);
        return error;
    }
    uint8_t *image = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (image == MAP_FAILED) {
        close(fd);
        return -ENOMEM;
    }
    fill_image(image, files, count, fat_sectors, sectors);
    munmap(image, size);
    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    return fd;
}

int seed_make(const char *source, const char *name, const char **why)
{
    struct seed_file files[3] = {{.name = "user-data", .short_name = "USER-D~1   "},
                                 {.name = "meta-data", .short_name = "META-D~1   "},
                                 {.name = "network-config", .short_name = "NETWOR~1   "}};
    int directory = open(source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *why = "cannot read user-data";
    int error = directory >= 0 ? read_file(directory, "user-data", &files[0])
                               : read_file(AT_FDCWD, source, &files[0]);
    for (unsigned i = 1; !error && directory >= 0 && i < 3; i++) {
        *why = "cannot read meta-data or network-config";
        error = read_file(directory, files[i].name, &files[i]);
        if (error == -ENOENT)
            error = 0;
    }
    if (!error && !files[1].present)
        error = make_meta_data(&files[1], name);
    int result = error;
    if (!error) {
        *why = "cannot make the seed image";
        result = make_image(files, 3);
    }
    for (unsigned i = 0; i < 3; i++)
        free(files[i].data);
    if (directory >= 0)
        close(directory);
    return result;
}
