/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arbitrary packets into a configured router: two tenants with the same addresses, both families, fragments,
 * options, offload requests, answers that nobody asked for, address translation behind it. Afterwards every
 * port's counters must add up, nothing may wait for ever, and what left must be whole.
 *
 * Input: one byte of interface flags (its high bit: a second uplink too), then packets: who sends (1 byte;
 * its high bit: time passes first; bits 2 and 3: how often it is sent again, as packets of a flow that the
 * flow cache knows), offload request (flags, gso_type, gso_size: 1 + 1 + 2), payload to append
 * (2), size (2), the frame's bytes.
 */
#include "check.h"
#include "nat.h"
#include "router_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RECORD_SIZE 9u

static struct flat flat;

/* Every frame that left is an IP packet as long as it says, with a right header checksum, or none. */
static void check_sent(const struct ingress *port)
{
    const struct fake_port *fake = fake_of(port);
    for (unsigned i = 0; i < fake->sent && i < FAKE_FRAMES; i++) {
        const struct fake_frame *frame = &fake->frames[i];
        bool routed = frame->size >= 34 && frame->bytes[6] == 2 && frame->bytes[11] >= 0xf1;
        if (!routed || get16(frame->bytes + 12) != 0x0800)
            continue;
        CHECK(ipv4_sum_right(frame->bytes));
        CHECK(get16(frame->bytes + 16) + 14 == frame->size);
        CHECK(frame->gso_type || frame->size <= 1514);
        CHECK(frame->bytes[22] > 0);
    }
}

static struct packet *receive(struct lab *lab, struct cut *cut)
{
    struct packet_vector *vector = lab->fixture->vector;
    struct packet *packet = &vector->packets[vector->count++];
    uint8_t *buffer = packet->buffer;
    *packet = cut->packet;
    packet->buffer = buffer;
    packet->data = buffer + PACKET_HEADROOM;
    memcpy(packet->data, cut->packet.data, packet->header_size);
    return packet;
}

static void send_record(struct lab *lab, const uint8_t *record, struct ingress *from)
{
    struct cut *cut = cut_frame(flat.bytes, flat.size, PACKET_HEADER_MAX, 1u + get16(record + 4));
    struct packet *packet = receive(lab, cut);
    packet->flags = record[1];
    packet->gso_type = record[2];
    packet->gso_size = (uint16_t)get16(record + 3);
    if (packet->flags) { /* where a checksum may be wanted */
        packet->csum_start = flat.size > 20 && get16(flat.bytes + 12) == 0x86dd ? 54 : 34;
        packet->csum_offset = packet->gso_type || (flat.size > 23 && flat.bytes[23] == 6) ? 16 : 6;
    }
    fixture_run(lab->fixture, from);
    cut_free(cut);
}

/* The session table is megabytes of zeroed memory: one serves all inputs, emptied after each. */
static struct nat *nat;
static uint64_t now_ms = 1000000;

static void free_nat(void)
{
    nat_free(nat);
}

static void take_nat(struct lab *lab)
{
    if (!nat)
        atexit(free_nat);
    lab->nat = nat;
    lab->now_ms = now_ms;
    lab->fixture->program->now_s = (uint32_t)(now_ms / 1000);
}

static void give_nat_back(struct lab *lab)
{
    struct objects *none = objects_new();
    struct nat_config *empty = nat_config_new(lab->nat, none);
    CHECK(none && empty);
    nat_config_changed(lab->nat, empty);
    struct nat_context context = {.nat = lab->nat, .config = empty, .now_s = (uint32_t)(lab->now_ms / 1000)};
    nat_tick(&context);
    nat_maintain(lab->nat, context.now_s);
    nat_config_free(empty);
    objects_free(none);
    nat = lab->nat;
    now_ms = lab->now_ms + 20000; /* fragments that wait are gone too */
    lab->nat = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 + RECORD_SIZE)
        return 0;
    struct lab *lab = lab_new(data[0] & 31, data[0] >> 5, 1400);
    if (data[0] & 1)
        lab_neighbours(lab);
    take_nat(lab);
    lab_outside(lab, 0, data[0] >> 1 & 1, 1300);
    if (data[0] & 0x80)
        lab_second_outside(lab, 1280);
    struct ingress *ports[] = {lab->guest_1, lab->guest_2, lab->guest_3, lab->peer};
    for (size_t at = 1; size - at >= RECORD_SIZE;) {
        const uint8_t *record = data + at;
        size_t left = size - at - RECORD_SIZE, frame = get16(record + 7);
        frame = frame < left ? frame : left;
        flat.size = 0;
        put(&flat, record + RECORD_SIZE, (uint32_t)frame);
        at += RECORD_SIZE + frame;
        uint32_t extra = get16(record + 5);
        put_payload(&flat, extra < PACKET_SIZE_MAX - flat.size ? extra : 0);
        if (record[0] & 0x80)
            lab_wait(lab, 1000);
        for (unsigned times = 0; flat.size >= PACKET_SIZE_MIN && times <= (record[0] >> 2 & 3u); times++)
            send_record(lab, record, ports[record[0] & 3]);
        lab_control(lab);
        for (unsigned i = 0; i < 4; i++)
            check_sent(ports[i]);
        if (lab->peer_2)
            check_sent(lab->peer_2);
        fixture_clear(lab->fixture);
    }
    lab_wait(lab, 8000);
    CHECK(neighbours_held() == 0);
    CHECK(fixture_consistent(lab->fixture));
    give_nat_back(lab);
    lab_free(lab);
    return 0;
}
