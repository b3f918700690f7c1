/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "acpi.h"
#include "control.h"
#include "layout.h"
#include "log.h"
#include "machine.h"
#include "sandbox.h"

static struct machine machine;

static void signal_event(void *context, uint32_t events)
{
    (void)events;
    struct signalfd_siginfo info;
    if (read(*(int *)context, &info, sizeof(info)) != sizeof(info))
        return;
    if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT || info.ssi_signo == SIGHUP)
        machine_stop(&machine);
}

/* SIGTERM and its like come through the loop; SIGPIPE not at all. All threads inherit this. */
static int catch_signals(int *fd)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    vcpu_process_init();
    *fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (*fd < 0)
        return -errno;
    return loop_add(machine.loop, *fd, EPOLLIN, signal_event, fd);
}

/* Where a start-up ends early: descriptors 0-2 must be open, or a disk could become standard output. */
static void fill_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

static void dump_table(void *context, const char *signature, const uint8_t *data, uint32_t size)
{
    char path[4096];
    int *failed = context;
    snprintf(path, sizeof(path), "%.4s.dat", signature);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) {
        log_error("--dump-acpi: %s: %s", path, strerror(errno));
        *failed = 1;
    }
    if (fd >= 0)
        close(fd);
}

static int dump_acpi(const struct options *options)
{
    uint64_t rsdp;
    int failed = 0;
    uint8_t *data = calloc(1, LAYOUT_ACPI_SIZE);
    if (!data || chdir(options->dump_acpi)) {
        log_error("--dump-acpi: %s: %s", options->dump_acpi, strerror(errno));
        free(data);
        return EXIT_FAILED;
    }
    if (acpi_build(data, (uint32_t)LAYOUT_ACPI_SIZE, LAYOUT_ACPI, options->cpus, dump_table, &failed, &rsdp))
        failed = 1;
    free(data);
    return failed ? EXIT_FAILED : EXIT_OFF;
}

static int open_exit_file(const char *path, int *fd)
{
    if (!path)
        return 0;
    *fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (*fd >= 0)
        return 0;
    int error = -errno;
    log_error("--exit-file %s: %s", path, strerror(-error));
    return error;
}

/* For who is not the parent of this process. An empty file: it ended without coming here. */
static void write_exit_file(int fd, enum machine_exit code)
{
    char text[8];
    int length = snprintf(text, sizeof(text), "%d\n", (int)code);
    if (fd >= 0 && write(fd, text, (size_t)length) != length)
        log_error("--exit-file: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    static struct options options;
    int signal_fd = -1;
    fill_standard_descriptors();
    switch (options_parse(&options, argc, argv)) {
    case OPTIONS_DONE:
        return EXIT_OFF;
    case OPTIONS_BAD:
        return EXIT_USAGE;
    default:
        break;
    }
    log_init(options.name, options.verbose);
    if (options.dump_acpi)
        return dump_acpi(&options);
    enum machine_exit code = EXIT_FAILED;
    struct control *control = NULL;
    int exit_fd = -1, error = open_exit_file(options.exit_file, &exit_fd);
    if (error)
        return EXIT_FAILED;
    error = machine_init(&machine, &options);
    if (!error && options.control) {
        control = control_new(&machine, options.control);
        error = control ? 0 : -errno;
    }
    if (!error)
        error = catch_signals(&signal_fd);
    if (!error && options.sandbox)
        error = sandbox_process(&machine);
    if (!error) {
        machine.enter_vcpu = sandbox_enter_vcpu;
        machine.enter_main = sandbox_enter_main;
        code = machine_run(&machine);
    }
    control_free(control);
    machine_free(&machine);
    write_exit_file(exit_fd, code);
    return (int)code;
}
