/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Rewriting of addresses, ports and identifiers in a parsed packet's private bytes, with the checksums that
 * cover them corrected for the difference (RFC 1624, equation 3).
 *
 * A checksum that the frame's sender left to us (VNET_F_NEEDS_CSUM) holds the sum of the pseudo header, not
 * complemented: it changes with the addresses only.
 *
 * Threads: pure functions of their arguments.
 */
#include <string.h>
#include "checksum.h"
#include "parse.h"

static inline uint16_t rewrite_load16(const uint8_t *bytes)
{
    uint16_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

static inline uint32_t rewrite_load32(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

/* A checksum after what it covers changed by `delta`: sum of the new words and of the complements of the old.
 */
static inline void rewrite_checksum(uint8_t *field, uint64_t delta)
{
    uint16_t checksum = (uint16_t)~rewrite_load16(field);
    checksum = (uint16_t)~checksum_fold(checksum + delta);
    memcpy(field, &checksum, sizeof(checksum));
}

/* A 16-bit field; returns the delta. */
static inline uint64_t rewrite_port(uint8_t *field, uint16_t port)
{
    uint16_t old = rewrite_load16(field);
    memcpy(field, &port, sizeof(port));
    return (uint64_t)(uint16_t)~old + port;
}

/* Source or destination of an IP header, an IPv4 header's checksum too; returns the delta. */
static inline uint64_t rewrite_address(uint8_t *ip, bool ipv4, bool source, const uint64_t address[2])
{
    uint64_t delta = 0;
    if (ipv4) {
        uint8_t *field = ip + (source ? 12 : 16);
        uint32_t to = (uint32_t)(address[1] >> 32);
        delta = (uint64_t)(uint32_t)~rewrite_load32(field) + to;
        memcpy(field, &to, sizeof(to));
        rewrite_checksum(ip + 10, delta);
        return delta;
    }
    uint8_t *field = ip + (source ? 8 : 24);
    for (unsigned i = 0; i < 16; i += 4)
        delta += (uint32_t)~rewrite_load32(field + i);
    memcpy(field, address, 16);
    for (unsigned i = 0; i < 16; i += 4)
        delta += rewrite_load32(field + i);
    return delta;
}

#define REWRITE_PROTO_DCCP    33u  /* RFC 4340, 5.1 */
#define REWRITE_PROTO_UDPLITE 136u /* RFC 3828, 3.1 */

/* The transport checksum and port. `partial`: the checksum field holds the pseudo header's sum. `left`:
 * private bytes from l4 on that belong to the packet. */
static inline void rewrite_transport(uint8_t *l4, uint32_t left, uint8_t protocol, bool source, uint16_t port,
                                     uint64_t delta, bool partial)
{
    uint8_t *checksum;
    switch (protocol) {
    case IP_PROTO_TCP:
        checksum = l4 + 16;
        break;
    case IP_PROTO_UDP:
        checksum = l4 + 6;
        break;
    case IP_PROTO_ICMP:
        rewrite_checksum(l4 + 2, rewrite_port(l4 + 4, port));
        return;
    case IP_PROTO_ICMPV6:
        rewrite_checksum(l4 + 2, delta + rewrite_port(l4 + 4, port));
        return;
    case REWRITE_PROTO_DCCP:
    case REWRITE_PROTO_UDPLITE:
        if (left >= 8)
            rewrite_checksum(l4 + 6, delta);
        return;
    default:
        return;
    }
    uint64_t change = rewrite_port(l4 + (source ? 0 : 2), port);
    uint16_t before = rewrite_load16(checksum);
    if (__builtin_expect(partial, 0)) {
        before = checksum_fold(before + delta);
        memcpy(checksum, &before, sizeof(before));
    } else if (protocol == IP_PROTO_TCP || before) { /* UDP: 0 means none, RFC 768 */
        rewrite_checksum(checksum, delta + change);
        if (protocol == IP_PROTO_UDP && !rewrite_load16(checksum))
            memset(checksum, 0xff, 2);
    }
}
