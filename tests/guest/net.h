/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* What the NIC and its small IP stack (net.c) share with the modes that use them (net_modes.c). */
#include "guest.h"

#define NET_HEADER 12u /* virtio_net_hdr with num_buffers */
#define BUFFERS    256u
#define PAIRS_MAX  4u
#define FEATURES_BIG                                                                                         \
    (1ull << 0 | 1ull << 1 | 1ull << 7 | 1ull << 11) /* CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4 */
#define PROTOCOL_ICMP 1
#define PROTOCOL_TCP  6
#define PROTOCOL_UDP  17
#define PORT_ECHO     7
#define PORT_DISCARD  9

struct net {
    struct device device;
    struct queue rx[PAIRS_MAX], tx[PAIRS_MAX], control;
    uint32_t buffer_size;
    uint16_t pairs, pairs_used;
    struct {
        uint64_t rx_frames, rx_bytes, tx_frames, arp, icmp, udp, tcp, discard, discard_bytes;
        uint64_t by_queue[PAIRS_MAX];
    } counters;
    struct { /* what the modes wait for */
        uint16_t ping_id, ping_seq;
        bool ping_seen;
        uint16_t udp_port;
        uint32_t udp_size;
        uint8_t udp_data[FRAME_MAX];
        bool udp_seen;
    } waiting;
};
extern struct net net;

void net_send_udp(uint32_t to, uint16_t from_port, uint16_t to_port, const void *data, uint32_t size);
