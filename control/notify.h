/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Tells systemd how weftd is, by the protocol of sd_notify(3): a datagram to $NOTIFY_SOCKET. Nothing happens
 * when that is not set.
 *
 * Threads: weftd has one.
 */
#include <event2/event.h>

void notify(const char *state); /* "READY=1" */
/* Sends WATCHDOG=1 twice in each $WATCHDOG_USEC. NULL: no watchdog wanted. */
struct event *notify_watchdog(struct event_base *base);
