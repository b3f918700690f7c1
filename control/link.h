/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What the kernel says of an interface that an uplink shares with the host, asked for at the moment
 * (rtnetlink, ethtool).
 *
 * Threads: weftd has one.
 */
#include <stdbool.h>
#include <stdint.h>

#define LINK_QUEUES_MAX 64u

struct link_facts {
    uint32_t ifindex; /* 0: there is no such interface */
    uint32_t mtu;
    uint32_t queues; /* receive queues in use */
    uint8_t mac[6];
    bool ethernet;
    bool running;    /* up and with carrier */
    bool wireless;   /* IEEE 802.11 station: frames with other source addresses are not let through */
    char kind[16];   /* veth, bridge, ...; "": a device of its own */
    char master[16]; /* bridge or bond that it is a port of; "": none */
};

bool link_facts_equal(const struct link_facts *a, const struct link_facts *b);
/* 0 or -errno: -ENODEV: no such interface (facts->ifindex is 0). */
int link_read(const char *name, struct link_facts *facts);
/* Addresses that the host receives unicast frames by on this interface: its own and those of interfaces that
 * are stacked on it (macvlan, VLAN). Returns how many, at most `count`. */
unsigned link_addresses(uint32_t ifindex, uint8_t (*macs)[6], unsigned count);
