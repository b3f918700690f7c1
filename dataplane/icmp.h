/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What the router says about packets that it does not forward: ICMP (RFC 792, 1122, 1812) and ICMPv6 (RFC
 * 4443) errors, and TCP resets for its own addresses. Rate limited per interface; nothing is said about
 * errors, groups, later fragments, or sources that are no one host.
 *
 * Threads: worker. The packet must be as it was received (before its hop count or addresses are changed).
 */
#include "router.h"

#define ICMP_ECHO_REPLY             0u
#define ICMP_UNREACHABLE            3u
#define ICMP_ECHO_REQUEST           8u
#define ICMP_TIME_EXCEEDED          11u
#define ICMP_UNREACHABLE_NET        0u
#define ICMP_UNREACHABLE_HOST       1u
#define ICMP_UNREACHABLE_PROTOCOL   2u
#define ICMP_UNREACHABLE_PORT       3u
#define ICMP_UNREACHABLE_BIG        4u
#define ICMP_UNREACHABLE_PROHIBITED 13u /* communication administratively */

#define ICMPV6_UNREACHABLE            1u
#define ICMPV6_TOO_BIG                2u
#define ICMPV6_TIME_EXCEEDED          3u
#define ICMPV6_PARAMETER              4u
#define ICMPV6_ECHO_REQUEST           128u
#define ICMPV6_ECHO_REPLY             129u
#define ICMPV6_ROUTER_SOLICITATION    133u
#define ICMPV6_NEIGHBOUR_SOLICITATION 135u
#define ICMPV6_NEIGHBOUR_ADVERT       136u
#define ICMPV6_UNREACHABLE_ROUTE      0u
#define ICMPV6_UNREACHABLE_PROHIBITED 1u
#define ICMPV6_UNREACHABLE_SCOPE      2u
#define ICMPV6_UNREACHABLE_ADDRESS    3u
#define ICMPV6_UNREACHABLE_PORT       4u
#define ICMPV6_PARAMETER_NEXT_HEADER  1u

/* `rest`: the second word of the ICMP header (MTU, pointer), host order. */
void icmp_error_ipv4(struct program *program, const struct routed *about, uint8_t type, uint8_t code,
                     uint32_t rest);
void icmp_error_ipv6(struct program *program, const struct routed *about, uint8_t type, uint8_t code,
                     uint32_t rest);
/* A TCP segment to one of the router's own addresses, where nothing listens: RFC 9293, 3.10.7.1. */
void tcp_reset(struct program *program, const struct routed *about);

/* The upper-layer checksum of an IPv6 packet in one piece is complete (RFC 8200, 8.1): sum over pseudo header
 * and `size` bytes. As it lies in memory, not complemented. */
uint16_t ipv6_sum(const uint8_t *source, const uint8_t *destination, uint8_t proto, const uint8_t *bytes,
                  uint32_t size);
/* Writes a header (40 bytes) with `size` bytes behind it. */
void ipv6_header(uint8_t *ip, uint32_t size, uint8_t proto, uint8_t hops, const uint8_t source[16],
                 const uint8_t destination[16]);
/* Writes the IPv4 header's checksum. `header`: 20 bytes without options. */
void ipv4_checksum(uint8_t *header);
