/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * IPv4 fragmentation in software (RFC 791, 3.2) for packets that may be fragmented and do not fit the link
 * they leave by.
 *
 * Threads: worker.
 */
#include "router.h"

/* Sends the packet in pieces that fit out->mtu, and accounts for it. The packet is larger than that. */
void ip_fragment(struct program *program, struct routed *routed, const struct interface *out, uint64_t mac);
