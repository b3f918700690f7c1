/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signals eventfds without ever blocking.
 *
 * Theory of operation
 *
 * write(2) to an eventfd blocks when its counter is full and O_NONBLOCK is off, and a guest's VMM that shares
 * the open file description controls both. So the eventfds are signalled by the kernel itself: each is the
 * completion eventfd (IOCB_FLAG_RESFD) of an asynchronous write of zero bytes to /dev/null, which completes
 * inside io_submit(2). One system call signals all eventfds of a round.
 *
 * io_submit stops at the first request that it does not like, for example because the frontend's descriptor
 * is not what it was: that request is skipped and the rest is submitted again. Completions are taken off the
 * ring that the kernel maps into our memory by moving its head; were its layout ever another than the one
 * known here, io_getevents(2) does the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/aio_abi.h>
#include "vring_private.h"

#define NOTIFIER_MAX 256u  /* eventfds in a batch */
#define FD_BITS      4096u /* descriptors below it are signalled once a batch however often they are added */

/* Head of the completion ring, linux/fs/aio.c; part of the ABI that libaio relies on. */
struct completion_ring {
    unsigned id;
    unsigned count;
    unsigned head; /* user: w */
    unsigned tail; /* kernel: w */
    unsigned magic;
    unsigned compat_features;
    unsigned incompat_features;
    unsigned header_size;
};
#define COMPLETION_MAGIC 0xa10a10a1u

struct notifier {
    aio_context_t context;
    int null_fd;
    unsigned count;
    uint64_t seen[FD_BITS / 64];
    struct iocb requests[NOTIFIER_MAX];
    struct iocb *order[NOTIFIER_MAX];
};

struct notifier *notifier_new(void)
{
    struct notifier *notifier = calloc(1, sizeof(*notifier));
    if (!notifier)
        return NULL;
    notifier->null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (notifier->null_fd < 0 || syscall(SYS_io_setup, NOTIFIER_MAX, &notifier->context) < 0) {
        int error = errno;
        if (notifier->null_fd >= 0)
            close(notifier->null_fd);
        free(notifier);
        errno = error;
        return NULL;
    }
    for (unsigned i = 0; i < NOTIFIER_MAX; i++) {
        notifier->requests[i] = (struct iocb){.aio_lio_opcode = IOCB_CMD_PWRITE,
                                              .aio_fildes = (uint32_t)notifier->null_fd,
                                              .aio_flags = IOCB_FLAG_RESFD};
        notifier->order[i] = &notifier->requests[i];
    }
    return notifier;
}

void notifier_free(struct notifier *notifier)
{
    if (!notifier)
        return;
    syscall(SYS_io_destroy, notifier->context);
    close(notifier->null_fd);
    free(notifier);
}

/* Makes room for completions of the next batch. */
static void reap(struct notifier *notifier)
{
    struct completion_ring *ring = (struct completion_ring *)notifier->context;
    if (ring->magic == COMPLETION_MAGIC && ring->incompat_features == 0) {
        __atomic_store_n(&ring->head, __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
        return;
    }
    struct io_event events[NOTIFIER_MAX];
    struct timespec now = {0};
    (void)syscall(SYS_io_getevents, notifier->context, 0, NOTIFIER_MAX, events, &now);
}

unsigned notifier_flush(struct notifier *notifier)
{
    unsigned signalled = 0;
    if (notifier->count == 0)
        return 0;
    for (unsigned next = 0; next < notifier->count;) {
        long done = syscall(SYS_io_submit, notifier->context, notifier->count - next, notifier->order + next);
        reap(notifier);
        if (done > 0) {
            signalled += (unsigned)done;
            next += (unsigned)done;
        } else {
            next++;
        }
    }
    for (unsigned i = 0; i < notifier->count; i++)
        if (notifier->requests[i].aio_resfd < FD_BITS)
            notifier->seen[notifier->requests[i].aio_resfd / 64] = 0;
    notifier->count = 0;
    return signalled;
}

void notifier_add(struct notifier *notifier, int fd)
{
    if ((unsigned)fd < FD_BITS) {
        uint64_t bit = 1ull << (fd % 64);
        if (notifier->seen[fd / 64] & bit)
            return;
        notifier->seen[fd / 64] |= bit;
    }
    if (notifier->count == NOTIFIER_MAX) {
        notifier_flush(notifier);
        if ((unsigned)fd < FD_BITS)
            notifier->seen[fd / 64] |= 1ull << (fd % 64);
    }
    notifier->requests[notifier->count++].aio_resfd = (uint32_t)fd;
}
