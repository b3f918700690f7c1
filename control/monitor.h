/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Looks at the dataplane's ports now and then and makes events of what changed: link up and down, broken
 * rings, addresses refused at a limit.
 *
 * Threads: weftd has one.
 */
struct controller;
struct monitor;

struct monitor *monitor_new(struct controller *controller);
void monitor_free(struct monitor *monitor);
void monitor_forget(struct monitor *monitor); /* the dataplane is another one */
