/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest memory: what tables accept, translation against a byte-by-byte model, SIGBUS. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "memory.h"

#define PAGE 4096ull

static int file_of(uint64_t size)
{
    int fd = memfd_create("memory_test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static int add(const struct memory_table *old, uint64_t guest, uint64_t size, uint64_t user, uint64_t offset,
               int fd, struct memory_table **table)
{
    const struct memory_region_config config = {guest, size, user, offset, fd};
    *table = NULL;
    return memory_table_add(old, &config, 1, table);
}

static void test_refused(void **state)
{
    int fd = file_of(16 * PAGE), directory = memfd_create("empty", MFD_CLOEXEC), channel[2];
    struct memory_table *table, *base;
    assert_int_equal(pipe(channel), 0);
    assert_int_equal(add(NULL, 0x10000, 8 * PAGE, 0x900000, 0, fd, &base), 0);
    const struct {
        uint64_t guest, size, user, offset;
        int fd, error;
    } wrong[] = {
        {0, 0, 0, 0, fd, -EINVAL},                             /* empty */
        {0, 16 * PAGE + 1, 0, 0, fd, -EINVAL},                 /* beyond the file */
        {0, PAGE, 0, 16 * PAGE, fd, -EINVAL},                  /* behind it */
        {0, PAGE, 0, 15 * PAGE + 1, fd, -EINVAL},              /* over its end */
        {0, PAGE, 0, UINT64_MAX - 5, fd, -EINVAL},             /* offset + size wraps */
        {0, UINT64_MAX, 0, 0, fd, -EINVAL},                    /* */
        {UINT64_MAX - 5, PAGE, 0, 0, fd, -EINVAL},             /* guest address wraps */
        {0, PAGE, UINT64_MAX - 5, 0, fd, -EINVAL},             /* user address wraps */
        {0x10000, PAGE, 0x100, 0, fd, -EINVAL},                /* overlaps at the start */
        {0x10000 + 8 * PAGE - 1, PAGE, 0x100, 0, fd, -EINVAL}, /* at the end */
        {0x10000 - PAGE + 1, PAGE, 0x100, 0, fd, -EINVAL},     /* from before */
        {0x8000, 16 * PAGE, 0x100, 0, fd, -EINVAL},            /* around it */
        {0, PAGE, 0x900000, 0, fd, -EINVAL},                   /* by user address */
        {0, PAGE, 0x900000 + 8 * PAGE - 1, 0, fd, -EINVAL},    /* */
        {0, PAGE, 0x100, 0, directory, -EINVAL},               /* empty file */
        {0, PAGE, 0x100, 0, channel[0], -EINVAL},              /* not a file */
        {0, PAGE, 0x100, 0, -1, -EBADF},                       /* nothing */
    };
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(
            add(base, wrong[i].guest, wrong[i].size, wrong[i].user, wrong[i].offset, wrong[i].fd, &table),
            wrong[i].error);
        assert_null(table);
    }
    /* What touches but does not overlap is fine, also at the very end of the address space. */
    assert_int_equal(add(base, 0x10000 + 8 * PAGE, PAGE, 0x100, 0, fd, &table), 0);
    memory_table_free(table);
    assert_int_equal(add(base, UINT64_MAX - PAGE + 1, PAGE, UINT64_MAX - PAGE + 1, 5, fd, &table), 0);
    struct memory_span spans[2];
    assert_int_equal(memory_translate(table, UINT64_MAX - 9, 10, spans, 2), 1);
    assert_int_equal(memory_translate(table, UINT64_MAX - 9, 11, spans, 2), -EFAULT);
    memory_table_free(table);
    struct memory_region_config many[MEMORY_REGIONS_MAX + 1];
    for (unsigned i = 0; i <= MEMORY_REGIONS_MAX; i++)
        many[i] = (struct memory_region_config){i * PAGE, PAGE, i * PAGE, 0, fd};
    assert_int_equal(memory_table_add(NULL, many, MEMORY_REGIONS_MAX + 1, &table), -E2BIG);
    assert_int_equal(memory_table_add(NULL, many, MEMORY_REGIONS_MAX, &table), 0);
    struct memory_table *more;
    many[0].guest_address = 1ull << 40;
    assert_int_equal(memory_table_add(table, many, 1, &more), -E2BIG);
    memory_table_free(table);
    memory_table_free(base);
    close(fd);
    close(directory);
    close(channel[0]);
    close(channel[1]);
}

/* Regions in any order, two of them adjacent, offsets that are not page aligned: every (address, size) as the
 * model. */
static void test_translation(void **state)
{
    int fd = file_of(16 * PAGE);
    uint8_t *bytes = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    for (unsigned i = 0; i < 16 * PAGE; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 16);
    const struct memory_region_config regions[] = {
        {9000, 100, 50000, 7000, fd}, {1000, 50, 10000, 100, fd},
        {1050, 30, 20000, 9001, fd},                                /* adjacent to the one before */
        {1080, 1, 90000, 1, fd},      {1082, 20, 30000, 40000, fd}, /* a hole of one byte before it */
    };
    struct memory_table *table;
    assert_int_equal(memory_table_add(NULL, regions, 5, &table), 0);
    assert_int_equal(memory_table_bytes(table), 201);
    for (unsigned i = 1; i < table->count; i++)
        assert_true(table->regions[i - 1].guest_address < table->regions[i].guest_address);
    for (uint64_t address = 990; address < 1110; address++) {
        for (uint64_t size = 0; size < 130; size++) {
            struct memory_span spans[4];
            bool inside = true;
            uint8_t expected[130], got[130];
            for (uint64_t at = address; at < address + (size ? size : 1); at++) {
                bool found = false;
                for (unsigned i = 0; i < 5; i++)
                    if (at - regions[i].guest_address < regions[i].size) {
                        found = true;
                        expected[at - address] = bytes[regions[i].offset + at - regions[i].guest_address];
                    }
                inside &= found;
            }
            int count = memory_translate(table, address, size, spans, 4);
            if (!inside) {
                assert_int_equal(count, -EFAULT);
                continue;
            }
            assert_true(count >= (size > 0));
            uint64_t total = 0;
            for (int i = 0; i < count; i++) {
                assert_true(spans[i].size > 0 && total + spans[i].size <= size);
                memcpy(got + total, spans[i].base, spans[i].size);
                total += spans[i].size;
            }
            assert_int_equal(total, size);
            assert_memory_equal(got, expected, size);
            if (count > 1)
                assert_int_equal(memory_translate(table, address, size, spans, (unsigned)count - 1), -E2BIG);
        }
    }
    assert_ptr_equal(memory_user_range(table, 10000, 50), memory_find(table, 1000)->host);
    assert_ptr_equal(memory_user_range(table, 10049, 1), memory_find(table, 1000)->host + 49);
    assert_null(memory_user_range(table, 10000, 51));
    assert_null(memory_user_range(table, 9999, 2));
    assert_null(memory_user_range(table, 10050, 1));
    assert_null(memory_user_range(table, 10000, 0));
    assert_null(memory_user_range(table, 10000, UINT64_MAX));
    memory_table_free(table);
    munmap(bytes, 16 * PAGE);
    close(fd);
}

static unsigned mapped(void)
{
    unsigned lines = 0;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof(line), maps))
        lines += strstr(line, "memory_test") != NULL;
    fclose(maps);
    return lines;
}

/* Tables share the mappings that stay, and all are gone with the last table. */
static void test_add_remove(void **state)
{
    struct memory_table *one, *two, *three;
    int fd = file_of(16 * PAGE);
    unsigned before = mapped();
    assert_int_equal(add(NULL, 0, PAGE, 0, 0, fd, &one), 0);
    assert_int_equal(add(one, 4 * PAGE, PAGE, 4 * PAGE, 8 * PAGE, fd, &two), 0);
    assert_int_equal(one->count, 1);
    assert_int_equal(two->count, 2);
    assert_ptr_equal(one->regions[0].host, two->regions[0].host);
    assert_int_equal(mapped(), before + 2);
    struct memory_region_config gone = {.guest_address = 0, .size = PAGE, .user_address = 0};
    assert_int_equal(memory_table_remove(two, &gone, &three), 0);
    assert_int_equal(three->count, 1);
    gone.size++;
    struct memory_table *none;
    assert_int_equal(memory_table_remove(two, &gone, &none), -ENOENT);
    gone.size--, gone.user_address++;
    assert_int_equal(memory_table_remove(two, &gone, &none), -ENOENT);
    memory_table_free(one);
    assert_int_equal(mapped(), before + 2);
    memory_table_free(two);
    assert_int_equal(mapped(), before + 1);
    memory_table_free(three);
    assert_int_equal(mapped(), before);
    memory_table_free(NULL);
    for (unsigned i = 0; i < 10000; i++) { /* slots of the SIGBUS registry come back too */
        assert_int_equal(add(NULL, 0, PAGE, 0, 0, fd, &one), 0);
        memory_table_free(one);
    }
    close(fd);
}

/* A hugetlbfs file, where the machine has huge pages: offsets within a huge page, and unmapping. */
static void test_hugepages(void **state)
{
    int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
    struct memory_table *table = NULL;
    if (fd < 0 || ftruncate(fd, 2l << 20) < 0 || add(NULL, 0, PAGE, 0, 8 * PAGE, fd, &table) < 0) {
        if (fd >= 0)
            close(fd);
        skip(); /* no huge pages of 2 MiB can be had here */
        return;
    }
    assert_int_equal(((uintptr_t)table->regions[0].host & ((2u << 20) - 1)), 8 * PAGE);
    memory_table_free(table);
    close(fd);
}

static void *toucher(void *pointer)
{
    volatile uint8_t *bytes = pointer;
    unsigned sum = 0;
    for (unsigned i = 0; i < 64; i++)
        sum += bytes[i * PAGE];
    return (void *)(uintptr_t)sum;
}

/* Four threads meet the hole at once. */
static void test_sigbus(void **state)
{
    struct memory_table *table, *other;
    int fd = file_of(64 * PAGE), other_fd = file_of(PAGE);
    assert_int_equal(memory_process_init(), 0);
    assert_int_equal(memory_process_init(), 0);
    assert_int_equal(add(NULL, 0, 64 * PAGE, 0, 0, fd, &table), 0);
    assert_int_equal(add(NULL, 0, PAGE, 0, 0, other_fd, &other), 0);
    memset(table->regions[0].host, 1, 64 * PAGE);
    unsigned deaths = memory_deaths;
    assert_int_equal(ftruncate(fd, (off_t)(32 * PAGE)), 0);
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, toucher, table->regions[0].host), 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(memory_dead(table));
    assert_false(memory_dead(other));
    assert_int_equal(memory_deaths, deaths + 1);
    memset(table->regions[0].host, 7, 64 * PAGE); /* zero pages take writes */
    assert_int_equal(table->regions[0].host[63 * PAGE], 7);
    other->regions[0].host[0] = 1;
    memory_table_free(table);
    memory_table_free(other);
    close(fd);
    close(other_fd);
}

static void previous(int number)
{
    _exit(number == SIGBUS ? 42 : 43);
}

/* A fault that is not ours is for the handler that was there before; with none, it kills. */
static void test_sigbus_elsewhere(void **state)
{
    for (int handler = 0; handler < 2; handler++) {
        pid_t child = fork();
        if (child == 0) {
            /* A process of its own in which the handler is installed for the first time. */
            execl("/proc/self/exe", "memory_test", handler ? "fault-handler" : "fault", NULL);
            _exit(99);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (handler)
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
        else
            assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

static int fault(bool with_handler)
{
    signal(SIGBUS, with_handler ? previous : SIG_DFL);
    int fd = memfd_create("elsewhere", MFD_CLOEXEC);
    volatile uint8_t *bytes = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    if (memory_process_init() < 0 || fd < 0)
        return 98;
    return bytes[0];
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return fault(strcmp(argv[1], "fault-handler") == 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_translation),
        cmocka_unit_test(test_add_remove), cmocka_unit_test(test_hugepages),
        cmocka_unit_test(test_sigbus),     cmocka_unit_test(test_sigbus_elsewhere),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
