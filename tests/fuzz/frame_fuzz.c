/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arbitrary frames with arbitrary offload requests through the parser, the anti-spoofing check, offload
 * validation, the checksum and the segmenter. What they say is compared with a second parser and with sums
 * done byte by byte.
 *
 * Input: 16 bytes (offload request, how the frame is cut, what the egress takes, payload to append), then the
 * frame.
 */
#include "check.h"
#include "frame.h"
#include "offload.h"
#include "spoof.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CONTROL_SIZE 16u

static struct flat flat, out;
static struct segmenter *segmenter;
static struct spoof_table *table;
static const uint8_t allowed_mac[6] = {0x52, 0x54, 0, 1, 2, 3}, allowed_ipv4[4] = {10, 0, 0, 1};
static const uint8_t allowed_ipv6[16] = {0xfd, [15] = 1};

/* A second reading of the frame, by recursion over its bytes. -1: the parser must refuse it. */
static int find_l3(const uint8_t *bytes, uint32_t left, unsigned tags, struct frame_info *info)
{
    if (left < 2)
        return -1;
    unsigned type = get16(bytes);
    if (type == 0x8100 || type == 0x88a8) {
        if (tags == 4 || left < 6)
            return -1;
        if (tags == 0) {
            info->tpid = (uint16_t)type;
            info->tci = (uint16_t)get16(bytes + 2);
        }
        info->tag_count++;
        int inner = find_l3(bytes + 4, left - 4, tags + 1, info);
        return inner < 0 ? -1 : inner + 4;
    }
    info->ethertype = (uint16_t)type;
    if (type >= 0x600 || left < 10)
        return 2;
    if (memcmp(bytes + 2, "\xaa\xaa\x03\0\0", 5) != 0 || (bytes[7] != 0 && bytes[7] != 0xf8))
        return 2;
    unsigned snap = get16(bytes + 8);
    if (snap == 0x8100 || snap == 0x88a8)
        return -1;
    if (snap < 0x600)
        return 2;
    info->ethertype = (uint16_t)snap;
    return 10;
}

static bool parse_checked(const struct packet *packet, struct frame_info *info, bool *l3)
{
    struct frame_info second = {0};
    int at =
        packet->header_size < 14 ? -1 : find_l3(packet->data + 12, packet->header_size - 12u, 0, &second);
    memset(info, 0x5a, sizeof(*info));
    bool good = parse_l2(packet, info);
    CHECK(good == (at >= 0));
    if (!good)
        return false;
    CHECK(info->l3_offset == 12 + at && info->l3_offset <= packet->header_size);
    CHECK(info->ethertype == second.ethertype && info->tpid == second.tpid && info->tci == second.tci);
    CHECK(info->tag_count == second.tag_count);
    *l3 = parse_l3(packet, info);
    if (!*l3)
        return true;
    CHECK(!(info->flags & FRAME_F_IPV4) || info->ethertype == 0x0800);
    CHECK(!(info->flags & FRAME_F_IPV6) || info->ethertype == 0x86dd);
    if (!(info->flags & (FRAME_F_IPV4 | FRAME_F_IPV6)))
        return true;
    const uint8_t *ip = packet->data + info->l3_offset;
    uint32_t total = info->flags & FRAME_F_IPV4 ? get16(ip + 2) : get16(ip + 4) + 40;
    CHECK(info->l3_end == info->l3_offset + total && info->l3_end <= packet->size);
    CHECK(info->l4_offset >= info->l3_offset + 20 && info->l4_offset <= info->l3_end);
    CHECK(info->l4_offset <= packet->header_size);
    if (info->flags & FRAME_F_L4) {
        CHECK(!(info->flags & FRAME_F_FRAGMENT_LATER));
        CHECK((uint32_t)info->l4_offset + info->l4_header_size <= packet->header_size);
        CHECK((uint32_t)info->l4_offset + info->l4_header_size <= info->l3_end);
        CHECK(info->l4_header_size >= 8);
    }
    return true;
}

/* What passes bears a source that the table lists, or one of the named exceptions. */
static void check_spoof(const struct packet *packet, const struct frame_info *l2)
{
    struct frame_info info = *l2;
    if (spoof_check(table, packet, &info) != DP_DROP_COUNT)
        return;
    const uint8_t *l3 = packet->data + info.l3_offset;
    CHECK(memcmp(packet->data + 6, allowed_mac, 6) == 0);
    if (info.ethertype == 0x0806) {
        CHECK(memcmp(l3 + 8, allowed_mac, 6) == 0);
        CHECK(memcmp(l3 + 14, allowed_ipv4, 4) == 0 || memcmp(l3 + 14, "\0\0\0\0", 4) == 0);
    } else if (info.ethertype == 0x0800) {
        CHECK(memcmp(l3 + 12, allowed_ipv4, 4) == 0 || memcmp(l3 + 12, "\0\0\0\0\xff\xff\xff\xff", 8) == 0);
    } else if (info.ethertype == 0x86dd) {
        static const uint8_t none[16], local[16] = {0xfe, 0x80, [8] = 0x50, 0x54, 0, 0xff, 0xfe, 1, 2, 3};
        CHECK(memcmp(l3 + 8, allowed_ipv6, 16) == 0 || memcmp(l3 + 8, local, 16) == 0 ||
              (memcmp(l3 + 8, none, 16) == 0 && info.ip_proto == 58));
    }
}

static void check_checksum(struct packet *packet)
{
    uint32_t start = packet->csum_start, field = start + packet->csum_offset;
    bool udp = packet->csum_offset == 6;
    flatten(packet, &flat);
    unsigned expected = 0xffff - slow_sum(flat.bytes + start, flat.size - start, 0);
    if (udp && expected == 0)
        expected = 0xffff;
    CHECK(checksum_complete(packet));
    flatten(packet, &out);
    CHECK(get16(out.bytes + field) == expected);
    set16(out.bytes + field, get16(flat.bytes + field));
    CHECK(out.size == flat.size && memcmp(out.bytes, flat.bytes, out.size) == 0);
    CHECK(!(packet->flags & VNET_F_NEEDS_CSUM));
}

static void check_piece(const struct packet *piece, const struct packet *packet,
                        const struct frame_info *info, uint32_t at, uint32_t sequence)
{
    struct frame_info own;
    uint32_t payload = piece->size - packet->hdr_len, index = at / packet->gso_size;
    CHECK(piece->size > packet->hdr_len && payload <= packet->gso_size);
    CHECK(payload == packet->gso_size || packet->hdr_len + at + payload == packet->size);
    CHECK(parse_l2(piece, &own) && parse_l3(piece, &own));
    CHECK(own.flags == info->flags && own.l4_offset == info->l4_offset && own.l3_end == piece->size);
    flatten(piece, &out);
    CHECK(memcmp(out.bytes + packet->hdr_len, flat.bytes + packet->hdr_len + at, payload) == 0);
    const uint8_t *tcp = out.bytes + own.l4_offset, *ip = out.bytes + own.l3_offset;
    CHECK((get16(tcp + 4) << 16 | get16(tcp + 6)) == sequence + at);
    if (own.flags & FRAME_F_IPV4) {
        CHECK(slow_sum(ip, (uint32_t)own.l4_offset - own.l3_offset, 0) == 0xffff);
        CHECK(get16(ip + 4) == ((get16(flat.bytes + own.l3_offset + 4) + index) & 0xffff));
    }
}

static void check_segments(const struct packet *packet, const struct frame_info *info, uint32_t offloads,
                           unsigned batch)
{
    struct packet *pieces[PACKET_VECTOR_MAX];
    uint32_t at = 0;
    unsigned count;
    flatten(packet, &flat);
    const uint8_t *tcp = flat.bytes + info->l4_offset;
    uint32_t sequence = get16(tcp + 4) << 16 | get16(tcp + 6);
    segmenter_start(segmenter, packet, offloads);
    while ((count = segmenter_next(segmenter, pieces, batch)) > 0) {
        CHECK(count <= batch);
        for (unsigned i = 0; i < count; i++) {
            CHECK(!(pieces[i]->flags & VNET_F_NEEDS_CSUM) == !(offloads & OFFLOAD_CSUM));
            check_piece(pieces[i], packet, info, at, sequence);
            at += pieces[i]->size - packet->hdr_len;
        }
    }
    CHECK(packet->hdr_len + at == packet->size);
}

static void check_offload(struct packet *packet, struct frame_info *info, uint32_t offloads, unsigned batch)
{
    if (!offload_validate(packet, info))
        return;
    struct packet first = *packet;
    struct frame_info again = *info;
    /* both are copies of one packet, padding included */
    /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison) */
    CHECK(offload_validate(packet, &again) && memcmp(&first, packet, sizeof(first)) == 0);
    CHECK(!(packet->flags & ~VNET_F_NEEDS_CSUM));
    if (!(packet->flags & VNET_F_NEEDS_CSUM)) {
        CHECK(packet->gso_type == VNET_GSO_NONE);
        return;
    }
    CHECK(packet->hdr_len <= packet->header_size && packet->csum_start == info->l4_offset);
    if (packet->gso_type != VNET_GSO_NONE) {
        CHECK(packet->gso_size >= 8 && packet->size - packet->hdr_len > packet->gso_size);
        check_segments(packet, info, offloads, batch);
    }
    check_checksum(packet);
}

static void set_up(void)
{
    struct dp_allowed entries[3] = {{.port = 1, .type = DP_ALLOWED_MAC},
                                    {.port = 1, .type = DP_ALLOWED_IPV4},
                                    {.port = 1, .type = DP_ALLOWED_IPV6}};
    memcpy(entries[0].address, allowed_mac, sizeof(allowed_mac));
    memcpy(entries[1].address, allowed_ipv4, sizeof(allowed_ipv4));
    memcpy(entries[2].address, allowed_ipv6, sizeof(allowed_ipv6));
    table = spoof_table_new(DP_PORT_F_SPOOF_MAC | DP_PORT_F_SPOOF_IP, entries, 3);
    segmenter = segmenter_new();
    CHECK(table && segmenter);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!segmenter)
        set_up();
    if (size < CONTROL_SIZE + PACKET_SIZE_MIN)
        return 0;
    const uint8_t *control = data;
    flat.size = 0;
    uint32_t frame = (uint32_t)(size - CONTROL_SIZE < 60000 ? size - CONTROL_SIZE : 60000);
    put(&flat, data + CONTROL_SIZE, frame);
    uint32_t extra = get16(control + 12), room = PACKET_SIZE_MAX - flat.size;
    put_payload(&flat, extra < room ? extra : room);

    bool l3;
    struct frame_info info;
    struct cut *cut = cut_frame(flat.bytes, flat.size, PACKET_HEADER_MAX, 1u + get16(control + 10));
    struct packet *packet = &cut->packet;
    packet->flags = control[0];
    packet->gso_type = control[1];
    packet->hdr_len = (uint16_t)get16(control + 2);
    packet->gso_size = (uint16_t)get16(control + 4);
    packet->csum_start = (uint16_t)get16(control + 6);
    packet->csum_offset = (uint16_t)get16(control + 8);
    if (parse_checked(packet, &info, &l3)) {
        check_spoof(packet, &info);
        check_offload(packet, &info, control[14], 1 + control[15] % PACKET_VECTOR_MAX);
    }
    cut_free(cut);
    return 0;
}
