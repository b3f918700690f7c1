/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The service manager's notification protocol (sd_notify(3)): datagrams to $NOTIFY_SOCKET. Nothing happens
 * where it is not set. Threads: weftd has one.
 */
struct event_base;
struct notify_watchdog;

void notify_ready(const char *status); /* READY=1 the first time, STATUS=... each time */
void notify_stopping(void);
/* WATCHDOG=1 at half of $WATCHDOG_USEC; NULL where that is not set. */
struct notify_watchdog *notify_watchdog_new(struct event_base *base);
void notify_watchdog_free(struct notify_watchdog *watchdog);
