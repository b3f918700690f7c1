/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "switch_fixture.h"

#define TAG(vid)        (0x81000000u | (vid))
#define TAG_P(vid, pcp) (0x81000000u | (uint32_t)(pcp) << 13 | (vid))
#define STAG(vid)       (0x88a80000u | (vid))
#define DEI             0x1000u

/*   access (1) --- red (10) --- trunk (2): native red, 100 blue, 200 green --- trunk2 (3): 100 red, 300 blue
 *   access2 (4) -- blue (11) ---/                                            (5): access of green
 */
struct vlans {
    struct fixture *fixture;
    struct ingress *access, *trunk, *trunk2, *access2, *access3;
};

static int setup(void **state)
{
    struct vlans *t = test_calloc(1, sizeof(*t));
    t->fixture = fixture_new(1000);
    struct bridge *red = fixture_bridge(t->fixture, 10, 1), *blue = fixture_bridge(t->fixture, 11, 1),
                  *green = fixture_bridge(t->fixture, 12, 1);
    t->access = fixture_port(t->fixture, 1, 1, 0);
    t->trunk = fixture_port(t->fixture, 2, 0, 0);
    t->trunk2 = fixture_port(t->fixture, 3, 0, 0);
    t->access2 = fixture_port(t->fixture, 4, 1, 0);
    t->access3 = fixture_port(t->fixture, 5, 1, 0);
    fixture_member(red, t->access, 0);
    fixture_member(red, t->trunk, 0);
    fixture_member(red, t->trunk2, 100);
    fixture_member(blue, t->trunk, 100);
    fixture_member(blue, t->trunk2, 300);
    fixture_member(blue, t->access2, 0);
    fixture_member(green, t->trunk, 200);
    fixture_member(green, t->access3, 0);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct vlans *t = *state;
    bool consistent = fixture_consistent(t->fixture);
    fixture_free(t->fixture);
    test_free(t);
    return consistent ? 0 : -1;
}

static void send_tagged(struct vlans *t, struct ingress *from, uint8_t to, uint8_t source,
                        const uint32_t *tags, unsigned count)
{
    uint8_t bytes[128];
    fixture_send(t->fixture, from, bytes, fixture_frame(bytes, to, source, tags, count));
}

/* The last frame that left by the port is what a frame with these tags looks like. */
static void expect_frame(const struct ingress *port, uint8_t to, uint8_t source, const uint32_t *tags,
                         unsigned count)
{
    const struct fake_port *fake = fake_of(port);
    uint8_t bytes[128];
    uint32_t size = fixture_frame(bytes, to, source, tags, count);
    assert_true(fake->sent > 0);
    const struct fake_frame *frame = &fake->frames[fake->sent - 1];
    assert_int_equal(frame->size, size);
    assert_memory_equal(frame->bytes, bytes, size);
}

static void expect_sent(const struct vlans *t, unsigned access, unsigned trunk, unsigned trunk2,
                        unsigned access2, unsigned access3)
{
    assert_int_equal(fake_of(t->access)->sent, access);
    assert_int_equal(fake_of(t->trunk)->sent, trunk);
    assert_int_equal(fake_of(t->trunk2)->sent, trunk2);
    assert_int_equal(fake_of(t->access2)->sent, access2);
    assert_int_equal(fake_of(t->access3)->sent, access3);
}

static void access_refuses_tags(void **state)
{
    struct vlans *t = *state;
    const uint32_t tags[][2] = {{TAG(100)}, {STAG(100)}, {TAG(4095)}, {TAG(0), TAG(100)}, {STAG(0), TAG(0)}};
    const unsigned counts[] = {1, 1, 1, 2, 2};
    for (unsigned i = 0; i < 5; i++)
        send_tagged(t, t->access, 0xff, 0xa, tags[i], counts[i]);
    expect_sent(t, 0, 0, 0, 0, 0);
    assert_int_equal(rx_drops(t->access, DP_DROP_VLAN_TAG), 5);
}

static void access_takes_priority_tag_off(void **state)
{
    struct vlans *t = *state;
    const uint32_t tags[] = {TAG_P(0, 5) | DEI};
    send_tagged(t, t->access, 0xff, 0xa, tags, 1);
    expect_sent(t, 0, 1, 1, 0, 0);
    expect_frame(t->trunk, 0xff, 0xa, NULL, 0);
    const uint32_t kept[] = {TAG_P(100, 5) | DEI};
    expect_frame(t->trunk2, 0xff, 0xa, kept, 1);
}

static void untagged_gets_the_tag_of_the_output(void **state)
{
    struct vlans *t = *state;
    send_tagged(t, t->access2, 0xff, 0xa, NULL, 0);
    const uint32_t at_trunk[] = {TAG(100)}, at_trunk2[] = {TAG(300)};
    expect_sent(t, 0, 1, 1, 0, 0);
    expect_frame(t->trunk, 0xff, 0xa, at_trunk, 1);
    expect_frame(t->trunk2, 0xff, 0xa, at_trunk2, 1);
}

static void tag_is_rewritten_between_trunks(void **state)
{
    struct vlans *t = *state;
    const uint32_t in[] = {0x88a80000u | 3u << 13 | DEI | 100, TAG(7)};
    const uint32_t out[] = {0x88a80000u | 3u << 13 | DEI | 300, TAG(7)}, inner[] = {TAG(7)};
    send_tagged(t, t->trunk, 0xff, 0xa, in, 2);
    expect_sent(t, 0, 0, 1, 1, 0);
    expect_frame(t->trunk2, 0xff, 0xa, out, 2);
    expect_frame(t->access2, 0xff, 0xa, inner, 1); /* QinQ: the inner tag is the customer's */
}

static void tag_comes_off_at_access(void **state)
{
    struct vlans *t = *state;
    const uint32_t in[] = {TAG_P(200, 2)};
    send_tagged(t, t->trunk, 0xff, 0xa, in, 1);
    expect_sent(t, 0, 0, 0, 0, 1);
    expect_frame(t->access3, 0xff, 0xa, NULL, 0);
}

static void trunk_refuses_unlisted(void **state)
{
    struct vlans *t = *state;
    const uint32_t unknown[] = {TAG(101)}, reserved[] = {TAG(4095)};
    send_tagged(t, t->trunk, 0xff, 0xa, unknown, 1);
    send_tagged(t, t->trunk, 0xff, 0xa, reserved, 1);
    send_tagged(t, t->trunk2, 0xff, 0xa, NULL, 0); /* no native segment */
    const uint32_t priority[] = {TAG(0)};
    send_tagged(t, t->trunk2, 0xff, 0xa, priority, 1);
    expect_sent(t, 0, 0, 0, 0, 0);
    assert_int_equal(rx_drops(t->trunk, DP_DROP_VLAN_UNKNOWN), 2);
    assert_int_equal(rx_drops(t->trunk2, DP_DROP_VLAN_UNKNOWN), 2);
}

/* From a trunk with tag 100 and an inner 200, a frame that left untagged by the native VLAN would be in 200
 * at the next switch. */
static void no_hopping_over_the_native_vlan(void **state)
{
    struct vlans *t = *state;
    const uint32_t in[] = {TAG(100), TAG(200)};
    send_tagged(t, t->trunk2, 0xff, 0xa, in, 2);
    expect_sent(t, 1, 0, 0, 0, 0);
    assert_int_equal(tx_drops(t->trunk, DP_DROP_VLAN_TAG), 1);
    send_tagged(t, t->trunk, 0xff, 0xb, NULL, 0); /* known now: unicast is refused as well */
    send_tagged(t, t->trunk2, 0xb, 0xa, in, 2);
    assert_int_equal(fake_of(t->trunk)->sent, 0);
    assert_int_equal(tx_drops(t->trunk, DP_DROP_VLAN_TAG), 2);
}

static void known_address_is_reached_by_its_tag(void **state)
{
    struct vlans *t = *state;
    const uint32_t in[] = {TAG(300)}, out[] = {TAG(300)}, back[] = {TAG(100)};
    send_tagged(t, t->trunk2, 0xff, 0xb, in, 1);
    fixture_clear(t->fixture);
    send_tagged(t, t->access2, 0xb, 0xc, NULL, 0);
    expect_sent(t, 0, 0, 1, 0, 0);
    expect_frame(t->trunk2, 0xb, 0xc, out, 1);
    send_tagged(t, t->trunk, 0xb, 0xd, back, 1);
    expect_sent(t, 0, 0, 2, 0, 0);
    expect_frame(t->trunk2, 0xb, 0xd, out, 1);
}

/* Flooded to: untagged, tagged, untagged: the same header edited back and forth. */
static void header_survives_edits(void **state)
{
    struct vlans *t = *state;
    struct bridge *blue = t->fixture->snapshot->bridges[11];
    struct ingress *more = fixture_port(t->fixture, 6, 0, 0), *last = fixture_port(t->fixture, 7, 1, 0);
    fixture_member(blue, more, 77);
    fixture_member(blue, last, 0);
    const uint32_t in[] = {TAG_P(100, 7)}, at_more[] = {TAG_P(77, 7)}, at_trunk2[] = {TAG_P(300, 7)};
    send_tagged(t, t->trunk, 0xff, 0xa, in, 1);
    expect_frame(t->trunk2, 0xff, 0xa, at_trunk2, 1);
    expect_frame(t->access2, 0xff, 0xa, NULL, 0);
    expect_frame(more, 0xff, 0xa, at_more, 1);
    expect_frame(last, 0xff, 0xa, NULL, 0);
}

/* Offsets of an offload request are from the start of the frame. */
static void offsets_move_with_the_tag(void **state)
{
    struct vlans *t = *state;
    uint8_t bytes[128];
    struct packet packet = {.buffer = bytes, .data = bytes + 64, .size = 60, .header_size = 60};
    struct vlan_state vlan = {.tpid = ETHERTYPE_VLAN};
    fixture_frame(packet.data, 1, 2, NULL, 0);
    packet.flags = VNET_F_NEEDS_CSUM;
    packet.gso_type = VNET_GSO_TCPV4;
    packet.csum_start = 34;
    packet.hdr_len = 54;
    assert_true(vlan_egress(&packet, &vlan, 5, true));
    assert_int_equal(packet.csum_start, 38);
    assert_int_equal(packet.hdr_len, 58);
    assert_int_equal(packet.size, 64);
    assert_true(vlan_egress(&packet, &vlan, 0, true));
    assert_int_equal(packet.csum_start, 34);
    assert_int_equal(packet.hdr_len, 54);
    assert_int_equal(packet.header_size, 60);
    assert_ptr_equal(packet.data, bytes + 64);
    assert_non_null(t);
}

static void five_tags_are_malformed(void **state)
{
    struct vlans *t = *state;
    const uint32_t tags[] = {TAG(100), TAG(1), TAG(2), TAG(3), TAG(4)};
    send_tagged(t, t->trunk, 0xff, 0xa, tags, 5);
    assert_int_equal(rx_drops(t->trunk, DP_DROP_RX_MALFORMED), 1);
    send_tagged(t, t->trunk, 0xff, 0xa, tags, 4);
    assert_int_equal(rx_flooded(t->trunk), 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(access_refuses_tags),
        T(access_takes_priority_tag_off),
        T(untagged_gets_the_tag_of_the_output),
        T(tag_is_rewritten_between_trunks),
        T(tag_comes_off_at_access),
        T(trunk_refuses_unlisted),
        T(no_hopping_over_the_native_vlan),
        T(known_address_is_reached_by_its_tag),
        T(header_survives_edits),
        T(offsets_move_with_the_tag),
        T(five_tags_are_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
