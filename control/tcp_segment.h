/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * TCP segments in Ethernet frames, as the punt channel carries them: read with every length checked, and
 * built with checksums. What holds for datagrams (datagram.h) holds here: checksums are not verified,
 * fragments and extension headers are refused.
 *
 * Threads: pure functions of their arguments. Sources: RFC 791, 8200, 9293.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TCP_FIN 0x01u
#define TCP_SYN 0x02u
#define TCP_RST 0x04u
#define TCP_PSH 0x08u
#define TCP_ACK 0x10u

#define TCP_HEADERS_MAX 78u /* bytes: Ethernet, IPv6, TCP with the MSS option */

struct tcp_segment {
    uint8_t source_mac[6], destination_mac[6];
    uint8_t source[16], destination[16]; /* network order; IPv4: mapped */
    uint16_t source_port, destination_port;
    uint32_t sequence, acknowledgment;
    uint8_t flags; /* TCP_* */
    uint16_t window;
    uint16_t mss;           /* of a SYN, bytes; 0: not said */
    const uint8_t *payload; /* parsed: inside the frame */
    size_t size;            /* of the payload, bytes */
};

/* False: not a whole TCP segment. */
bool tcp_segment_parse(const uint8_t *frame, size_t size, struct tcp_segment *segment);
/* Writes headers and payload. The frame's size, or 0 if it does not fit `room` bytes. */
size_t tcp_segment_build(const struct tcp_segment *segment, uint8_t *frame, size_t room);
