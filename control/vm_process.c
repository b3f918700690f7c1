/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process of a machine. It leads its own session, so that it survives a killed weftd. It waits at a pipe
 * until weftd has written down that it exists: if weftd dies before that, it sees the pipe close and ends, so
 * that no machine runs that nobody knows of. A process is told from a later one with the same number by the
 * time it began.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "vm_machine.h"

#define PROGRAM    "weft-vmm"
#define TAIL_SIZE  2048u
#define EXIT_OFF   0 /* weft-vmm(1), EXIT STATUS */
#define EXIT_ENDED 17

static void program_path(char *path, size_t size)
{
    char self[4096];
    static const char *const places[] = {"", "/../vmm", "/../libexec/weft"};
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    for (unsigned i = 0; slash && i < sizeof(places) / sizeof(places[0]); i++) {
        int there = snprintf(path, size, "%s%s/" PROGRAM, self, places[i]);
        if (there > 0 && (size_t)there < size && access(path, X_OK) == 0)
            return;
    }
    snprintf(path, size, PROGRAM);
}

/* The text of a small file; its length, or -errno. */
static ssize_t read_small(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    ssize_t length = read(fd, text, size - 1);
    close(fd);
    text[length > 0 ? length : 0] = '\0';
    return length < 0 ? -errno : length;
}

/* Field 22 of /proc/PID/stat; the second one may hold anything, also spaces and parentheses. 0: none. */
static uint64_t start_of(pid_t pid)
{
    char path[40], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (read_small(path, text, sizeof(text)) <= 0)
        return 0;
    const char *at = strrchr(text, ')');
    for (unsigned field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at, NULL, 10) : 0;
}

static void child_output(const char *log)
{
    int null = open("/dev/null", O_RDONLY);
    int out = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW, 0640);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    if (out >= 0) {
        dup2(out, STDOUT_FILENO);
        dup2(out, STDERR_FILENO);
    }
}

static void child_run(json_t *arguments, const char *log, int gate)
{
    char program[4200], go;
    size_t count = json_array_size(arguments);
    const char **argv = calloc(count + 2, sizeof(*argv));
    if (!argv || read(gate, &go, 1) != 1)
        _exit(127);
    argv[0] = PROGRAM;
    for (size_t i = 0; i < count; i++)
        argv[i + 1] = json_string_value(json_array_get(arguments, i));
    program_path(program, sizeof(program));
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    setsid();
    child_output(log);
    close_range(3, ~0u, 0);
    execvp(program, (char *const *)(uintptr_t)argv);
    dprintf(STDERR_FILENO, "cannot run %s: %s\n", program, strerror(errno));
    _exit(127);
}

int vm_process_spawn(struct vm_process *process, json_t *arguments, const char *log,
                     bool (*record)(void *context), void *context)
{
    int gate[2];
    if (pipe2(gate, O_CLOEXEC) < 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        close(gate[1]);
        child_run(arguments, log, gate[0]);
    }
    int error = pid < 0 ? -errno : 0;
    close(gate[0]);
    if (!error) {
        *process = (struct vm_process){.pid = pid, .child = true, .start = start_of(pid)};
        process->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (process->pidfd < 0)
            error = -errno;
        else if (!record(context) || write(gate[1], "g", 1) != 1)
            error = -EIO;
    }
    close(gate[1]);
    if (error && pid > 0) {
        waitpid(pid, NULL, 0); /* it sees the pipe close */
        vm_process_forget(process);
    }
    return error;
}

bool vm_process_adopt(struct vm_process *process, pid_t pid, uint64_t start)
{
    struct pollfd poll_fd = {.fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1, .events = POLLIN};
    if (poll_fd.fd < 0)
        return false;
    /* in this order: the descriptor stands for one process, whose beginning is then asked for */
    if (start_of(pid) != start || poll(&poll_fd, 1, 0) == 1) {
        close(poll_fd.fd);
        return false;
    }
    *process = (struct vm_process){.pid = pid, .pidfd = poll_fd.fd, .start = start};
    return true;
}

void vm_process_signal(const struct vm_process *process, int signal)
{
    if (process->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, process->pidfd, signal, NULL, 0);
}

/* The last line that weft-vmm wrote, without its own name in front. */
static void last_words(const char *log, char *text, size_t size)
{
    char tail[TAIL_SIZE];
    int fd = open(log, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    text[0] = '\0';
    if (fd < 0)
        return;
    off_t end = lseek(fd, 0, SEEK_END);
    ssize_t length =
        pread(fd, tail, sizeof(tail) - 1, end > (off_t)sizeof(tail) - 1 ? end - (off_t)sizeof(tail) + 1 : 0);
    close(fd);
    while (length > 0 && tail[length - 1] == '\n')
        length--;
    tail[length > 0 ? length : 0] = '\0';
    const char *line = strrchr(tail, '\n');
    line = line ? line + 1 : tail;
    if (strncmp(line, PROGRAM, strlen(PROGRAM)) == 0 && strstr(line, ": "))
        line = strstr(line, ": ") + 2;
    snprintf(text, size, "%.*s", (int)size - 1, line);
}

static void describe_code(struct vm_end *end, int code, const char *words)
{
    end->orderly = code == EXIT_OFF || code == EXIT_ENDED;
    if (code == EXIT_OFF)
        snprintf(end->text, sizeof(end->text), "the guest powered off");
    else if (code == EXIT_ENDED)
        snprintf(end->text, sizeof(end->text), "it was ended without the guest's consent");
    else if (*words)
        snprintf(end->text, sizeof(end->text), "%s", words);
    else
        snprintf(end->text, sizeof(end->text), PROGRAM " ended with code %d", code);
}

void vm_process_end(const struct vm_process *process, const char *exit_file, const char *log,
                    struct vm_end *end)
{
    char words[sizeof(end->text)], code[16];
    siginfo_t info = {0};
    *end = (struct vm_end){0};
    last_words(log, words, sizeof(words));
    if (process->child)
        waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG | WNOWAIT);
    if (info.si_pid && info.si_code == CLD_EXITED)
        describe_code(end, info.si_status, words);
    else if (info.si_pid)
        snprintf(end->text, sizeof(end->text), PROGRAM " was killed by signal %d (%s)", info.si_status,
                 strsignal(info.si_status));
    else if (read_small(exit_file, code, sizeof(code)) > 0)
        describe_code(end, (int)strtol(code, NULL, 10), words);
    else
        snprintf(end->text, sizeof(end->text), PROGRAM " was killed");
}

void vm_process_forget(struct vm_process *process)
{
    if (process->child && process->pid > 0)
        waitpid(process->pid, NULL, WNOHANG);
    if (process->pidfd >= 0 && process->pid > 0)
        close(process->pidfd);
    *process = (struct vm_process){.pidfd = -1};
}
