/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two ways to start a dataplane. A child of weftd gets its options as arguments and leads its own session, so
 * that it survives a killed weftd. A unit is systemd's: weftd writes its options where the unit reads them
 * (EnvironmentFile=) and asks systemctl to start it, without waiting. So that what systemctl says of the unit
 * is true, and stopping the unit stops the dataplane, whoever wanted it started.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "launch.h"
#include "log.h"
#include "weft_api.h"

#define PROGRAM       "weft-dataplane"
#define PATH_SIZE     300u
#define ARGUMENTS_MAX 12u

void launch_program(char *path, size_t size)
{
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (length > 0) {
        self[length] = '\0';
        char *slash = strrchr(self, '/');
        *slash = '\0';
        static const char *const places[] = {"", "/../dataplane", "/../libexec/weft"};
        for (unsigned i = 0; i < 3; i++) {
            int length_there = snprintf(path, size, "%s%s/" PROGRAM, self, places[i]);
            if (length_there > 0 && (size_t)length_there < size && access(path, X_OK) == 0)
                return;
        }
    }
    snprintf(path, size, PROGRAM);
}

/* What the configuration says. Returns how many. */
static unsigned options_of(const struct launch_settings *settings, const char *arguments[ARGUMENTS_MAX])
{
    unsigned count = 0;
    if (settings->cores[0]) {
        arguments[count++] = "--cores";
        arguments[count++] = settings->cores;
    }
    arguments[count++] = "--hugepages";
    arguments[count++] = settings->hugepages;
    if (settings->ethdev)
        arguments[count++] = "--allow-ethdev";
    return count;
}

/* Becomes the program, with nothing of weftd's but standard output and error. */
static void become(const char *program, const char *const *arguments)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    unsetenv("NOTIFY_SOCKET");
    setsid();
    int null = open("/dev/null", O_RDONLY);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    close_range(3, ~0u, 0);
    execvp(program, (char *const *)(uintptr_t)arguments);
    log_error("cannot run %s: %s", program, strerror(errno));
    _exit(127);
}

static void become_dataplane(const char *run_dir, const struct launch_settings *settings)
{
    char program[4200];
    const char *arguments[ARGUMENTS_MAX + 6] = {PROGRAM, "--run-dir", run_dir};
    unsigned count = 3 + options_of(settings, arguments + 3);
    if (geteuid() == 0 && getgrnam(WEFT_GROUP_ADMIN)) {
        arguments[count++] = "--socket-group";
        arguments[count++] = WEFT_GROUP_ADMIN;
    }
    launch_program(program, sizeof(program));
    become(program, arguments);
}

/* Whole or not at all: systemd may read it at any time. */
int launch_remember(const char *state_dir, const struct launch_settings *settings)
{
    char path[PATH_SIZE], aside[PATH_SIZE];
    const char *arguments[ARGUMENTS_MAX];
    unsigned count = options_of(settings, arguments);
    snprintf(path, sizeof(path), "%s/" LAUNCH_OPTIONS_FILE, state_dir);
    snprintf(aside, sizeof(aside), "%s/" LAUNCH_OPTIONS_FILE ".new", state_dir);
    FILE *file = fopen(aside, "we");
    if (!file)
        return -errno;
    fputs(LAUNCH_OPTIONS_VARIABLE "=", file);
    for (unsigned i = 0; i < count; i++)
        fprintf(file, "%s%s", i ? " " : "", arguments[i]);
    fputc('\n', file);
    int error = ferror(file) ? -EIO : 0;
    if (fclose(file) && !error)
        error = -errno;
    if (!error && rename(aside, path) < 0)
        error = -errno;
    if (error)
        unlink(aside);
    return error;
}

/* Nobody waits for systemctl but the process between, which is gone at once. */
static int ask_systemd(const char *unit)
{
    const char *arguments[] = {"systemctl", "--no-block", "--quiet", "start", unit, NULL};
    pid_t between = fork();
    if (between < 0)
        return -errno;
    if (between == 0) {
        if (fork() == 0)
            become(arguments[0], arguments);
        _exit(0);
    }
    waitpid(between, NULL, 0);
    return 0;
}

pid_t launch(const struct launch_place *place, const struct launch_settings *settings)
{
    if (place->unit) {
        int error = launch_remember(place->state_dir, settings);
        return error ? error : ask_systemd(place->unit);
    }
    pid_t pid = fork();
    if (pid == 0)
        become_dataplane(place->run_dir, settings);
    return pid < 0 ? -errno : pid;
}
