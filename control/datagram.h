/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * UDP datagrams in Ethernet frames, as the punt channel carries them: read with every length checked, and
 * built with checksums. What DHCP, DNS and router advertisements have in common.
 *
 * A frame has crossed memory only; its UDP checksum may still be a guest's offload request, so it is not
 * verified. Tags are off already (the switch normalises them). Fragments are refused.
 *
 * Threads: pure functions of their arguments. Sources: RFC 791, 768, 8200.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DATAGRAM_FRAME_MAX   2048u
#define DATAGRAM_HEADERS_MAX 62u /* bytes: Ethernet, IPv6, UDP */

struct datagram {
    uint8_t source_mac[6], destination_mac[6];
    uint8_t source[16], destination[16]; /* network order; IPv4: mapped (RFC 4291, 2.5.5.2) */
    uint16_t source_port, destination_port;
    const uint8_t *payload; /* parsed: inside the frame */
    size_t size;            /* of the payload, bytes */
};

/* False: not a whole UDP datagram. */
bool datagram_parse(const uint8_t *frame, size_t size, struct datagram *datagram);
/* Writes headers and payload (which may lie in `frame` at its place already). Returns the frame's size, or 0
 * if it does not fit `room` bytes. */
size_t datagram_build(const struct datagram *datagram, uint8_t *frame, size_t room);

void address_map(uint8_t address[16], const uint8_t ipv4[4]);
bool address_is_mapped(const uint8_t address[16]);
/* RFC 1071 over `size` bytes in network order, continued from `sum`; not folded. */
uint64_t internet_sum(uint64_t sum, const void *bytes, size_t size);
uint16_t internet_fold(uint64_t sum); /* complement, network order as stored */
