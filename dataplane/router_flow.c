/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The router stage's part of the flow cache (flow_cache.c): which packets may have an entry, what an entry
 * does with a packet, what is noted of one that went the whole way.
 *
 * A packet has a key if the whole way would find nothing unusual in it: IPv4 without options and with a right
 * header checksum, or IPv6 without extension headers; hops left; as long as it says it is, or padded in
 * private bytes only. Where translation may be asked for: TCP without SYN, FIN and RST, UDP, echo, no
 * fragment, and a whole transport header. So nothing downstream of the key looks at such a packet's fields
 * for errors; what remains is its size. One that has no entry is not parsed again (router_flow_parsed).
 */
#include "checksum.h"
#include "icmp.h"
#include "nat_flow.h"
#include "nat_rewrite.h"
#include "program.h"
#include "router_private.h"

#define IPV4_HEADER_SIZE 20u
#define IPV6_HEADER_SIZE 40u
#define L4_HEADER_MIN    8u
#define TCP_HEADER_MIN   20u
#define TCP_FLAGS        13u              /* byte of the header */
#define TCP_UNSETTLED    7u               /* FIN, SYN, RST */
#define FRAGMENT_MASK    htobe16(0x3fffu) /* MF and the offset */
#define ONE_HOP_LESS     0xfffeu          /* of the word that has the TTL, as it lies in memory: its delta */
#define AT_IPV4          ETHERNET_HEADER_SIZE
#define AT_IPV4_L4       (AT_IPV4 + IPV4_HEADER_SIZE)
#define AT_IPV6          ETHERNET_HEADER_SIZE
#define AT_IPV6_L4       (AT_IPV6 + IPV6_HEADER_SIZE)

static inline uint64_t load64(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}
static inline void store16(uint8_t *bytes, uint16_t value)
{
    memcpy(bytes, &value, sizeof(value));
}

/* Keys */

/* Do packets that come in here take their way by addresses alone? */
static inline bool by_addresses(const struct interface *in, bool ipv4)
{
    return in->router->id && !in->outside[ipv4];
}

/* Ports as a key has them, of a transport header in private bytes with `left` bytes. */
static inline bool key_ports(const struct interface *in, const uint8_t *l4, uint32_t left, uint8_t protocol,
                             uint32_t *ports)
{
    if (__builtin_expect(protocol == IP_PROTO_UDP, 1)) {
        *ports = rewrite_load32(l4);
        return true;
    }
    if (protocol == IP_PROTO_TCP) {
        *ports = rewrite_load32(l4);
        uint32_t size = left < TCP_HEADER_MIN ? 0 : (l4[12] >> 4) * 4u;
        return size >= TCP_HEADER_MIN && size <= left && !(l4[TCP_FLAGS] & TCP_UNSETTLED);
    }
    bool echo = protocol == IP_PROTO_ICMP ? l4[0] == ICMP_ECHO_REQUEST || l4[0] == ICMP_ECHO_REPLY
                                          : protocol == IP_PROTO_ICMPV6 &&
                                                (l4[0] == ICMPV6_ECHO_REQUEST || l4[0] == ICMPV6_ECHO_REPLY);
    *ports = in->router->id ? rewrite_load16(l4 + 4) : (uint32_t)rewrite_load16(l4 + 4) << 16;
    return echo;
}

/* `end`: of the IP packet, bytes from packet->data. */
static inline bool size_usual(const struct packet *packet, uint32_t end)
{
    return end == packet->size || (end < packet->size && !packet->span_count);
}

static inline bool key_ipv4(const struct packet *packet, const struct interface *in, struct flow_key *key,
                            uint32_t *end)
{
    const uint8_t *ip = packet->data + AT_IPV4;
    uint32_t total = load_be16(ip + 2), ports = 0;
    uint32_t left = packet->header_size < AT_IPV4 + total ? packet->header_size : AT_IPV4 + total;
    uint8_t protocol = 0;
    if (left < AT_IPV4_L4 + L4_HEADER_MIN || !size_usual(packet, AT_IPV4 + total) || ip[8] <= 1)
        return false;
    uint64_t sum = (uint64_t)rewrite_load32(ip) + rewrite_load32(ip + 4) + rewrite_load32(ip + 8) +
                   rewrite_load32(ip + 12) + rewrite_load32(ip + 16);
    if (checksum_fold(sum) != 0xffff)
        return false;
    if (!by_addresses(in, true)) {
        protocol = ip[9];
        if (rewrite_load16(ip + 6) & FRAGMENT_MASK || protocol == IP_PROTO_ICMPV6 ||
            !key_ports(in, ip + IPV4_HEADER_SIZE, left - AT_IPV4_L4, protocol, &ports))
            return false;
    }
    key->addresses = load64(ip + 12);
    key->meta = flow_meta(FLOW_IPV4, in->id, protocol, ports);
    *end = AT_IPV4 + total;
    return true;
}

static inline bool key_ipv6(const struct flow_cache *cache, const struct packet *packet,
                            const struct interface *in, struct flow_key *key, uint32_t *end,
                            uint64_t addresses[4])
{
    const uint8_t *ip = packet->data + AT_IPV6;
    if (packet->header_size < AT_IPV6_L4 + L4_HEADER_MIN || ip[0] >> 4 != 6)
        return false;
    uint32_t payload = load_be16(ip + 4), ports = 0;
    uint32_t left = packet->header_size < AT_IPV6_L4 + payload ? packet->header_size : AT_IPV6_L4 + payload;
    uint8_t protocol = ip[6];
    if (left < AT_IPV6_L4 + L4_HEADER_MIN || !size_usual(packet, AT_IPV6_L4 + payload) || ip[7] <= 1)
        return false;
    if (protocol != IP_PROTO_TCP && protocol != IP_PROTO_UDP && protocol != IP_PROTO_ICMPV6)
        return false;
    if (by_addresses(in, false))
        protocol = 0;
    else if (!key_ports(in, ip + IPV6_HEADER_SIZE, left - AT_IPV6_L4, protocol, &ports))
        return false;
    memcpy(addresses, ip + 8, 32);
    key->addresses = flow_hash_ipv6(cache, addresses);
    key->meta = flow_meta(FLOW_IPV6, in->id, protocol, ports);
    *end = AT_IPV6_L4 + payload;
    return true;
}

/* Of the stage's packet number `i`. */
static inline bool key_of(const struct flow_cache *cache, struct router_stage *stage, struct routed *routed,
                          const struct interface *in, unsigned i)
{
    const struct packet *packet = routed->packet;
    if (__builtin_expect(!packet || routed->flags || !in || packet->header_size < AT_IPV4_L4, 0))
        return false;
    uint32_t type =
        rewrite_load32(packet->data + 12) & htole32(0xffffff); /* EtherType and the byte after it */
    if (__builtin_expect(type == htole32(0x450008), 1))
        return key_ipv4(packet, in, &routed->key, &routed->info.l3_end);
    return (uint16_t)type == htobe16(ETHERTYPE_IPV6) &&
           key_ipv6(cache, packet, in, &routed->key, &routed->info.l3_end, stage->addresses[i]);
}

/* What parse_l2 and parse_l3 would say. */
void router_flow_parsed(struct routed *routed)
{
    bool ipv4 = flow_meta_kind(routed->key.meta) == FLOW_IPV4;
    uint16_t l4 = ipv4 ? AT_IPV4_L4 : AT_IPV6_L4;
    uint8_t protocol = flow_meta_protocol(routed->key.meta);
    const uint8_t *header = routed->packet->data + l4;
    routed->info = (struct frame_info){
        .flags = FRAME_F_L4 | (ipv4 ? FRAME_F_IPV4 : FRAME_F_IPV6),
        .ethertype = ipv4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6,
        .ip_proto = protocol,
        .l3_offset = ETHERNET_HEADER_SIZE,
        .l4_offset = l4,
        .l4_header_size = protocol == IP_PROTO_TCP ? (uint16_t)((header[12] >> 4) * 4) : L4_HEADER_MIN,
        .l3_end = routed->info.l3_end,
    };
}

/* More than one tenant? */
static bool is_shared(const struct snapshot *snapshot)
{
    unsigned tenants = 0;
    for (unsigned i = 0; i < snapshot->router_count && tenants < 2; i++)
        tenants += snapshot->routers[i].id != 0;
    return tenants > 1;
}

unsigned router_flow_find(struct program *program, struct routed *working, unsigned count)
{
    struct router_stage *stage = program->router;
    const struct snapshot *snapshot = program->snapshot;
    struct flow_cache *cache = __atomic_load_n(&stage->flows, __ATOMIC_ACQUIRE);
    unsigned found = 0;
    if (__builtin_expect(!cache, 0) || !flow_cache_look(cache))
        return 0;
    if (__builtin_expect(!flow_cache_is_of(cache, snapshot->serial, program->now_s), 0))
        flow_cache_renew(cache, snapshot->serial, program->now_s, is_shared(snapshot));
    stage->exit.id = 0;
    for (unsigned i = 0; i < count; i++) {
        struct routed *routed = &working[i];
        const struct interface *in = snapshot->ingress[routed->port]->interface;
        if (!key_of(cache, stage, routed, in, i))
            continue;
        routed->in = in;
        routed->hash = flow_hash(cache, &routed->key);
        __builtin_prefetch(flow_set(cache, routed->hash));
    }
    for (unsigned i = 0; i < count; i++) {
        struct routed *routed = &working[i];
        if (!routed->key.meta)
            continue;
        const struct flow_set *set = flow_set(cache, routed->hash);
        unsigned ways = flow_candidates(cache, set, routed->hash);
        if (!ways)
            continue;
        unsigned way = (unsigned)__builtin_ctz(ways);
        routed->entry = flow_entry(cache, set, way);
        if (__builtin_expect(ways & (ways - 1), 0)) {
            routed->entry = flow_find(cache, &routed->key, routed->hash, stage->addresses[i]);
            if (!routed->entry)
                continue;
        }
        found++;
        __builtin_prefetch(routed->entry);
        if (flow_meta_kind(routed->key.meta) == FLOW_IPV6)
            __builtin_prefetch(flow_wide(cache, routed->entry));
        if (set->sessions[way])
            nat_flow_prefetch(snapshot->nat, set->sessions[way]);
    }
    flow_cache_looked(cache, count, found);
    return found;
}

/* What an entry does */

static inline void rewrite_l4(const struct packet *packet, const struct flow_action *action, uint32_t l4)
{
    uint8_t *data = packet->data, *field = data + action->sum_at;
    uint16_t before = rewrite_load16(field);
    store16(data + action->port_at, action->port);
    if (__builtin_expect(packet->flags & VNET_F_NEEDS_CSUM && packet->csum_start == l4, 0)) {
        store16(field, checksum_fold((uint64_t)before + action->l3_sum));
    } else if (!(action->flags & FLOW_F_UDP) || before) {
        uint16_t sum = (uint16_t)~checksum_fold((uint64_t)(uint16_t)~before + action->l4_sum);
        store16(field, action->flags & FLOW_F_UDP && !sum ? 0xffff : sum);
    }
}

static inline void rewrite_ipv4(struct packet *packet, const struct flow_action *action)
{
    uint8_t *ip = packet->data + AT_IPV4;
    uint16_t sum = (uint16_t)~rewrite_load16(ip + 10);
    ip[8]--;
    store16(ip + 10, (uint16_t)~checksum_fold((uint64_t)sum + action->l3_sum + ONE_HOP_LESS));
    if (action->session) {
        memcpy(packet->data + action->address_at, &action->ipv4, sizeof(action->ipv4));
        rewrite_l4(packet, action, AT_IPV4_L4);
    }
}

static void rewrite_ipv6(struct packet *packet, const struct flow_action *action,
                         const struct flow_wide *wide)
{
    packet->data[AT_IPV6 + 7]--;
    if (action->session) {
        memcpy(packet->data + action->address_at, wide->address, sizeof(wide->address));
        rewrite_l4(packet, action, AT_IPV6_L4);
    }
}

/* Interfaces are those of the snapshot that the entry is of. */
static void exit_read(struct program *program, uint32_t id)
{
    const struct interface *out = program->snapshot->ingress[id]->interface;
    program->router->exit = (struct router_exit){
        .id = id,
        .mtu = out->mtu,
        .neighbours = __atomic_load_n(&interface_port(out)->generation, __ATOMIC_RELAXED),
        .out = out,
    };
}

/* Bytes of the largest IP packet that leaves. */
static inline uint32_t largest(const struct routed *routed)
{
    const struct packet *packet = routed->packet;
    uint32_t end = packet->gso_type == VNET_GSO_NONE ? routed->info.l3_end
                                                     : (uint32_t)packet->hdr_len + packet->gso_size;
    return end - ETHERNET_HEADER_SIZE;
}

bool router_flow_follow(struct program *program, struct routed *routed)
{
    struct router_stage *stage = program->router;
    const struct flow_action *action = &routed->entry->action;
    const struct router_exit *exit = &stage->exit;
    struct packet *packet = routed->packet;
    if (__builtin_expect(
            !flow_is(stage->flows, routed->entry, &routed->key, stage->addresses[routed - stage->working]),
            0))
        return false;
    if (__builtin_expect(exit->id != action->out, 0))
        exit_read(program, action->out);
    if (__builtin_expect(action->neighbours != exit->neighbours || largest(routed) > exit->mtu, 0))
        return false;
    if (action->session &&
        !nat_flow_count(program->snapshot->nat, action->session, action->session_generation,
                        action->session_state, action->flags & FLOW_F_OUTBOUND))
        return false;
    if (__builtin_expect(packet->size != routed->info.l3_end, 0)) /* padding, in private bytes: size_usual */
        packet->size = packet->header_size = (uint16_t)routed->info.l3_end;
    router_taken(program, routed);
    if (__builtin_expect(flow_meta_kind(routed->key.meta) == FLOW_IPV4, 1))
        rewrite_ipv4(packet, action);
    else
        rewrite_ipv6(packet, action, flow_wide(stage->flows, routed->entry));
    memcpy(packet->data, action->mac, 6);
    memcpy(packet->data + 6, exit->out->mac, 6);
    router_emit(program, exit->out, packet);
    return true;
}

void router_flow_counted(struct program *program, unsigned hits, unsigned misses)
{
    struct flow_cache *cache = program->router->flows;
    if (__builtin_expect(!cache, 0))
        return;
    counter_add(&cache->hits, hits);
    counter_add(&cache->misses, misses);
}

/* What is noted */

/* By whose session or in whose router? False: nothing that one entry can say. */
static bool owner_of(const struct routed *routed, const struct interface *out, uint32_t *owner)
{
    uint32_t in_id = routed->in->router->id, out_id = out->router->id;
    *owner = in_id ? in_id : out_id;
    if (out == routed->in)
        return false; /* depends on the port that it came from: router_turns_isolated */
    return routed->session ? !in_id != !out_id : in_id && routed->in->router == out->router;
}

static uint64_t sum_of(const uint8_t *bytes, unsigned size)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < size; i += 4)
        sum += rewrite_load32(bytes + i);
    return sum;
}

static uint64_t sum_without(const uint8_t *bytes, unsigned size)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < size; i += 4)
        sum += (uint32_t)~rewrite_load32(bytes + i);
    return sum;
}

/* Where the addresses of the packet, and of the one that came in (`before`), are the same but for the one
 * that translation changed: false if not. */
static bool note_address(struct flow_action *action, const uint8_t *data, const uint8_t *before, bool ipv4)
{
    bool source = action->flags & FLOW_F_OUTBOUND;
    uint32_t size = ipv4 ? 4 : 16, first = AT_IPV4 + (ipv4 ? 12 : 8);
    uint32_t changed = source ? 0 : size, other = source ? size : 0;
    const uint8_t *after = data + first;
    if (!action->session)
        return !memcmp(after, before, 2 * (size_t)size);
    if (memcmp(after + other, before + other, size) != 0)
        return false;
    action->address_at = (uint8_t)(first + changed);
    action->l3_sum = checksum_fold(sum_without(before + changed, size) + sum_of(after + changed, size));
    memcpy(&action->ipv4, after + changed, sizeof(action->ipv4));
    return true;
}

/* Port or identifier, and the checksum that covers it. ICMP's has no pseudo header, ICMPv6's has. */
static void note_l4(struct flow_action *action, const uint8_t *data, uint64_t meta, uint32_t l4)
{
    uint8_t protocol = flow_meta_protocol(meta);
    bool source = action->flags & FLOW_F_OUTBOUND,
         echo = protocol == IP_PROTO_ICMP || protocol == IP_PROTO_ICMPV6;
    uint32_t sum_at = protocol == IP_PROTO_TCP ? 16 : protocol == IP_PROTO_UDP ? 6 : 2;
    action->port_at = (uint8_t)(l4 + (echo ? 4 : source ? 0 : 2));
    action->sum_at = (uint8_t)(l4 + sum_at);
    action->port = rewrite_load16(data + action->port_at);
    uint16_t before = source ? (uint16_t)meta : (uint16_t)(meta >> 16);
    uint64_t change = (uint64_t)(uint16_t)~before + action->port;
    action->l4_sum = checksum_fold(change + (protocol == IP_PROTO_ICMP ? 0 : action->l3_sum));
    if (protocol == IP_PROTO_UDP)
        action->flags |= FLOW_F_UDP;
}

void router_flow_note(struct program *program, struct routed *routed, const struct interface *out,
                      uint64_t mac)
{
    struct flow_cache *cache = program->router->flows;
    const uint8_t *data = routed->packet->data;
    bool ipv4 = flow_meta_kind(routed->key.meta) == FLOW_IPV4, outbound = routed->in->router->id != 0;
    /* a packet of the queue that is worked on */
    uint64_t *addresses = program->router->addresses[routed - program->router->working];
    const uint8_t *before = (const uint8_t *)(ipv4 ? &routed->key.addresses : addresses);
    struct flow_action action = {.session = routed->session,
                                 .session_generation = routed->session_generation,
                                 .neighbours = routed->neighbours,
                                 .out = (uint16_t)out->id,
                                 .flags = outbound ? FLOW_F_OUTBOUND : 0};
    uint32_t owner;
    if (!routed->entry && flow_live(cache, flow_set(cache, routed->hash)) == FLOW_FULL)
        return;
    if (action.session && !nat_flow_settled(program->snapshot->nat, action.session, action.session_generation,
                                            outbound, &action.session_state))
        return;
    if (!owner_of(routed, out, &owner) || !note_address(&action, data, before, ipv4))
        return;
    if (action.session)
        note_l4(&action, data, routed->key.meta, ipv4 ? AT_IPV4_L4 : AT_IPV6_L4);
    memcpy(action.mac, &mac, 6);
    struct flow_entry *entry = flow_cache_put(cache, &routed->key, routed->hash, addresses, &action, owner);
    if (entry && !ipv4 && action.session)
        memcpy(flow_wide(cache, entry)->address, data + action.address_at, 16);
}
