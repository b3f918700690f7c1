/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * A router in memory: tenant 1 with two segments that its router joins, a guest in each; tenant 2 with a
 * segment of the same addresses; and the control thread's part played by the test, one step at a time.
 *
 *   guest 1 --- segment 10 --- port 11 [router 1] port 21 --- segment 20 --- guest 2
 *   10.0.1.10   fd00:1::/64    10.0.1.1         10.0.2.1      fd00:2::/64    10.0.2.20
 *   guest 3 --- segment 30 --- port 31 [router 2]                            tenant 2, 10.0.1.0/24
 *
 * With lab_outside: tenant 1's port 11 and tenant 2's port 31 are translated to 192.0.2.1.
 *   [port 91: outside, 192.0.2.1/24] --- segment 90 --- peer 4, 192.0.2.99, the way to everywhere else
 * With lab_second_outside: guest 1 is 203.0.113.5, there and nowhere else.
 *   [port 92: outside, 203.0.113.1/24] --- segment 91 --- peer 5, 203.0.113.99, the way to 8.0.0.0/8
 */
#include "frame.h"
#include "objects.h"
#include "router.h"
#include "switch_fixture.h"

#define LAB_FLOWS     1024u /* entries of the flow cache */
#define GUEST_1_MAC   "\x02\x00\x00\x00\x00\x0a"
#define GUEST_2_MAC   "\x02\x00\x00\x00\x00\x14"
#define GUEST_3_MAC   "\x02\x00\x00\x00\x00\x1e"
#define ROUTER_1_MAC  "\x02\x00\x00\x00\x00\xf1"
#define ROUTER_2_MAC  "\x02\x00\x00\x00\x00\xf2"
#define ROUTER_3_MAC  "\x02\x00\x00\x00\x00\xf3"
#define GUEST_1       0x0a00010au
#define GUEST_2       0x0a000214u
#define ROUTER_1      0x0a000101u
#define ROUTER_2      0x0a000201u
#define PEER_MAC      "\x02\x00\x00\x00\x00\x63"
#define OUTSIDE_MAC   "\x02\x00\x00\x00\x00\xf9"
#define OUTSIDE       0xc0000201u
#define PEER          0xc0000263u
#define PEER_2_MAC    "\x02\x00\x00\x00\x00\x64"
#define OUTSIDE_2_MAC "\x02\x00\x00\x00\x00\xfa"
#define OUTSIDE_2     0xcb007101u
#define PEER_2        0xcb007163u

extern const uint8_t guest_1_ipv6[16], guest_2_ipv6[16], router_1_ipv6[16], router_2_ipv6[16];
extern const uint8_t outside_ipv6[16], peer_ipv6[16];

struct lab {
    struct fixture *fixture;
    struct objects *objects;
    struct ingress *guest_1, *guest_2, *guest_3;
    struct ingress *router_1, *router_2, *router_3;
    struct ingress *peer, *outside; /* lab_outside */
    struct ingress *peer_2, *outside_2;
    struct nat *nat;
    uint64_t now_ms;
    unsigned asked; /* questions to the controller */
    uint32_t asked_port;
    uint8_t asked_address[16];
};

/* Interface flags of port 11 and 21; MTU of port 21. */
struct lab *lab_new(uint32_t flags_1, uint32_t flags_2, uint32_t mtu_2);
void lab_free(struct lab *lab);
/* cmocka's: guests' neighbours are known; at the end every port's counters add up. */
int lab_neighbours_setup(void **state);
int lab_outside_setup(void **state); /* and lab_outside, filter endpoint-independent */
int lab_teardown(void **state);
/* Adds an object; in force after lab_compile. */
void lab_put(struct lab *lab, enum dp_kind kind, const void *object);
void lab_compile(struct lab *lab);
/* Adds the outside. flags: of its interface; nat_flags: of the sources; mtu: of its port */
void lab_outside(struct lab *lab, uint32_t flags, uint32_t nat_flags, uint32_t mtu);
/* After lab_outside: an uplink of its own for guest 1, translated 1:1; its next hop is not known yet. */
void lab_second_outside(struct lab *lab, uint32_t mtu);
/* After lab_outside: IPv6 there too. */
void lab_outside_ipv6(struct lab *lab);
/* Adds static neighbours for both guests, both families. */
void lab_neighbours(struct lab *lab);
void lab_send(struct lab *lab, struct ingress *from, const struct flat *flat);
/* The control thread's turn: notes of the worker. */
void lab_control(struct lab *lab);
/* Time goes on, and the control thread's tick with it. */
void lab_wait(struct lab *lab, unsigned milliseconds);
/* The only frame that the port sent since the last call of fixture_clear. */
const struct fake_frame *lab_only(const struct ingress *to);

/* An Ethernet frame with a UDP datagram of `payload` bytes; checksums right. */
void udp_ipv4(struct flat *flat, const char *to, const char *from, uint32_t source, uint32_t destination,
              uint32_t payload, unsigned ttl);
void udp_ipv6(struct flat *flat, const char *to, const char *from, const uint8_t *source,
              const uint8_t *destination, uint32_t payload, unsigned hops);
/* Writes the IPv4 header's checksum. */
void finish_ipv4(struct flat *flat);
bool ipv4_sum_right(const uint8_t *bytes);
