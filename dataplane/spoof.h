/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Anti-spoofing: which source addresses a port may use (MAC, IPv4, IPv6; also as ARP sender and in neighbour
 * discovery, RFC 826 and RFC 4861).
 *
 * With SPOOF_MAC: Ethernet source, ARP sender hardware address, and the source/target link-layer address
 * options of ND sent by the port are among its MACs. With SPOOF_IP: IPv4 source (0.0.0.0 allowed for DHCP
 * client messages only), IPv6 source (:: allowed for DAD, router solicitation and MLD; a link-local address
 * formed from one of its MACs by EUI-64 is allowed, other link-local ones only if listed), ARP sender
 * protocol address (0.0.0.0 allowed: ARP probe, RFC 5227), target of neighbour advertisements and of DAD.
 * SPOOF_IP checks nothing if the port has no IP address; with one, it may use no source of either family but
 * the listed ones and the exceptions named here. ARP that is not Ethernet/IPv4, ND in fragments (RFC 6980)
 * and ND longer than the private bytes do not pass.
 *
 * Threads: a table is immutable once built.
 */
#include "parse.h"

struct spoof_table; /* of one port */

/* The `count` entries must be this port's; NULL and ENOMEM. flags: DP_PORT_F_SPOOF_*. */
struct spoof_table *spoof_table_new(uint32_t flags, const struct dp_allowed *entries, unsigned count);
void spoof_table_free(struct spoof_table *table);
/* After parse_l2; runs parse_l3 when it needs it. DP_DROP_COUNT: passes; else the reason (SPOOF_*,
 * RX_MALFORMED). */
enum dp_drop spoof_check(const struct spoof_table *table, const struct packet *packet,
                         struct frame_info *info);
