/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The filters of weft-vmm's threads, tried from inside: a child installs one and makes one system call with
 * nonsense for arguments. Every number that Linux knows is tried with every filter, so that a call which
 * slips into a list, or out of it, is noticed here.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "seccomp_filter.h"

#define NUMBERS 470
#define WILD    (-1L)
#define X32     0x40000000L

static const char *const names[SECCOMP_THREADS] = {"main", "vcpu", "disk", "vhost"};

/* Does this thread's filter end the process at this call? */
static bool kills(enum seccomp_thread thread, long number, long a, long b, long c)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int nowhere = open("/dev/null", O_RDWR);
        for (int fd = 0; fd < 3; fd++)
            dup2(nowhere, fd);
        signal(SIGSYS, SIG_DFL);
        if (seccomp_install(thread))
            _exit(99);
        syscall(number, a, b, c, WILD, WILD, WILD);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 99);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static bool allowed(enum seccomp_thread thread, long number)
{
    return !kills(thread, number, WILD, WILD, WILD);
}

/* What a guest that took over a thread would want next. */
static void forbidden_to_all(void **state)
{
    (void)state;
    static const long calls[] = {SYS_open,
                                 SYS_openat,
                                 SYS_openat2,
                                 SYS_creat,
                                 SYS_execve,
                                 SYS_execveat,
                                 SYS_fork,
                                 SYS_vfork,
                                 SYS_clone,
                                 SYS_clone3,
                                 SYS_ptrace,
                                 SYS_process_vm_readv,
                                 SYS_process_vm_writev,
                                 SYS_kill,
                                 SYS_pidfd_open,
                                 SYS_pidfd_getfd,
                                 SYS_mount,
                                 SYS_umount2,
                                 SYS_pivot_root,
                                 SYS_chroot,
                                 SYS_chdir,
                                 SYS_fchdir,
                                 SYS_setns,
                                 SYS_unshare,
                                 SYS_setuid,
                                 SYS_setgid,
                                 SYS_setresuid,
                                 SYS_setresgid,
                                 SYS_setgroups,
                                 SYS_capset,
                                 SYS_prctl,
                                 SYS_seccomp,
                                 SYS_bpf,
                                 SYS_perf_event_open,
                                 SYS_userfaultfd,
                                 SYS_io_uring_setup,
                                 SYS_keyctl,
                                 SYS_init_module,
                                 SYS_finit_module,
                                 SYS_kexec_load,
                                 SYS_reboot,
                                 SYS_bind,
                                 SYS_listen,
                                 SYS_symlinkat,
                                 SYS_linkat,
                                 SYS_renameat2,
                                 SYS_mkdirat,
                                 SYS_chmod,
                                 SYS_fchmodat,
                                 SYS_chown,
                                 SYS_memfd_create,
                                 SYS_shmat,
                                 SYS_setrlimit,
                                 SYS_prlimit64,
                                 SYS_sched_setaffinity,
                                 SYS_name_to_handle_at,
                                 SYS_open_by_handle_at,
                                 SYS_fanotify_init,
                                 SYS_inotify_init,
                                 SYS_swapon,
                                 SYS_sethostname,
                                 SYS_personality,
                                 SYS_arch_prctl,
                                 SYS_modify_ldt,
                                 SYS_iopl,
                                 SYS_ioperm};
    for (unsigned thread = 0; thread < SECCOMP_THREADS; thread++)
        for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
            if (allowed((enum seccomp_thread)thread, calls[i]))
                fail_msg("%s may make system call %ld", names[thread], calls[i]);
}

static void names_of_files(void **state)
{
    (void)state;
    /* The main thread removes its own sockets at the end and looks at its descriptors; a vhost thread dials.
     */
    assert_true(allowed(SECCOMP_MAIN, SYS_unlinkat));
    assert_true(allowed(SECCOMP_VHOST, SYS_connect));
    static const long calls[] = {SYS_unlinkat, SYS_connect, SYS_newfstatat};
    static const enum seccomp_thread others[] = {SECCOMP_VCPU, SECCOMP_DISK};
    for (size_t i = 0; i < 3; i++)
        for (size_t n = 0; n < 2; n++)
            assert_false(allowed(others[n], calls[i]));
}

static void arguments(void **state)
{
    (void)state;
    for (unsigned n = 0; n < SECCOMP_THREADS; n++) {
        enum seccomp_thread thread = (enum seccomp_thread)n;
        assert_int_equal(kills(thread, SYS_ioctl, WILD, KVM_RUN, 0), thread != SECCOMP_VCPU);
        assert_int_equal(kills(thread, SYS_ioctl, WILD, KVM_SET_SREGS, 0), thread != SECCOMP_MAIN);
        assert_int_equal(kills(thread, SYS_ioctl, WILD, KVM_IRQFD, 0),
                         thread != SECCOMP_MAIN && thread != SECCOMP_VCPU);
        assert_true(kills(thread, SYS_ioctl, WILD, KVM_SET_USER_MEMORY_REGION, 0));
        assert_true(kills(thread, SYS_ioctl, WILD, KVM_CREATE_VCPU, 0));
        assert_true(kills(thread, SYS_ioctl, WILD, TIOCSTI, 0));
        assert_int_equal(kills(thread, SYS_socket, AF_UNIX, SOCK_STREAM, 0), thread != SECCOMP_VHOST);
        assert_true(kills(thread, SYS_socket, AF_INET, SOCK_STREAM, 0));
        assert_true(kills(thread, SYS_socket, AF_NETLINK, SOCK_RAW, 0));
        assert_false(kills(thread, SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE));
        assert_true(kills(thread, SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC));
        assert_true(kills(thread, SYS_mprotect, 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC));
    }
}

/* The whole table: x32's numbers never, and of the others no more than the lists are long. */
static void every_number(void **state)
{
    (void)state;
    static const unsigned most[SECCOMP_THREADS] = {45, 31, 31, 37};
    for (unsigned n = 0; n < SECCOMP_THREADS; n++) {
        enum seccomp_thread thread = (enum seccomp_thread)n;
        unsigned count = 0;
        for (long number = 0; number < NUMBERS; number++)
            count += allowed(thread, number);
        print_message("%s: %u of %u system calls allowed\n", names[n], count, NUMBERS);
        assert_in_range(count, 20, most[n]);
        assert_true(kills(thread, X32 | SYS_read, WILD, WILD, WILD));
        assert_true(kills(thread, X32 | SYS_getpid, WILD, WILD, WILD));
    }
}

static int prepare(void **state)
{
    (void)state;
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    return seccomp_prepare();
}

int main(void)
{
#ifdef SANITIZED
    printf("SKIP: a sanitized weft-vmm has no filters\n");
    return 77;
#endif
    const struct CMUnitTest tests[] = {cmocka_unit_test(forbidden_to_all), cmocka_unit_test(names_of_files),
                                       cmocka_unit_test(arguments), cmocka_unit_test(every_number)};
    return cmocka_run_group_tests(tests, prepare, NULL);
}
