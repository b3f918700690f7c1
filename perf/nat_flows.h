/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Flows through a device that translates addresses: 128 guests, each of which talks from many UDP ports to a
 * server of its own, and what the servers answer. Both ends are weft-natload's; the device is told of them
 * as neighbours (perf/bare_nat.c, perf/peers_nat.py).
 *
 *   guests 10.0.0.16+i, NAT_GUEST_MAC --- NAT_INSIDE_MAC, 10.0.0.1/16 [device] 192.0.2.1/24, NAT_OUTSIDE_MAC
 *   --- NAT_FAR_MAC, 192.0.2.254, the way to servers 198.18.0.16+i
 *
 * A frame carries its flow's number. The far end learns from the first one how the device translated the
 * flow, and answers to that. Checksums are right, and looked at when a frame is looked at.
 */
#include <stdbool.h>
#include <stdint.h>

#define NAT_GUESTS      128u
#define NAT_GUEST_FIRST 0x0a000010u
#define NAT_FAR_FIRST   0xc6120010u
#define NAT_GUEST_MAC   "\x52\x54\x00\x00\x00\x01"
#define NAT_INSIDE_MAC  "\x02\x77\x65\x00\x00\x01"
#define NAT_OUTSIDE_MAC "\x02\x77\x65\x00\x00\x02"
#define NAT_FAR_MAC     "\x52\x56\x00\x00\x00\x01"
#define NAT_FLOWS_MAX   (NAT_GUESTS * 32768u)

/* What differs between flows, as it lies in the frame. */
struct nat_tuple {
    uint16_t ip_sum, udp_sum;
    uint32_t addresses[2]; /* source, destination */
    uint16_t ports[2];
};

struct nat_flows {
    uint32_t count, known;
    struct nat_tuple *out;  /* as guests send */
    struct nat_tuple *back; /* as servers answer; addresses[1] 0: not known yet */
};

enum nat_verdict { NAT_FRAME_RIGHT, NAT_FRAME_WRONG, NAT_FRAME_FOREIGN };

int nat_flows_new(struct nat_flows *flows, uint32_t count); /* 0 or -errno */
void nat_flows_free(struct nat_flows *flows);
/* A frame of NAT_PORT_FRAME bytes, from a guest (or from a server): all that does not differ. */
void nat_flows_build(uint8_t *frame, bool answer);
/* The rest. */
void nat_flows_write(uint8_t *frame, const struct nat_tuple *tuple, uint32_t flow);
/* A frame at the far end: notes how its flow was translated if that is not known. */
enum nat_verdict nat_flows_at_far(struct nat_flows *flows, const uint8_t *frame, uint32_t size);
/* A frame at the guests' end: an answer to the flow's guest from its server. */
enum nat_verdict nat_flows_at_guest(const struct nat_flows *flows, const uint8_t *frame, uint32_t size);
