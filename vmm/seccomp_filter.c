/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation: libseccomp compiles each list once, into a memfd from which the program is read back;
 * a thread then needs a single system call to install it. ioctl is allowed by request number, memory never
 * becomes executable. No list has a
 * call that opens a path, starts a program, makes a process, or reaches another one; connect (vhost threads
 * only) resolves a name relative to the directory of the socket that the user named.
 */
#include <asm/ioctls.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "seccomp_filter.h"

#define C(name) SCMP_SYS(name)

static const int common_calls[] = {
    C(read),
    C(write),
    C(close),
    C(futex),
    C(poll),
    C(ppoll),
    C(restart_syscall),
    C(rt_sigreturn),
    C(rt_sigprocmask),
    C(brk),
    C(munmap),
    C(mremap),
    C(madvise), /* malloc, free, the end of a thread; and mmap, mprotect: see add_rules */
    C(clock_gettime),
    C(clock_nanosleep),
    C(gettid),
    C(getpid),
    C(tgkill),       /* tgkill: kicks, abort */
    C(rt_sigaction), /* abort */
    C(exit),
    C(exit_group),
    C(rseq),
    C(set_robust_list),
};

/* Device registers are served by both the loop and the vCPUs. */
static const int device_calls[] = {C(epoll_ctl), C(timerfd_settime), C(getrandom), C(fallocate)};

static const int main_calls[] = {
    C(epoll_wait), C(epoll_pwait), C(accept4),    C(recvfrom),
    C(sendto),     C(lseek),       C(ftruncate),  /* the console's file begins again at its limit */
    C(pread64),    C(fstat),       C(newfstatat), /* kernel and initrd are loaded again at a reset
                                                     (newfstatat: fstat of glibc) */
    C(unlinkat),                                  /* own sockets, at the end */
};

static const int disk_calls[] = {C(preadv), C(pwritev), C(fdatasync), C(fallocate)};

static const int vhost_calls[] = {
    C(connect), C(sendmsg), C(recvmsg),    C(setsockopt), C(socketpair), C(fcntl),
    C(accept4), C(fstat),   C(newfstatat), C(recvfrom),   C(sendto),
};

static const unsigned long device_requests[] = {KVM_IRQFD, KVM_IOEVENTFD, KVM_SET_GSI_ROUTING, KVM_IRQ_LINE};
static const unsigned long vcpu_requests[] = {KVM_RUN, KVM_GET_REGS};
static const unsigned long main_requests[] = {
    KVM_SET_SREGS,    KVM_SET_REGS,    KVM_SET_FPU,  KVM_SET_MSRS, KVM_SET_LAPIC, KVM_SET_VCPU_EVENTS,
    KVM_SET_MP_STATE, KVM_SET_IRQCHIP, KVM_SET_PIT2, /* reset */
    TCSETS,           TCGETS,                        /* the terminal gets its modes back */
};
static const unsigned long disk_requests[] = {BLKDISCARD, BLKZEROOUT};

struct list {
    const int *calls;
    unsigned count;
};
struct requests {
    const unsigned long *numbers;
    unsigned count;
};
#define LIST(array)                                                                                          \
    {                                                                                                        \
        array, sizeof(array) / sizeof((array)[0])                                                            \
    }

static const struct {
    struct list lists[3];
    struct requests requests[2];
} allowed[SECCOMP_THREADS] = {
    [SECCOMP_MAIN] = {{LIST(common_calls), LIST(device_calls), LIST(main_calls)},
                      {LIST(device_requests), LIST(main_requests)}},
    [SECCOMP_VCPU] = {{LIST(common_calls), LIST(device_calls)}, {LIST(device_requests), LIST(vcpu_requests)}},
    [SECCOMP_DISK] = {{LIST(common_calls), LIST(disk_calls)}, {LIST(disk_requests)}},
    [SECCOMP_VHOST] = {{LIST(common_calls), LIST(vhost_calls)}, {{0}}},
};

static struct sock_fprog programs[SECCOMP_THREADS];

static int add_rules(scmp_filter_ctx filter, enum seccomp_thread thread)
{
    int error = 0;
    for (unsigned i = 0; i < 3; i++)
        for (unsigned n = 0; !error && n < allowed[thread].lists[i].count; n++)
            error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[thread].lists[i].calls[n], 0);
    for (unsigned i = 0; i < 2; i++)
        for (unsigned n = 0; !error && n < allowed[thread].requests[i].count; n++)
            error =
                seccomp_rule_add(filter, SCMP_ACT_ALLOW, C(ioctl), 1,
                                 SCMP_A1_32(SCMP_CMP_EQ, (uint32_t)allowed[thread].requests[i].numbers[n]));
    static const int memory_calls[] = {C(mmap), C(mprotect)};
    for (unsigned i = 0; !error && i < 2; i++)
        error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, memory_calls[i], 1,
                                 SCMP_A2_32(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (!error && thread == SECCOMP_VHOST)
        error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, C(socket), 1, SCMP_A0_32(SCMP_CMP_EQ, AF_UNIX));
    return error;
}

static int compile(enum seccomp_thread thread)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int fd = memfd_create("weft-vmm-seccomp", MFD_CLOEXEC);
    if (!filter || fd < 0)
        return -ENOMEM;
    struct stat stat = {0};
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree: KVM_RUN must stay cheap */
    int error = add_rules(filter, thread);
    if (!error)
        error = seccomp_export_bpf(filter, fd);
    seccomp_release(filter);
    if (!error && fstat(fd, &stat))
        error = -errno;
    struct sock_filter *code = error ? NULL : malloc((size_t)stat.st_size);
    if (!error && (!code || pread(fd, code, (size_t)stat.st_size, 0) != stat.st_size))
        error = -EIO;
    close(fd);
    programs[thread] =
        (struct sock_fprog){.len = (unsigned short)((size_t)stat.st_size / sizeof(*code)), .filter = code};
    return error;
}

int seccomp_prepare(void)
{
    int error = 0;
#ifdef SANITIZED
    return 0;
#endif
    for (unsigned i = 0; !error && i < SECCOMP_THREADS; i++)
        error = compile((enum seccomp_thread)i);
    return error;
}

int seccomp_install(enum seccomp_thread thread)
{
    if (!programs[thread].filter) /* not prepared: --no-sandbox */
        return 0;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -errno;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &programs[thread]) ? -errno : 0;
}
