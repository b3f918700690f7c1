/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TCP's part of connection tracking: which phase a segment leads to, and how long each phase may be idle.
 *
 * Theory of operation. Flags decide, not sequence numbers: a translator that follows windows breaks
 * connections whose segments take other ways, and the ends check them anyway.
 *
 *   NEW          the opener's SYN. The other end's SYN (with ACK or, in a simultaneous open, without) leads
 *                to SYN_BOTH, the next segment with neither SYN nor RST to ESTABLISHED.
 *   FIN_OUT/IN   one end has closed; CLOSED when both have. Data may go on for as long as it comes.
 *   RESET        a RST was seen in an established session. It may have been a forged one: the session stays
 *                for the transitory timeout, and a segment that is no RST puts it back (RFC 7857, 2.2 on
 *                RFC 5382). A RST before that point (a refused connection) leads to CLOSED.
 *   CLOSED       a new SYN from the end that may open the session starts it over (RFC 9293, 3.6.1).
 *
 * Idle times (RFC 5382 REQ-5): established 2 h 4 min; everything else, "transitory", 4 min. UDP: 5 min, and
 * 2 min without an answer (RFC 4787 REQ-5). ICMP queries: 60 s (RFC 5508 REQ-2). Other protocols (1:1
 * addresses): 10 min.
 */
#include "conntrack.h"
#include "parse.h"

#define TCP_ESTABLISHED_S 7440u
#define TCP_TRANSITORY_S  240u
#define UDP_S             300u
#define UDP_UNANSWERED_S  120u
#define ICMP_S            60u
#define OTHER_S           600u

static uint8_t phase_of_fin(uint8_t phase, bool outbound)
{
    switch (phase) {
    case PHASE_SYN_BOTH:
    case PHASE_ESTABLISHED:
    case PHASE_RESET:
        return outbound ? PHASE_FIN_OUT : PHASE_FIN_IN;
    case PHASE_FIN_OUT:
        return outbound ? phase : PHASE_CLOSED;
    case PHASE_FIN_IN:
        return outbound ? PHASE_CLOSED : phase;
    default:
        return phase;
    }
}

static uint8_t phase_of_rst(uint8_t phase)
{
    if (phase == PHASE_ESTABLISHED || phase == PHASE_FIN_OUT || phase == PHASE_FIN_IN)
        return PHASE_RESET;
    return phase == PHASE_RESET ? phase : PHASE_CLOSED;
}

uint8_t tcp_next(uint8_t state, bool outbound, uint8_t flags)
{
    uint8_t phase = state & SESSION_PHASE, next = phase;
    bool opener = outbound == !(state & SESSION_INBOUND);

    if (flags & TCP_RST)
        next = phase_of_rst(phase);
    else if (flags & TCP_SYN) {
        if (phase == PHASE_NEW && !opener)
            next = PHASE_SYN_BOTH;
        else if (phase == PHASE_CLOSED && tcp_opens(flags) && (opener || outbound))
            return PHASE_NEW | (outbound ? 0 : SESSION_INBOUND) |
                   (state & (SESSION_MAPPED | SESSION_HALF_OPEN));
    } else if (flags & TCP_FIN)
        next = phase_of_fin(phase, outbound);
    else if (flags & TCP_ACK && (phase == PHASE_SYN_BOTH || phase == PHASE_RESET))
        next = PHASE_ESTABLISHED;
    return (state & (uint8_t)~SESSION_PHASE) | next;
}

uint32_t session_timeout(uint8_t protocol, uint8_t state)
{
    uint8_t phase = state & SESSION_PHASE;
    switch (protocol) {
    case IP_PROTO_TCP:
        return phase == PHASE_ESTABLISHED ? TCP_ESTABLISHED_S : TCP_TRANSITORY_S;
    case IP_PROTO_UDP:
        return phase == PHASE_NEW ? UDP_UNANSWERED_S : UDP_S;
    case IP_PROTO_ICMP:
    case IP_PROTO_ICMPV6:
        return ICMP_S;
    default:
        return OTHER_S;
    }
}
