/* SPDX-License-Identifier: BSD-3-Clause */
#include "nat_flows.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "nat_port.h"

#define IP         14u /* offsets in the frame, bytes */
#define UDP        34u
#define PAYLOAD    42u
#define FIRST_PORT 1024u
#define FAR_PORT   9u
#define MAGIC      0x776e6174u

struct payload {
    uint32_t magic, flow;
} __attribute__((packed));

/* Of 16-bit words as they lie in memory (RFC 1071). */
static uint32_t sum_words(const uint8_t *bytes, unsigned size)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i + 1 < size; i += 2) {
        uint16_t word;
        memcpy(&word, bytes + i, 2);
        sum += word;
    }
    return sum;
}

static uint16_t fold(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* Sum of the pseudo-header, the UDP header and what follows. */
static uint32_t udp_sum(const uint8_t *frame)
{
    return sum_words(frame + IP + 12, 8) + htons(17) + htons(NAT_PORT_FRAME - UDP) +
           sum_words(frame + UDP, NAT_PORT_FRAME - UDP);
}

void nat_flows_build(uint8_t *frame, bool answer)
{
    uint16_t words[3] = {htons(0x0800), htons(NAT_PORT_FRAME - IP), htons(NAT_PORT_FRAME - UDP)};
    struct payload payload = {.magic = MAGIC};
    memset(frame, 0, NAT_PORT_FRAME);
    memcpy(frame, answer ? NAT_OUTSIDE_MAC : NAT_INSIDE_MAC, 6);
    memcpy(frame + 6, answer ? NAT_FAR_MAC : NAT_GUEST_MAC, 6);
    memcpy(frame + 12, &words[0], 2);
    frame[IP] = 0x45;
    memcpy(frame + IP + 2, &words[1], 2);
    frame[IP + 8] = 64;
    frame[IP + 9] = 17;
    memcpy(frame + UDP + 4, &words[2], 2);
    memcpy(frame + PAYLOAD, &payload, sizeof(payload));
}

void nat_flows_write(uint8_t *frame, const struct nat_tuple *tuple, uint32_t flow)
{
    memcpy(frame + IP + 10, &tuple->ip_sum, 2);
    memcpy(frame + IP + 12, tuple->addresses, 8);
    memcpy(frame + UDP, tuple->ports, 4);
    memcpy(frame + UDP + 6, &tuple->udp_sum, 2);
    memcpy(frame + PAYLOAD + 4, &flow, 4);
}

/* Checksums for the addresses and ports that the tuple has. */
static void finish(struct nat_tuple *tuple, uint32_t flow, bool answer)
{
    uint8_t frame[NAT_PORT_FRAME];
    tuple->ip_sum = tuple->udp_sum = 0;
    nat_flows_build(frame, answer);
    nat_flows_write(frame, tuple, flow);
    tuple->ip_sum = (uint16_t)~fold(sum_words(frame + IP, 20));
    tuple->udp_sum = (uint16_t)~fold(udp_sum(frame));
    if (tuple->udp_sum == 0) /* RFC 768: 0 is none */
        tuple->udp_sum = 0xffff;
}

int nat_flows_new(struct nat_flows *flows, uint32_t count)
{
    *flows = (struct nat_flows){.count = count};
    if (count == 0 || count > NAT_FLOWS_MAX)
        return -EINVAL;
    flows->out = calloc(count, sizeof(*flows->out));
    flows->back = calloc(count, sizeof(*flows->back));
    if (!flows->out || !flows->back)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        struct nat_tuple *tuple = &flows->out[i];
        tuple->addresses[0] = htonl(NAT_GUEST_FIRST + i % NAT_GUESTS);
        tuple->addresses[1] = htonl(NAT_FAR_FIRST + i % NAT_GUESTS);
        tuple->ports[0] = htons((uint16_t)(FIRST_PORT + i / NAT_GUESTS));
        tuple->ports[1] = htons(FAR_PORT);
        finish(tuple, i, false);
    }
    return 0;
}

void nat_flows_free(struct nat_flows *flows)
{
    free(flows->out);
    free(flows->back);
}

/* Whether it is one of ours, whole, with right checksums, after one hop. */
static enum nat_verdict look(const struct nat_flows *flows, const uint8_t *frame, uint32_t size,
                             const uint8_t *mac, uint32_t *flow)
{
    struct payload payload;
    if (size < NAT_PORT_FRAME)
        return NAT_FRAME_FOREIGN;
    memcpy(&payload, frame + PAYLOAD, sizeof(payload));
    if (payload.magic != MAGIC || payload.flow >= flows->count)
        return NAT_FRAME_FOREIGN;
    *flow = payload.flow;
    return memcmp(frame, mac, 6) == 0 && frame[IP + 8] == 63 && fold(sum_words(frame + IP, 20)) == 0xffff &&
                   fold(udp_sum(frame)) == 0xffff
               ? NAT_FRAME_RIGHT
               : NAT_FRAME_WRONG;
}

enum nat_verdict nat_flows_at_far(struct nat_flows *flows, const uint8_t *frame, uint32_t size)
{
    struct nat_tuple seen;
    uint32_t flow;
    enum nat_verdict verdict = look(flows, frame, size, (const uint8_t *)NAT_FAR_MAC, &flow);
    if (verdict != NAT_FRAME_RIGHT)
        return verdict;
    memcpy(seen.addresses, frame + IP + 12, 8);
    memcpy(seen.ports, frame + UDP, 4);
    struct nat_tuple *out = &flows->out[flow], *back = &flows->back[flow];
    if (seen.addresses[1] != out->addresses[1] || seen.ports[1] != out->ports[1] ||
        (ntohl(seen.addresses[0]) & 0xffffff00) != 0xc0000200)
        return NAT_FRAME_WRONG;
    if (back->addresses[1] == 0) {
        *back = (struct nat_tuple){.addresses = {seen.addresses[1], seen.addresses[0]},
                                   .ports = {seen.ports[1], seen.ports[0]}};
        finish(back, flow, true);
        flows->known++;
    }
    return back->addresses[1] == seen.addresses[0] && back->ports[1] == seen.ports[0] ? NAT_FRAME_RIGHT
                                                                                      : NAT_FRAME_WRONG;
}

enum nat_verdict nat_flows_at_guest(const struct nat_flows *flows, const uint8_t *frame, uint32_t size)
{
    uint32_t flow, addresses[2];
    uint16_t ports[2];
    enum nat_verdict verdict = look(flows, frame, size, (const uint8_t *)NAT_GUEST_MAC, &flow);
    if (verdict != NAT_FRAME_RIGHT)
        return verdict;
    memcpy(addresses, frame + IP + 12, 8);
    memcpy(ports, frame + UDP, 4);
    const struct nat_tuple *out = &flows->out[flow];
    return addresses[0] == out->addresses[1] && addresses[1] == out->addresses[0] &&
                   ports[0] == out->ports[1] && ports[1] == out->ports[0]
               ? NAT_FRAME_RIGHT
               : NAT_FRAME_WRONG;
}
