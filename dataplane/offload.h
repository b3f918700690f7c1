/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Offload requests (virtio 1.2, 5.1.6.2): checked against our own parse at reception, carried whole between
 * ports that both understand them, completed in software where the egress does not take them.
 *
 * Threads: pure functions of their arguments; a segmenter belongs to one worker.
 */
#include <stdbool.h>
#include <stdint.h>
#include "parse.h"

/* What an egress takes as it is. */
#define OFFLOAD_CSUM 1u /* VNET_F_NEEDS_CSUM without TSO */
#define OFFLOAD_TSO4 2u /* with VNET_F_NEEDS_CSUM, which TSO implies */
#define OFFLOAD_TSO6 4u
#define OFFLOAD_ECN  8u /* VNET_GSO_ECN together with TSO */

/* Makes packet's flags, gso_type, hdr_len, gso_size, csum_start and csum_offset true, or says false: drop the
 * frame as RX_OFFLOAD. To be called when flags or gso_type are not 0, after parse_l2; runs parse_l3 itself.
 * Legal are: NEEDS_CSUM on TCP or UDP over IPv4 (not fragmented) or IPv6 with csum_start at our l4_offset and
 * the field's offset of that protocol; TSO on TCP with NEEDS_CSUM, gso_size >= 8 and < 64 KiB, gso_type
 * agreeing with the IP version; DATA_VALID (cleared). hdr_len is computed here, the guest's is ignored. */
bool offload_validate(struct packet *packet, struct frame_info *info);

/* True if the egress can take the packet as it is: frame size (without TSO) <= max_frame bytes, offloads
 * understood. */
static inline bool offload_fits(const struct packet *packet, uint32_t offloads)
{
    uint32_t need = 0;
    if ((packet->gso_type & ~VNET_GSO_ECN) == VNET_GSO_TCPV4)
        need |= OFFLOAD_TSO4;
    else if ((packet->gso_type & ~VNET_GSO_ECN) == VNET_GSO_TCPV6)
        need |= OFFLOAD_TSO6;
    else if (packet->flags & VNET_F_NEEDS_CSUM)
        need |= OFFLOAD_CSUM;
    if (packet->gso_type & VNET_GSO_ECN)
        need |= OFFLOAD_ECN;
    return (need & ~offloads) == 0;
}

/* Ones' complement checksum completed over private bytes and spans, written into the private header; the
 * request is taken off the packet. False: the field is not in private bytes (drop as TX_CHECKSUM). UDP 0
 * becomes 0xffff. */
bool checksum_complete(struct packet *packet);

/* The software segmenter: cuts one TSO frame into frames of at most gso_size bytes of payload. IPv4 id
 * increments, IPv4 header checksum, lengths, sequence numbers, FIN/PSH only on the last, CWR only on the
 * first (RFC 3168), checksums left as a request if `offloads` has OFFLOAD_CSUM, complete otherwise. */
struct segmenter;
struct segmenter *segmenter_new(void); /* NULL and errno */
void segmenter_free(struct segmenter *segmenter);
/* Starts on `packet` (validated). The packet must stay as it is until the last piece is taken. */
void segmenter_start(struct segmenter *segmenter, const struct packet *packet, uint32_t offloads);
/* Next up to `count` pieces: pointers into the segmenter's own packets, valid until the next call. 0: no
 * more. */
unsigned segmenter_next(struct segmenter *segmenter, struct packet **pieces, unsigned count);
