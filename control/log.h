/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * One line a message on stderr. Under systemd (JOURNAL_STREAM set) a line starts with its priority, elsewhere
 * with the program's name. Control characters in what is logged become '?': names may come from anybody.
 *
 * Threads: weftd has one.
 */

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_NOTICE = 5, LOG_LEVEL_INFO = 6 };

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)  log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
