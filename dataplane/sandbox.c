/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * After start-up the dataplane needs: its sockets and descriptors that frontends and the controller pass to
 * it, memory mappings of those, asynchronous eventfd signalling, epoll, timers, threads waiting for each
 * other. No file is opened, no program executed, no kernel object configured. A system call outside the list
 * is either the work of an intruder or a bug here: the process is killed (weftd starts it again). Opening
 * files is refused with EACCES instead, because libraries try it and carry on without.
 *
 * Capabilities: CAP_DAC_OVERRIDE stays, because a vhost-user port in client mode dials a socket that belongs
 * to the virtual machine's user; the filter leaves nothing but connect(), bind() and unlink() to use it with.
 * CAP_IPC_LOCK stays, because the memory of an AF_XDP socket is locked, more of it than the usual limit
 * allows. CAP_SYS_NICE stays, because a worker that sleeps is urgent (worker.c); the filter lets a thread
 * change its own scheduling only. With DPDK device ports, whose drivers may more and whose workers never
 * sleep, it goes, and CAP_NET_RAW and CAP_NET_ADMIN stay (packet sockets, promiscuous mode). The other
 * capabilities go.
 */
#include <cap-ng.h>
#include <errno.h>
#include <seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <syslog.h>
#include "port.h"
#include "sandbox.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* clang-format off */
static const int calls[] = {
    /* descriptors: log, eventfds, timers, what epoll reports */
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(close), SCMP_SYS(fcntl),
    SCMP_SYS(dup), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(lseek), SCMP_SYS(eventfd2),
    SCMP_SYS(pipe2),
    /* waiting */
    SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime),
    SCMP_SYS(timerfd_gettime),
    /* unix sockets: vhost-user and programming (socket() is below); their files */
    SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(connect), SCMP_SYS(sendmsg),
    SCMP_SYS(recvmsg), SCMP_SYS(recvmmsg), SCMP_SYS(sendmmsg), SCMP_SYS(sendto), SCMP_SYS(recvfrom), SCMP_SYS(shutdown), SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(socketpair), SCMP_SYS(unlink),
    SCMP_SYS(unlinkat), SCMP_SYS(chmod), SCMP_SYS(fchmod), SCMP_SYS(fchmodat), SCMP_SYS(chown), SCMP_SYS(lchown),
    SCMP_SYS(fchown), SCMP_SYS(fchownat), SCMP_SYS(umask), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(rename),
    SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(fstatfs), SCMP_SYS(readlink), SCMP_SYS(readlinkat),
    /* guest memory; the heap */
    SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(mprotect), SCMP_SYS(madvise), SCMP_SYS(brk),
    SCMP_SYS(memfd_create), SCMP_SYS(ftruncate), SCMP_SYS(mincore),
    /* eventfds signalled without blocking */
    SCMP_SYS(io_setup), SCMP_SYS(io_destroy), SCMP_SYS(io_submit), SCMP_SYS(io_getevents), SCMP_SYS(io_cancel),
    /* threads */
    SCMP_SYS(futex), SCMP_SYS(membarrier), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(getcpu),
    SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep), SCMP_SYS(gettid),
    SCMP_SYS(getpid), SCMP_SYS(tgkill),
    /* time, identity, randomness */
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(getuid),
    SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getrandom), SCMP_SYS(prlimit64),
    SCMP_SYS(getrusage),
    /* signals (SIGBUS containment, orderly end) */
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall), SCMP_SYS(exit), SCMP_SYS(exit_group),
};

/* ioctl() requests: the tap's offloads and state, bytes that wait in a descriptor. */
static const uint32_t ioctls[] = {
    0x400454d0, /* TUNSETOFFLOAD */
    0x400454d8, /* TUNSETVNETHDRSZ */
    0x800454d2, /* TUNGETIFF */
    0x800454d7, /* TUNGETVNETHDRSZ */
    0x400454d9, /* TUNSETQUEUE */
    0x800454cf, /* TUNGETFEATURES */
    0x400454dc, /* TUNSETVNETLE */
    0x00005421, /* FIONBIO */
    0x0000541b, /* FIONREAD */
    0x00008913, /* SIOCGIFFLAGS */
    0x00008921, /* SIOCGIFMTU */
    0x00008933, /* SIOCGIFINDEX */
    0x00008927, /* SIOCGIFHWADDR */
    0x00008946, /* SIOCETHTOOL */
};

/* DPDK devices: packet sockets, capture files, threads and memory of drivers. */
static const int ethdev_calls[] = {
    SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(ioctl), SCMP_SYS(socket), SCMP_SYS(clone),
    SCMP_SYS(clone3),
    SCMP_SYS(sched_setaffinity), SCMP_SYS(sched_getparam), SCMP_SYS(sched_getscheduler), SCMP_SYS(sched_setscheduler),
    SCMP_SYS(prctl), SCMP_SYS(get_mempolicy), SCMP_SYS(mbind), SCMP_SYS(set_mempolicy), SCMP_SYS(getdents64),
    SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2),
    SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(mlock), SCMP_SYS(munlock), SCMP_SYS(flock), SCMP_SYS(mkdir),
    SCMP_SYS(uname), SCMP_SYS(fallocate), SCMP_SYS(eventfd), SCMP_SYS(pipe), SCMP_SYS(select), SCMP_SYS(pselect6),
    SCMP_SYS(bpf), SCMP_SYS(inotify_init1), SCMP_SYS(inotify_add_watch), SCMP_SYS(inotify_rm_watch),
    /* EAL's interrupt thread */
    SCMP_SYS(epoll_create),
};

static const int refused_calls[] = {
    SCMP_SYS(open),
    SCMP_SYS(openat),
    SCMP_SYS(access),
};

/* clang-format on */

/* Keeps, of the wanted ones, those that the process has: it may run without root's rights. */
static int drop_capabilities(bool ethdev)
{
    static const unsigned plain[] = {CAP_DAC_OVERRIDE, CAP_IPC_LOCK, CAP_SYS_NICE},
                          device[] = {CAP_DAC_OVERRIDE, CAP_IPC_LOCK, CAP_NET_RAW, CAP_NET_ADMIN};
    const unsigned *wanted = ethdev ? device : plain;
    const unsigned count = ethdev ? 4 : 3;
    bool have[4], bounding;
    if (capng_get_caps_process() < 0)
        return -EINVAL;
    for (unsigned i = 0; i < count; i++)
        have[i] = capng_have_capability(CAPNG_PERMITTED, wanted[i]);
    bounding = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
    capng_clear(CAPNG_SELECT_ALL);
    for (unsigned i = 0; i < count; i++)
        if (have[i] && capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, wanted[i]) < 0)
            return -EINVAL;
    return capng_apply(bounding ? CAPNG_SELECT_ALL : CAPNG_SELECT_CAPS) < 0 ? -EPERM : 0;
}

static int allow(scmp_filter_ctx filter, const int *list, size_t count)
{
    int error = 0;
    for (size_t i = 0; i < count && !error; i++)
        error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, list[i], 0);
    return error;
}

static int fill_filter(scmp_filter_ctx filter, bool ethdev)
{
    int error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (!error)
        error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* binary tree: hot calls pay little */
    if (!error)
        error = allow(filter, calls, sizeof(calls) / sizeof(calls[0]));
    if (ethdev)
        return error ? error : allow(filter, ethdev_calls, sizeof(ethdev_calls) / sizeof(ethdev_calls[0]));
    if (!error)
        error =
            seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0_32(SCMP_CMP_EQ, AF_UNIX));
    if (!error) /* the calling thread's */
        error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(sched_setscheduler), 1,
                                 SCMP_A0_32(SCMP_CMP_EQ, 0));
    for (size_t i = 0; i < sizeof(ioctls) / sizeof(ioctls[0]) && !error; i++)
        error =
            seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1_32(SCMP_CMP_EQ, ioctls[i]));
    for (size_t i = 0; i < sizeof(refused_calls) / sizeof(refused_calls[0]) && !error; i++)
        error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), refused_calls[i], 0);
    return error;
}

static int filter_calls(bool ethdev)
{
#ifdef SANITIZED
    return 0; /* the sanitizers' own threads and reports need more */
#endif
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return -ENOMEM;
    int error = fill_filter(filter, ethdev);
    if (!error)
        error = seccomp_load(filter);
    seccomp_release(filter);
    return error;
}

int sandbox_privileges(bool ethdev)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        int error = -errno;
        control_log(LOG_ERR, "PR_SET_NO_NEW_PRIVS: %s", strerror(-error));
        return error;
    }
    int error = drop_capabilities(ethdev);
    if (error)
        control_log(LOG_ERR, "capabilities could not be dropped: %s", strerror(-error));
    return error;
}

int sandbox_filter(bool ethdev)
{
    int error = filter_calls(ethdev);
    if (error)
        control_log(LOG_ERR, "system call filter could not be loaded: %s", strerror(-error));
    return error;
}
