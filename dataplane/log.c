/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include <rte_log.h>
#include "log.h"
#include "port.h"

#define LOG_LINE_SIZE 512u
#define LOG_SITES     128u /* power of two */

/* By format string, open addressing; there are more slots than sites. */
static struct site {
    const char *format; /* NULL: free */
    time_t since;       /* start of the period, CLOCK_MONOTONIC */
    unsigned lines;
    unsigned suppressed;
} sites[LOG_SITES];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* One write, so that lines of several threads do not mix. A log that cannot be written is no reason to stop.
 */
static void write_line(int level, const char *text)
{
    char line[LOG_LINE_SIZE + 8];
    int size = snprintf(line, sizeof(line), "<%d>%s\n", level & LOG_PRIMASK, text);
    if (size >= (int)sizeof(line)) {
        size = sizeof(line) - 1;
        line[size - 1] = '\n';
    }
    ssize_t written = write(STDERR_FILENO, line, (size_t)size);
    (void)written;
}

static struct site *find_site(const char *format)
{
    unsigned slot = (unsigned)(((uintptr_t)format * 0x9e3779b97f4a7c15u) >> 57) & (LOG_SITES - 1);
    for (unsigned i = 0; i < LOG_SITES; i++, slot = (slot + 1) & (LOG_SITES - 1)) {
        if (!sites[slot].format)
            sites[slot].format = format;
        if (sites[slot].format == format)
            break;
    }
    return &sites[slot]; /* if the table were full: some site, whose budget is shared */
}

/* True if the site may write now; *suppressed: lines that it could not since it last could. */
static bool allowed(const char *format, unsigned *suppressed)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct site *site = find_site(format);
    *suppressed = 0;
    if (now.tv_sec - site->since >= LOG_PERIOD_S) {
        site->since = now.tv_sec;
        site->lines = 0;
    }
    if (site->lines >= LOG_BURST) {
        site->suppressed++;
        return false;
    }
    site->lines++;
    *suppressed = site->suppressed;
    site->suppressed = 0;
    return true;
}

void control_log(int level, const char *format, ...)
{
    char text[LOG_LINE_SIZE];
    unsigned suppressed;
    va_list arguments;
    pthread_mutex_lock(&mutex);
    bool write_it = allowed(format, &suppressed);
    pthread_mutex_unlock(&mutex);
    if (!write_it)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    write_line(level, text);
    if (suppressed) {
        snprintf(text, sizeof(text), "%u more messages like the last one were suppressed", suppressed);
        write_line(level, text);
    }
}

static ssize_t dpdk_write(void *cookie, const char *buffer, size_t size)
{
    size_t length = size;
    while (length > 0 && buffer[length - 1] == '\n')
        length--;
    int level = rte_log_cur_msg_loglevel(); /* DPDK's levels are syslog's plus one */
    if (length > 0)
        control_log(level > 0 ? level - 1 : LOG_INFO, "dpdk: %.*s", (int)length, buffer);
    return (ssize_t)size;
}

int log_dpdk(void)
{
    FILE *stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = dpdk_write});
    if (!stream)
        return -errno;
    setvbuf(stream, NULL, _IOLBF, LOG_LINE_SIZE);
    return rte_openlog_stream(stream) == 0 ? 0 : -EIO;
}
