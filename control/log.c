/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "log.h"

void log_write(enum log_level level, const char *format, ...)
{
    static const char *const words[] = {[LOG_LEVEL_ERROR] = "error: ", [LOG_LEVEL_WARNING] = "warning: "};
    char line[2048];
    int used;
    if (getenv("JOURNAL_STREAM"))
        used = snprintf(line, sizeof(line), "<%d>", level);
    else
        used = snprintf(line, sizeof(line), "weftd: %s", level <= LOG_LEVEL_WARNING ? words[level] : "");
    va_list arguments;
    va_start(arguments, format);
    int more = vsnprintf(line + used, sizeof(line) - (size_t)used - 1, format, arguments);
    va_end(arguments);
    if (more < 0)
        return;
    size_t size = strlen(line);
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    }
    line[size++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, size);
    (void)written; /* nobody is left to tell */
}
