/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * write(2) to an eventfd blocks while its counter is full, and whether it may block is a flag of the open
 * file, which the frontend shares and can change at any time. So the error eventfd is not written: an
 * asynchronous write of nothing to /dev/null is submitted, and its completion signals the eventfd
 * (IOCB_FLAG_RESFD, io_submit(2)), for which the kernel never waits. The context lives for one signal, which
 * is rare: once when a ring breaks. Workers have their own, batched way (notifier.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "backend_private.h"

static int null_fd = -1; /* control thread: rw */

int backend_signal_init(void)
{
    if (null_fd >= 0)
        return 0;
    null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    return null_fd < 0 ? -errno : 0;
}

void backend_signal(int fd)
{
    aio_context_t aio = 0;
    static uint8_t nothing;
    struct iocb block = {
        .aio_lio_opcode = IOCB_CMD_PWRITE,
        .aio_fildes = (uint32_t)null_fd,
        .aio_buf = (uintptr_t)&nothing,
        .aio_flags = IOCB_FLAG_RESFD,
        .aio_resfd = (uint32_t)fd,
    };
    struct iocb *blocks[1] = {&block};
    if (null_fd < 0 || fd < 0 || syscall(SYS_io_setup, 1, &aio) < 0)
        return;
    /* A frontend that cannot be told finds the ring stopped all the same. */
    syscall(SYS_io_submit, aio, 1, blocks);
    syscall(SYS_io_destroy, aio);
}
