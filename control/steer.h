/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The kernel's programs that share an interface between host and switch (xdp/steer.bpf.c): loaded once an
 * interface, found again by a weftd that starts while they are in use. Theory of operation in steer.c.
 *
 * Threads: weftd has one.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "xdp/steer.h"

struct steer;

enum steer_mode { STEER_NONE, STEER_GENERIC, STEER_NATIVE, STEER_OFFLOADED };

/* The programs and maps of that interface, loaded or found. NULL and errno with the reason in `text`. */
struct steer *steer_open(const struct steer_about *about, char *text, size_t size);
/* Closes our descriptors; what the dataplane holds stays. */
void steer_close(struct steer *steer);

/* Makes the socket receive only what the switch is to have. 0 or -errno. */
int steer_filter(const struct steer *steer, int socket);
/* A descriptor of the link that attaches weft_xdp (native, else generic), or weft_tc: the programs stay
 * attached while somebody holds one. -errno with the reason in `text`. */
int steer_attach_xdp(const struct steer *steer, char *text, size_t size);
int steer_attach_tc(const struct steer *steer);
bool steer_tc_attached(const struct steer *steer);
/* How an XDP program of anybody is attached to the interface. */
enum steer_mode steer_mode(uint32_t ifindex);
const char *steer_mode_name(enum steer_mode mode);

/* Frames that weft_xdp takes at that receive queue go to the AF_XDP socket. 0 or -errno. */
int steer_set_socket(const struct steer *steer, uint32_t queue, int socket);

/* Ports or ICMP ids of an address that are the switch's: addresses that it translates to. */
struct steer_range {
    uint8_t address[16]; /* network order, IPv4 mapped */
    bool whole;          /* everything to that address; the rest does not matter */
    enum steer_kind kind;
    uint16_t first, last;
};
/* All of them; what was there before and is not among them goes back to the host. 0 or -errno: -ENOSPC: more
 * than STEER_ADDRESSES_MAX addresses. */
int steer_set_ranges(const struct steer *steer, const struct steer_range *ranges, unsigned count);

/* The host's MAC addresses on the interface. 0 or -errno. */
int steer_set_hosts(const struct steer *steer, uint8_t (*macs)[6], unsigned count);
