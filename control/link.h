/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What the kernel says of an interface that an uplink shares with the host, asked for at the moment
 * (rtnetlink, ethtool).
 *
 * Threads: weftd has one.
 */
#include <event2/event.h>
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

/* 0 or -errno: -ENODEV: no such interface (facts->ifindex is 0). */
int link_read(const char *name, struct link_facts *facts);
struct link_watch;
/* Calls `changed` some milliseconds after an interface of this network namespace was changed, made or deleted
 * (whichever; many changes: once). NULL and errno. */
struct link_watch *link_watch_new(struct event_base *base, void (*changed)(void *context), void *context);
void link_watch_free(struct link_watch *watch);

/* Addresses that the host receives unicast frames by on this interface: its own and those of interfaces that
 * are stacked on it (macvlan, VLAN). Returns how many, at most `count`. */
unsigned link_addresses(uint32_t ifindex, uint8_t (*macs)[6], unsigned count);
