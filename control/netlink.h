/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What the kernel says about the interfaces that weft shares with it: the link, its addresses, the routes of
 * the main table that leave by it, and its neighbours, in the network namespace that weftd runs in. Theory of
 * operation in netlink.c.
 *
 * Threads: weftd has one; the callbacks come from its event loop.
 */
#include <event2/event.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nl_msg;
struct nl_sock;

struct netlink_link {
    char name[IFNAMSIZ];
    uint32_t index; /* 0: there is no such interface; then the rest is zero */
    uint8_t mac[6]; /* zero: none */
    uint32_t mtu;   /* bytes */
    bool up;        /* administratively */
    bool running;   /* and with a carrier */
};

struct netlink_address {
    uint32_t index;
    uint8_t family; /* 4, 6 */
    uint8_t prefix_length;
    uint8_t scope;     /* RT_SCOPE_* */
    uint8_t secondary; /* 1: not to be spoken from: IFA_F_SECONDARY, TEMPORARY, DEPRECATED, TENTATIVE */
    uint8_t bytes[16];
    uint8_t protocol; /* IFA_PROTO: who made it; 0: not said */
    uint8_t pad[3];
};

struct netlink_route {
    uint32_t index;
    uint8_t family; /* 4, 6 */
    uint8_t prefix_length;
    uint8_t next_hop_family; /* 0: on-link */
    uint8_t pad;
    uint32_t metric;
    uint8_t prefix[16];
    uint8_t next_hop[16];
};

struct netlink_neighbour {
    uint32_t index;
    uint8_t family; /* 4, 6 */
    uint8_t stale;  /* 1: known, but not confirmed lately */
    uint8_t mac[6];
    uint8_t address[16];
};

/* Sorted; no two are the same. */
struct netlink_tables {
    struct netlink_address *addresses;
    struct netlink_route *routes;
    struct netlink_neighbour *neighbours;
    size_t address_count, route_count, neighbour_count;
};

struct netlink;

struct netlink_callbacks {
    /* What is watched is not what it was; the new state can be read by then. */
    void (*changed)(void *context);
    /* Some milliseconds after an interface, watched or not, was changed, made or deleted (whichever; many
     * changes: once). */
    void (*links)(void *context);
    void *context;
};

/* NULL and errno */
struct netlink *netlink_new(struct event_base *base, const struct netlink_callbacks *callbacks);
void netlink_free(struct netlink *netlink);

/* The interfaces to watch instead of those before; reads them at once. Names of interfaces that do not exist
 * (yet) are fine. 0 or -errno. */
int netlink_watch(struct netlink *netlink, const char *const names[], size_t count);

/* Of a watched interface; NULL: not watched. Valid until the next callback or netlink_watch(). */
const struct netlink_link *netlink_link(const struct netlink *netlink, const char *name);
const struct netlink_tables *netlink_tables(const struct netlink *netlink);
/* The address of the host that stands for it at the interface: of global scope and not secondary; IPv4: the
 * primary one; IPv6: the oldest, because what is translated to it ends with it, and a unique local one only
 * if there is no other (RFC 6724, 5, rule 6). NULL: none. */
const struct netlink_address *netlink_host_address(const struct netlink *netlink, uint32_t index,
                                                   uint8_t family);

/* Asks the kernel to find or confirm who has the address on the link (as if it had a packet to send). */
int netlink_probe(struct netlink *netlink, uint32_t index, uint8_t family, const uint8_t address[16]);

/* For tests and `weft doctor`. */
struct netlink_counts {
    uint64_t events;   /* messages of the kernel that concerned what is watched */
    uint64_t overruns; /* times that the kernel lost some */
    uint64_t reads;    /* times that everything was read */
    uint64_t again;    /* reads that were disturbed by a change and repeated */
};
struct netlink_counts netlink_counts(const struct netlink *netlink);
/* Bytes of the event socket's receive buffer; the kernel has a minimum. */
int netlink_receive_buffer(struct netlink *netlink, int size);
/* netlink_read.c: reads links (by name, in place) and tables (empty before, and after an error) now. 0 or
 * -errno; -EAGAIN: it changed meanwhile more than once. What was read is sorted. */
int netlink_read(struct netlink_link *links, size_t link_count, struct netlink_tables *tables,
                 uint64_t *again);
/* The same file: a socket for requests (NETLINK_ROUTE); NULL: none to be had. */
struct nl_sock *netlink_socket(void);
/* Sends the request (which it frees; NULL: no memory) and gives each answer to `valid`. 0 or -NLE_* */
int netlink_exchange(struct nl_sock *socket, struct nl_msg *request,
                     int (*valid)(struct nl_msg *message, void *context), void *context);
void netlink_tables_clear(struct netlink_tables *tables);
bool netlink_tables_equal(const struct netlink_tables *a, const struct netlink_tables *b);
