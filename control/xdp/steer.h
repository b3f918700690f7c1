/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What steer.bpf.c and steer.c agree on: keys and values of the maps. Included by the kernel's program and by
 * weftd's, so it needs nothing but the types of linux/types.h.
 */
#include <linux/types.h>

#define STEER_HOSTS_MAX     256
#define STEER_ADDRESSES_MAX 64
#define STEER_SOCKETS_MAX   8
#define STEER_BITMAP_SIZE   8192 /* bytes: one bit a port number or ICMP id */

/* Key of `hosts`: a MAC address of the host on this interface. */
struct steer_mac {
    __u8 bytes[6];
    __u8 pad[2];
};

/* Key of `addresses`: an address that the switch translates to; IPv4 is mapped (::ffff:a.b.c.d). */
struct steer_address {
    __u8 bytes[16];
};

/* Value of `addresses`: its bitmaps are ports[slot * STEER_KINDS + kind]. */
struct steer_slot {
    __u32 slot;
    __u32 whole; /* 1: everything to that address is the switch's, ARP too */
};

/* Value of `ports`. */
struct steer_bitmap {
    __u8 bytes[STEER_BITMAP_SIZE];
};

enum steer_kind { STEER_TCP, STEER_UDP, STEER_ICMP, STEER_KINDS };

/* The one value of `about`: whose programs these are. */
struct steer_about {
    __u64 instance; /* of weftd: its run dir */
    __u64 netns;    /* inode of the network namespace */
    __u32 ifindex;
    __u32 pad;
};
