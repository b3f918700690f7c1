/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What the flow cache does with a session: everything that address translation does for a packet of an
 * established one, but for finding it and for rewriting. For router_flow.c alone.
 *
 * Threads: worker.
 */
#include "conntrack_types.h"

/* True if the session will do for the next packet of its direction exactly what it did for this one, and
 * this was not the first: then *state is what it must still be for that (session.state). */
bool nat_flow_settled(const struct nat *nat, uint32_t session, uint32_t generation, bool outbound,
                      uint8_t *state);

static inline void nat_flow_prefetch(const struct nat *nat, uint32_t session)
{
    __builtin_prefetch(&nat->sessions[session], 1);
}

/* Counts a packet. False: the session is another one, or in another state. Its time is not noted: a flow's
 * first packet in each second goes by conntrack_touch. */
static inline bool nat_flow_count(const struct nat *nat, uint32_t id, uint32_t generation, uint8_t state,
                                  bool outbound)
{
    struct session *session = &nat->sessions[id];
    if (__builtin_expect(__atomic_load_n(&session->generation, __ATOMIC_ACQUIRE) != generation ||
                             __atomic_load_n(&session->state, __ATOMIC_RELAXED) != state,
                         0))
        return false;
    session_count_packet(session, outbound);
    return true;
}
