/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "log.h"

#define GUEST_LINES_PER_SECOND 10u

static struct {
    pthread_mutex_t lock;
    char name[64];
    bool verbose;
    time_t second; /* of the guest lines counted below */
    unsigned guest_lines, dropped;
} logger = {.lock = PTHREAD_MUTEX_INITIALIZER, .name = "weft-vmm"};

void log_init(const char *name, bool verbose)
{
    if (name)
        snprintf(logger.name, sizeof(logger.name), "weft-vmm: %s", name);
    logger.verbose = verbose;
}

static void print(const char *format, va_list arguments)
{
    char line[512];
    int used = snprintf(line, sizeof(line), "%s: ", logger.name);
    int text = vsnprintf(line + used, sizeof(line) - (size_t)used - 1, format, arguments);
    size_t length = (size_t)used + (text < 0 ? 0 : (size_t)text);
    if (length > sizeof(line) - 2)
        length = sizeof(line) - 2;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
    line[length] = '\n';
    if (write(STDERR_FILENO, line, length + 1) < 0)
        return; /* nowhere left to complain */
}

void log_error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(format, arguments);
    va_end(arguments);
}

void log_info(const char *format, ...)
{
    if (!logger.verbose)
        return;
    va_list arguments;
    va_start(arguments, format);
    print(format, arguments);
    va_end(arguments);
}

void log_guest(const char *format, ...)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    pthread_mutex_lock(&logger.lock);
    unsigned dropped = 0;
    if (now.tv_sec != logger.second) {
        dropped = logger.dropped;
        logger.second = now.tv_sec;
        logger.guest_lines = logger.dropped = 0;
    }
    bool drop = ++logger.guest_lines > GUEST_LINES_PER_SECOND;
    logger.dropped += drop;
    pthread_mutex_unlock(&logger.lock);
    if (dropped)
        log_error("%u more lines like these were dropped", dropped);
    if (drop)
        return;
    va_list arguments;
    va_start(arguments, format);
    print(format, arguments);
    va_end(arguments);
}
