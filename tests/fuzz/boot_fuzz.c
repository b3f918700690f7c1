/* SPDX-License-Identifier: BSD-3-Clause */
/* The boot image loaders: the input is the kernel file, and the initrd too. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "boot.h"

#define RAM_SIZE (20ull << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ram ram;
    if (!ram.host && ram_init(&ram, RAM_SIZE, RAM_HUGEPAGES_OFF, false))
        abort();
    int fd = memfd_create("kernel", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    struct boot_config config = {.kernel_fd = fd, .initrd_fd = size & 1 ? fd : -1, .command_line = "x"};
    struct boot_result result;
    const char *why;
    if (boot_load(&ram, &config, &result, &why) == 0 &&
        (!ram_at(&ram, result.kernel, result.kernel_size) ||
         (result.initrd_size && !ram_at(&ram, result.initrd, result.initrd_size))))
        abort();
    close(fd);
    return 0;
}
