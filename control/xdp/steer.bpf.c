/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who gets a frame that an interface received: the host, the switch, or both. Three programs with one answer:
 *
 *   weft_xdp      on the interface (af_xdp): the switch's frames go to its AF_XDP socket of that receive
 *                 queue, everything else goes on to the host
 *   weft_filter   on the switch's AF_PACKET socket: what the host's kernel sees and the switch wants. With
 *                 weft_xdp in front that is what both want, and what comes while there is no AF_XDP socket
 *   weft_tc       on the interface (af_packet): keeps from the host what is the switch's, though it has the
 *                 host's MAC address: answers to translated connections
 *
 * The rule. Group addresses: both, but the link-local ones (01:80:c2:00:00:0x) are the host's. A MAC address
 * of the host (`hosts`): the host, unless it is for a translated connection (`addresses`, `ports`). Any other
 * unicast address: the switch. So nothing has to be learned, a guest's first frame is answered as its last
 * one, and what the host has besides (macvlan) keeps working, because the controller knows those addresses.
 *
 * Later fragments carry no ports: both get them. Whoever has the first one makes use of them, the other
 * forgets them after a while. An ICMP error belongs to the packet that it carries.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "steer.h"

enum verdict { HOST, SWITCH, BOTH };
enum context { XDP, SKB };

#define VLAN_TAG_SIZE    4
#define IPV4_SIZE        20
#define IPV6_SIZE        40
#define FRAGMENT_SIZE    8
#define IPV6_FRAGMENT    44
#define ICMP6            58
#define ICMP_HEADER_SIZE 8

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, STEER_HOSTS_MAX);
    __type(key, struct steer_mac);
    __type(value, __u8);
} hosts SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, STEER_ADDRESSES_MAX);
    __type(key, struct steer_address);
    __type(value, struct steer_slot);
} addresses SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, STEER_ADDRESSES_MAX *STEER_KINDS);
    __type(key, __u32);
    __type(value, struct steer_bitmap);
} ports SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_XSKMAP);
    __uint(max_entries, STEER_SOCKETS_MAX);
    __type(key, __u32);
    __type(value, __u32);
} sockets SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct steer_about);
} about SEC(".maps");

struct ethernet {
    __u8 destination[6];
    __u8 source[6];
    __be16 type;
} __attribute__((packed));

struct ipv4 {
    __u8 version_ihl;
    __u8 tos;
    __be16 total, id, fragment;
    __u8 ttl, protocol;
    __be16 checksum;
    __u8 source[4], destination[4];
};

struct ipv6 {
    __be32 flow;
    __be16 payload;
    __u8 next, hop_limit;
    __u8 source[16], destination[16];
};

/* Where an IP packet is, and what its transport header is. */
struct place {
    __u32 offset; /* of the transport header */
    __u8 protocol;
    __u8 later; /* a fragment without a transport header */
    struct steer_address source, destination;
};

static __always_inline bool load(void *context, enum context kind, __u32 offset, void *to, __u32 size)
{
    if (kind == XDP)
        return bpf_xdp_load_bytes(context, offset, to, size) == 0;
    return bpf_skb_load_bytes(context, offset, to, size) == 0;
}

static __always_inline void map_ipv4(struct steer_address *address, const __u8 bytes[4])
{
    __builtin_memset(address, 0, 10);
    address->bytes[10] = address->bytes[11] = 0xff;
    __builtin_memcpy(address->bytes + 12, bytes, 4);
}

static __always_inline bool locate_ipv4(void *context, enum context kind, __u32 offset, struct place *place)
{
    struct ipv4 ip;
    if (!load(context, kind, offset, &ip, IPV4_SIZE))
        return false;
    place->offset = offset + (ip.version_ihl & 15) * 4;
    place->protocol = ip.protocol;
    place->later = (ip.fragment & bpf_htons(0x1fff)) != 0;
    map_ipv4(&place->source, ip.source);
    map_ipv4(&place->destination, ip.destination);
    return true;
}

static __always_inline bool locate_ipv6(void *context, enum context kind, __u32 offset, struct place *place)
{
    struct ipv6 ip;
    __u8 fragment[FRAGMENT_SIZE];
    if (!load(context, kind, offset, &ip, IPV6_SIZE))
        return false;
    place->offset = offset + IPV6_SIZE;
    place->protocol = ip.next;
    place->later = 0;
    __builtin_memcpy(place->source.bytes, ip.source, 16);
    __builtin_memcpy(place->destination.bytes, ip.destination, 16);
    if (ip.next == IPV6_FRAGMENT && load(context, kind, place->offset, fragment, FRAGMENT_SIZE)) {
        place->offset += FRAGMENT_SIZE;
        place->protocol = fragment[0];
        place->later = (fragment[2] | (fragment[3] & 0xf8)) != 0;
    }
    return true;
}

static __always_inline bool bit_set(const struct steer_slot *slot, __u32 kind, __be16 number)
{
    __u32 index = slot->slot * STEER_KINDS + kind, port = bpf_ntohs(number);
    const struct steer_bitmap *bitmap = bpf_map_lookup_elem(&ports, &index);
    return bitmap && bitmap->bytes[(port >> 3) & (STEER_BITMAP_SIZE - 1)] >> (port & 7) & 1;
}

/* The port or id on the switch's side of a packet to it (destination), or inside an error from it (source).
 */
static __always_inline bool translated(void *context, enum context kind, const struct place *place,
                                       const struct steer_slot *slot, bool inside)
{
    __be16 words[4];
    if (!load(context, kind, place->offset, words, sizeof(words)))
        return false;
    if (place->protocol == IPPROTO_TCP)
        return bit_set(slot, STEER_TCP, words[inside ? 0 : 1]);
    if (place->protocol == IPPROTO_UDP)
        return bit_set(slot, STEER_UDP, words[inside ? 0 : 1]);
    __u8 type = ((const __u8 *)words)[0];
    bool echo = place->protocol == IPPROTO_ICMP ? type == (inside ? 8 : 0) : type == (inside ? 128 : 129);
    return (place->protocol == IPPROTO_ICMP || place->protocol == ICMP6) && echo &&
           bit_set(slot, STEER_ICMP, words[2]);
}

static __always_inline bool is_error(void *context, enum context kind, const struct place *place)
{
    __u8 type;
    if ((place->protocol != IPPROTO_ICMP && place->protocol != ICMP6) ||
        !load(context, kind, place->offset, &type, 1))
        return false;
    return place->protocol == ICMP6 ? type >= 1 && type <= 4
                                    : type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

/* A packet to one of the host's MAC addresses. */
static __always_inline enum verdict decide_ip(void *context, enum context kind, __u32 offset, bool ipv4)
{
    struct place place, inner;
    if (!(ipv4 ? locate_ipv4(context, kind, offset, &place) : locate_ipv6(context, kind, offset, &place)))
        return HOST;
    const struct steer_slot *slot = bpf_map_lookup_elem(&addresses, &place.destination);
    if (!slot)
        return HOST;
    if (slot->whole)
        return SWITCH;
    if (place.later)
        return BOTH;
    if (!is_error(context, kind, &place))
        return translated(context, kind, &place, slot, false) ? SWITCH : HOST;
    offset = place.offset + ICMP_HEADER_SIZE;
    if (!(ipv4 ? locate_ipv4(context, kind, offset, &inner) : locate_ipv6(context, kind, offset, &inner)))
        return HOST;
    slot = bpf_map_lookup_elem(&addresses, &inner.source);
    if (!slot || inner.later)
        return HOST;
    return translated(context, kind, &inner, slot, true) ? SWITCH : HOST;
}

static __always_inline enum verdict decide_arp(void *context, enum context kind, __u32 offset)
{
    __u8 target[4];
    struct steer_address address;
    if (!load(context, kind, offset + 24, target, sizeof(target)))
        return HOST;
    map_ipv4(&address, target);
    const struct steer_slot *slot = bpf_map_lookup_elem(&addresses, &address);
    return slot && slot->whole ? SWITCH : HOST;
}

static __always_inline enum verdict decide(void *context, enum context kind)
{
    static const __u8 reserved[5] = {0x01, 0x80, 0xc2, 0x00, 0x00};
    struct ethernet header;
    struct steer_mac mac = {};
    __u32 offset = ETH_HLEN;
    if (!load(context, kind, 0, &header, sizeof(header)))
        return HOST;
    if (header.destination[0] & 1) {
        bool local = header.destination[5] < 16;
        for (int i = 0; i < 5; i++)
            local &= header.destination[i] == reserved[i];
        if (!local)
            return BOTH;
        __u32 key = 0;
        bpf_map_lookup_elem(&about, &key); /* a map that no program uses could not be found by one */
        return HOST;
    }
    __builtin_memcpy(mac.bytes, header.destination, sizeof(mac.bytes));
    if (!bpf_map_lookup_elem(&hosts, &mac))
        return SWITCH;
    if (header.type == bpf_htons(ETH_P_8021Q) || header.type == bpf_htons(ETH_P_8021AD)) {
        if (!load(context, kind, ETH_HLEN + 2, &header.type, sizeof(header.type)))
            return HOST;
        offset += VLAN_TAG_SIZE;
    }
    if (header.type == bpf_htons(ETH_P_IP))
        return decide_ip(context, kind, offset, true);
    if (header.type == bpf_htons(ETH_P_IPV6))
        return decide_ip(context, kind, offset, false);
    if (header.type == bpf_htons(ETH_P_ARP))
        return decide_arp(context, kind, offset);
    return HOST;
}

SEC("xdp")
int weft_xdp(struct xdp_md *context)
{
    if (decide(context, XDP) != SWITCH)
        return XDP_PASS;
    return (int)bpf_redirect_map(&sockets, context->rx_queue_index, XDP_PASS);
}

SEC("socket")
int weft_filter(struct __sk_buff *context)
{
    if (context->pkt_type == PACKET_OUTGOING) /* a group of sockets hears what the host sends */
        return 0;
    return decide(context, SKB) == HOST ? 0 : -1;
}

SEC("tc")
int weft_tc(struct __sk_buff *context)
{
    return decide(context, SKB) == SWITCH ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

const char steer_license[] SEC("license") = "Dual BSD/GPL";
