/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The kernel at both ends: taps in namespaces of a test's own, with addresses, and a TCP stream between them
 * that checks itself. Functions fail the test (cmocka) when they cannot do what they say; those of a
 * namespace act in the one that the calling process is in.
 */
#include <stdbool.h>
#include <stdint.h>
#include <linux/if_tun.h>
#include <sys/types.h>

#define KERNEL_TAP_FLAGS (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE)

/* A new namespace, which the process enters; its descriptor. */
int kernel_namespace(void);
/* A tap (or one more queue of it). */
int kernel_open_tap(const char *name, int flags);
void kernel_set_up(const char *name, bool up);
/* 10.9.0.(1 + which)/24 and fd09::(1 + which)/64, without duplicate address detection */
void kernel_set_addresses(const char *name, int which);
/* A client in namespace 0 sends `size` bytes in chunks to a server in namespace 1, which compares them with
 * what they should be and answers each chunk; `ping`: the client waits for each answer. */
struct kernel_tcp {
    pid_t children[2];
    int closed_fd; /* reads end of file when both are done */
};
void kernel_tcp_start(struct kernel_tcp *tcp, const int namespaces[2], int family, uint32_t size,
                      uint32_t chunk, bool ping);
/* Waits for both; fails the test unless every byte was right. */
void kernel_tcp_finish(struct kernel_tcp *tcp);
/* TCP segments that the namespace received with a wrong checksum; enters it. */
uint64_t kernel_tcp_checksum_errors(int namespace);
