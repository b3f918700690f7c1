/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The programming socket of weft-dataplane (DIR/dataplane.sock, SOCK_SEQPACKET, one message a packet).
 *
 * The dataplane holds objects. An object is a fixed-width struct that starts with its key; PUT adds or
 * replaces one, DEL removes one, DUMP returns them exactly as they were put. So the controller's
 * reconciliation is: dump, compare with memcmp, put and delete the difference. Every byte of an object that
 * has no meaning is zero, strings included (the dataplane refuses anything else), which is what makes memcmp
 * right.
 *
 * Changes are made inside a transaction (BEGIN ... COMMIT): nothing is visible to workers before COMMIT,
 * which checks the whole (dangling references, tenants that do not match) and publishes one new configuration
 * snapshot, or answers an error and changes nothing. One transaction at a time, owned by the connection that
 * began it and aborted when that connection closes. The dataplane carries on forwarding when nobody is
 * connected.
 *
 * Request: struct dp_request, then exactly the struct its op and kind say, with the descriptors the kind says
 * (tap, packet, xdp: one a queue, see enum dp_port_type). Answer: one or more struct dp_reply with the
 * request's sequence; DP_REPLY_MORE is set on all but the last. A reply with sequence 0 refuses the
 * connection (-EACCES, -EUSERS, -EMFILE), which is then closed. HELLO comes first. Byte order: the host's.
 * Versioned by HELLO; sizes are part of the version.
 *
 * Threads: the control thread of the dataplane serves it. Errors: dp_reply.status is 0 or -errno, with a
 * text.
 */
#include <stdint.h>

#define DP_API_VERSION  2u     /* of 8e75dff3: tests/lint/api.py */
#define DP_MESSAGE_MAX  65536u /* bytes of one packet on the socket */
#define DP_NAME_SIZE    64u    /* "tenant/port", NUL-terminated and NUL-padded */
#define DP_DEVICE_SIZE  256u
#define DP_QUEUES_MAX   8u  /* queue pairs a port */
#define DP_PORT_FDS_MAX 10u /* descriptors with the PUT of a port; even: SCM_RIGHTS rounds to 8 bytes */
#define DP_TRUNK_MAX    4096u
#define DP_PORTS_MAX    4096u /* port ids 1..4095 */
#define DP_SEGMENTS_MAX 8192u /* segment ids 1..8191 */
#define DP_WORKERS_MAX  16u

/* op, kind of object (0 where none), what follows the request */
#define DP_OPS(X)                                                                                            \
    X(HELLO) /* dp_hello; answered with dp_hello */                                                          \
    X(BEGIN)                                                                                                 \
    X(PUT) /* the object */                                                                                  \
    X(DEL) /* the object; only its key is looked at */                                                       \
    X(COMMIT)                                                                                                \
    X(ABORT)                                                                                                 \
    X(DUMP)  /* nothing; answered with as many objects as fit a reply, repeatedly. Any kind. */              \
    X(FLUSH) /* dp_flush: forget learned addresses */                                                        \
    X(PUNT)  /* nothing, and one descriptor: the channel of struct dp_punt; replaces an earlier one */       \
    X(STOP)  /* orderly end of the process */
enum dp_op {
    DP_OP_NONE,
#define X(symbol) DP_OP_##symbol,
    DP_OPS(X)
#undef X
        DP_OP_COUNT
};

/* Objects that are configured (PUT/DEL/DUMP), then what is only read (DUMP). */
#define DP_KINDS(X)                                                                                          \
    X(GLOBAL, dp_global)                                                                                     \
    X(SEGMENT, dp_segment)                                                                                   \
    X(PORT, dp_port)                                                                                         \
    X(MEMBER, dp_member)                                                                                     \
    X(STATIC, dp_static)                                                                                     \
    X(ALLOWED, dp_allowed)                                                                                   \
    X(ROUTER, dp_router)                                                                                     \
    X(INTERFACE, dp_interface)                                                                               \
    X(ROUTE, dp_route)                                                                                       \
    X(NEIGHBOUR, dp_neighbour)                                                                               \
    X(NAT_ADDRESS, dp_nat_address)                                                                           \
    X(NAT_SOURCE, dp_nat_source)                                                                             \
    X(NAT_ONE_TO_ONE, dp_nat_one_to_one)                                                                     \
    X(NAT_FORWARD, dp_nat_forward)                                                                           \
    X(PORT_STATE, dp_port_state)                                                                             \
    X(PORT_COUNTERS, dp_port_counters)                                                                       \
    X(QUEUE_STATE, dp_queue_state)                                                                           \
    X(WORKER_STATE, dp_worker_state)                                                                         \
    X(FDB_ENTRY, dp_fdb_entry)                                                                               \
    X(ROUTER_STATE, dp_router_state)                                                                         \
    X(NAT_ADDRESS_STATE, dp_nat_address_state)                                                               \
    X(NEIGHBOUR_STATE, dp_neighbour_state)                                                                   \
    X(SESSION, dp_session)
enum dp_kind {
    DP_KIND_NONE,
#define X(symbol, type) DP_KIND_##symbol,
    DP_KINDS(X)
#undef X
        DP_KIND_COUNT
};
#define DP_KIND_LAST_CONFIGURED DP_KIND_NAT_FORWARD

struct dp_request {
    uint16_t op;
    uint16_t kind;
    uint32_t sequence;
    uint32_t size; /* bytes that follow: exactly the struct's */
    uint32_t pad;
};

#define DP_REPLY_MORE 1u

struct dp_reply {
    uint32_t sequence;
    int32_t status; /* 0 or -errno */
    uint16_t kind;  /* of the objects that follow */
    uint16_t count; /* objects that follow */
    uint32_t flags; /* DP_REPLY_* */
    char text[112]; /* why status is not 0; names the object */
};

struct dp_hello {
    uint32_t version;
    uint32_t pid; /* of the dataplane, in the answer */
    uint64_t
        start_time_ns; /* CLOCK_REALTIME when the dataplane started: tells one incarnation from another */
    char build[32];    /* version string */
};

struct dp_flush {
    uint32_t segment; /* 0: all */
    uint32_t port;    /* 0: all */
};

/* One, key none. What the controller wants to find again after a restart. */
struct dp_global {
    uint64_t generation;  /* controller's configuration generation */
    uint64_t config_hash; /* of the compiled configuration */
};

#define DP_SEGMENT_F_ISOLATE_PORTS 1u /* ports flagged isolated do not reach each other */

struct dp_segment {
    uint32_t id;     /* key */
    uint32_t tenant; /* 1..: output is refused to ports of another tenant */
    char name[DP_NAME_SIZE];
    uint32_t ageing_s;  /* seconds; 0: never */
    uint32_t mac_limit; /* addresses; 0: no limit but the table's */
    uint32_t flags;     /* DP_SEGMENT_F_* */
    uint32_t pad;
};

enum dp_port_type {
    DP_PORT_VHOST_USER = 1, /* device: socket path */
    DP_PORT_TAP = 2,        /* device: interface name; one descriptor (IFF_VNET_HDR) a queue with the PUT */
    DP_PORT_ETHDEV = 3,     /* device: DPDK device arguments */
    DP_PORT_ROUTER = 4,     /* no device ("router"): where a segment meets its router; see dp_interface */
    DP_PORT_PACKET = 5, /* device: interface; with the PUT a bound AF_PACKET socket a queue, then perhaps a
                           BPF link to hold; no descriptors and ifindex 0: there is no such interface */
    DP_PORT_XDP = 6,    /* the same; queue i: a fresh AF_XDP socket of receive queue i; the last: AF_PACKET */
};

#define DP_PORT_F_CLIENT    1u  /* vhost-user: dial instead of listen */
#define DP_PORT_F_SPOOF_MAC 2u  /* source MAC (also in ARP, ND) must be in the port's allowed list */
#define DP_PORT_F_SPOOF_IP  4u  /* source IPv4/IPv6 (also in ARP, ND) must be in the port's allowed list */
#define DP_PORT_F_ISOLATED  8u  /* does not reach other isolated ports of its segments */
#define DP_PORT_F_DOWN      16u /* administratively down: link down for the guest, nothing in or out */
#define DP_PORT_F_NO_LINK   32u /* packet, xdp: interface without link; vhost-user: so the guest is told */
#define DP_PORT_F_GUARD     64u /* with SPOOF_*: no DHCP answers, router advertisements, redirects from it */

struct dp_port {
    uint32_t id;     /* key */
    uint32_t tenant; /* 0: serves several tenants (uplink) */
    uint32_t type;   /* enum dp_port_type */
    uint32_t flags;  /* DP_PORT_F_* */
    char name[DP_NAME_SIZE];
    char device[DP_DEVICE_SIZE];
    uint32_t queues; /* queue pairs, 1..DP_QUEUES_MAX */
    uint32_t mtu;    /* bytes of L3 payload, 68..9216 */
    uint8_t mac[6];  /* shown to the guest in config space; zero: none */
    uint8_t pad[2];
    uint32_t mac_limit;    /* learned addresses; 0: no limit but the segment's */
    uint32_t storm_pps;    /* flooded frames a second that the port may send; 0: no limit */
    uint64_t features_off; /* vhost-user: virtio feature bits not to offer */
    uint32_t socket_group; /* vhost-user, server mode: group of the socket; UINT32_MAX: unchanged */
    uint32_t ifindex;      /* packet, xdp: of the interface that the descriptors belong to */
};

#define DP_MEMBER_UNTAGGED 0u /* vid: frames of the segment are untagged at this port */

/* A port in a segment. An access port has one member with vid 0. A trunk has one a segment; the native one
 * has vid 0. */
struct dp_member {
    uint32_t port; /* key, with vid */
    uint32_t vid;  /* key: 802.1Q VID at the port, 1..4094, or DP_MEMBER_UNTAGGED */
    uint32_t segment;
    uint32_t tagged_vid; /* vid 0 only: frames that come with this tag are taken too (a trunk's native VLAN);
                            0: none */
};

/* A MAC address that is not learned but configured. */
struct dp_static {
    uint32_t segment; /* key, with mac */
    uint8_t mac[6];   /* key */
    uint8_t pad[2];
    uint32_t port;
    uint32_t pad2;
};

enum dp_allowed_type { DP_ALLOWED_MAC = 1, DP_ALLOWED_IPV4 = 2, DP_ALLOWED_IPV6 = 3 };

/* A source address that a port with DP_PORT_F_SPOOF_* may use. The whole struct is the key. */
struct dp_allowed {
    uint32_t port;
    uint32_t type;       /* enum dp_allowed_type */
    uint8_t address[16]; /* network order, the first 6, 4 or 16 bytes */
};

/*
 * The router. A port of type DP_PORT_ROUTER is a member of a segment like any other port; frames to its MAC
 * (and ARP, neighbour discovery, DHCP) are the router's, which sends what it forwards into the segment of
 * another interface as frames from that one's port. A tenant has one router, whose interfaces route to each
 * other. Router 0 is the outside: its interfaces lie in the segments of uplinks, have the uplink's MAC and
 * host's address, and are reached from a tenant's interface by address translation only.
 *
 * Addresses are 16 bytes in network order; an IPv4 address is IPv4-mapped (RFC 4291, 2.5.5.2), its prefix
 * length is 96 + n. All zero: none.
 */
struct dp_router {
    uint32_t id;                  /* key: the tenant's number; the outside has no such object */
    uint32_t session_limit;       /* translated sessions of the tenant; 0: none but the table's */
    uint32_t guest_session_limit; /* of one inside address; 0: none but the tenant's */
    uint32_t pad;
    char name[DP_NAME_SIZE];
};

#define DP_INTERFACE_F_PUNT_DHCP  1u  /* DHCPv4 requests of guests go to the controller */
#define DP_INTERFACE_F_PUNT_DNS   2u  /* UDP and TCP port 53 at the interface's addresses */
#define DP_INTERFACE_F_PUNT_RS    4u  /* router solicitations */
#define DP_INTERFACE_F_ASK_KERNEL 8u  /* neighbours are the controller's: asked for by DP_PUNT_RESOLVE */
#define DP_INTERFACE_F_NO_FORWARD 16u /* nothing is routed from or to here (a host-only segment's DHCP) */

struct dp_interface {
    uint32_t port;              /* key: a port of type DP_PORT_ROUTER; its mac and mtu are the interface's */
    uint32_t router;            /* tenant of the port; 0: outside */
    uint32_t flags;             /* DP_INTERFACE_F_* */
    uint8_t ipv4_prefix_length; /* 96..128 */
    uint8_t ipv6_prefix_length; /* 0..128 */
    uint8_t pad[2];
    uint8_t ipv4[16]; /* the router's own address; zero: none */
    uint8_t ipv6[16]; /* global; the link-local one is made of the MAC */
};

/* Besides the prefixes of the router's own interfaces. Longest prefix first. */
#define DP_ROUTES_MAX 1024u /* by one interface */
struct dp_route {
    uint32_t port;         /* key: interface */
    uint8_t prefix[16];    /* key; bits beyond the length are zero */
    uint8_t prefix_length; /* key */
    uint8_t pad[3];
    uint32_t router;      /* of the interface */
    uint8_t next_hop[16]; /* zero: on-link */
};

struct dp_neighbour {
    uint32_t port;       /* key: interface */
    uint8_t address[16]; /* key */
    uint8_t mac[6];
    uint8_t pad[2];
};

#define DP_NAT_F_ANSWER 1u /* the router answers ARP and neighbour solicitations for the address */
/* An address of the outside that sessions are translated to, and its ports. */
struct dp_nat_address {
    uint32_t port;       /* key: outside interface */
    uint8_t address[16]; /* key */
    uint16_t port_first; /* TCP and UDP ports, ICMP ids */
    uint16_t port_last;
    uint32_t flags; /* DP_NAT_F_ANSWER */
};

#define DP_NAT_F_ENDPOINT_INDEPENDENT_FILTER 1u /* RFC 4787, 5: else address and port dependent */

/* Who is translated to it: everything routed from that interface to the outside. Several addresses for one
 * interface: each guest keeps one (address pooling "paired", RFC 4787 REQ-2). */
struct dp_nat_source {
    uint32_t port;       /* key: the tenant's interface */
    uint32_t outside;    /* key */
    uint8_t address[16]; /* key: a dp_nat_address of `outside` */
    uint32_t flags;      /* DP_NAT_F_* */
};

struct dp_nat_one_to_one {
    uint32_t outside;    /* key: outside interface */
    uint8_t address[16]; /* key: outside address, no dp_nat_address; answered for */
    uint32_t port;       /* the tenant's interface */
    uint8_t inside[16];
};

struct dp_nat_forward {
    uint32_t outside;     /* key: outside interface */
    uint8_t address[16];  /* key: outside address */
    uint16_t protocol;    /* key: 6 TCP, 17 UDP */
    uint16_t first, last; /* key: first; outside ports */
    uint16_t to_first;    /* inside port of `first` */
    uint32_t port;        /* the tenant's interface */
    uint8_t inside[16];
};

/*
 * The punt channel: a SOCK_SEQPACKET socket of which PUNT hands the dataplane one end. A message is this
 * header and exactly `size` bytes of frame. From the dataplane: what an interface's flags hand up. To it: a
 * frame to send into the segment of the interface, as from the interface's port. Nobody waits: a full
 * channel drops (and counts TX_PUNT at the interface's port).
 */
enum dp_punt_reason {
    DP_PUNT_DHCP = 1,
    DP_PUNT_DNS = 2,
    DP_PUNT_RS = 3,
    DP_PUNT_RESOLVE = 4,
    DP_PUNT_SEND = 5
};
#define DP_PUNT_FRAME_MAX 2048u /* bytes */

struct dp_punt {
    uint32_t port; /* the interface's */
    uint16_t reason;
    uint16_t size; /* of the frame that follows; 0 for RESOLVE */
    uint32_t from; /* port id that the frame came from; 0: not known */
    uint32_t pad;
    uint8_t address[16]; /* RESOLVE: whose MAC is wanted */
};

/* Why a frame was dropped. One list: enum, counter, text. Ring-level reasons first (vhost/vring.h). */
#define DP_DROPS(X)                                                                                          \
    X(RX_RUNT, "rx_runt", "frame from the guest shorter than its headers")                                   \
    X(RX_TOO_LONG, "rx_too_long", "frame from the guest longer than 64 KiB and headers")                     \
    X(RX_FRAGMENTED, "rx_fragmented", "frame from the guest scattered over more than 256 pieces")            \
    X(RX_OVERSIZE, "rx_oversize", "frame from the port larger than its MTU")                                 \
    X(RX_OFFLOAD, "rx_offload", "offload request that does not match the frame")                             \
    X(RX_MALFORMED, "rx_malformed", "header truncated or lengths that contradict each other")                \
    X(PORT_DOWN, "port_down", "the port is administratively down")                                           \
    X(VLAN_TAG, "vlan_tag", "tagged frame on an access port")                                                \
    X(VLAN_UNKNOWN, "vlan_unknown", "VLAN not allowed on this trunk, or no native segment")                  \
    X(RESERVED_MAC, "reserved_mac", "link-local destination 01:80:c2:00:00:0x, or group source address")     \
    X(SPOOF_MAC, "spoof_mac", "source MAC address not this port's")                                          \
    X(SPOOF_IP, "spoof_ip", "source IP address not this port's")                                             \
    X(SPOOF_ARP, "spoof_arp", "ARP sender not this port's")                                                  \
    X(SPOOF_ND, "spoof_nd", "neighbour discovery with an address not this port's")                           \
    X(GUARD, "guard", "DHCP answer, router advertisement or redirect, which are not a guest's to send")      \
    X(RX_PROTECTED, "protected_mac", "source MAC address is configured on another port")                     \
    X(MAC_LIMIT, "mac_limit", "source MAC address beyond the port's or segment's limit")                     \
    X(STORM, "storm", "flooded frame beyond the port's storm limit")                                         \
    X(SAME_PORT, "same_port", "destination is behind the port the frame came from")                          \
    X(NO_MEMBER, "no_member", "nobody else in the segment")                                                  \
    X(ISOLATED_PORT, "isolated_port", "both ports are isolated")                                             \
    X(TENANT, "tenant", "output to a port of another tenant refused")                                        \
    X(TX_DOWN, "tx_down", "the output port is down or its guest not connected")                              \
    X(TX_FULL, "tx_full", "the output port's ring had no room")                                              \
    X(TX_OVERSIZE, "tx_oversize", "frame larger than the output port takes")                                 \
    X(TX_CHECKSUM, "tx_checksum", "checksum to be completed beyond the header copy")                         \
    X(L3_MALFORMED, "l3_malformed", "IP header that cannot be routed, or an illegal address in it")          \
    X(L3_TTL, "l3_ttl", "TTL or hop limit used up")                                                          \
    X(L3_NO_ROUTE, "l3_no_route", "no route to the destination")                                             \
    X(L3_NEIGHBOUR, "l3_neighbour", "the next hop did not answer ARP or neighbour solicitations")            \
    X(L3_MTU, "l3_mtu", "packet larger than the next link that may not be fragmented")                       \
    X(L3_LOCAL, "l3_local", "nothing at the router's own address answers this")                              \
    X(L3_PUNT, "l3_punt", "the controller is not there or too slow for what it should answer")               \
    X(NAT_SESSION_LIMIT, "nat_session_limit", "new session beyond the guest's or tenant's limit")            \
    X(NAT_TABLE_FULL, "nat_table_full", "new session, but the session table is full")                        \
    X(NAT_NO_PORT, "nat_no_port", "new session, but no port of the outside address is free")                 \
    X(NAT_NO_SESSION, "nat_no_session", "from outside, and neither a session, a forward nor a 1:1 address")  \
    X(NAT_STATE, "nat_state", "TCP segment or ICMP message that opens no session and belongs to none")       \
    X(NAT_PROTOCOL, "nat_protocol", "protocol that cannot be translated")                                    \
    X(NAT_FRAGMENT, "nat_fragment", "fragment without its first one, overlapping, or beyond the quota")
enum dp_drop {
#define X(symbol, name, text) DP_DROP_##symbol,
    DP_DROPS(X)
#undef X
        DP_DROP_COUNT
};

/* Ring states of a queue pair as seen by workers. */
struct dp_port_state {
    uint32_t id;
    uint32_t link;     /* 1: up (a guest is connected and has enabled a queue, the interface is up) */
    uint64_t features; /* vhost-user: virtio features in force; xdp: DP_XDP_F_* */
#define DP_XDP_F_ZEROCOPY 1u
    uint64_t protocol_features;
    uint32_t queues_enabled;
    uint32_t learned; /* addresses learned at the port */
    uint64_t connects;
    uint64_t protocol_errors;
    uint64_t memory_bytes; /* guest memory mapped */
    uint32_t ring_errors;  /* rings that are broken now */
    uint32_t mappings;     /* guest memory regions mapped */
    char last_error[128];
};

/*
 * What passed a port. For every port, always:
 *   rx_packets == rx_forwarded + rx_flooded + sum(rx_drops)
 *   tx_offered == tx_packets + sum(tx_drops)
 * rx_forwarded are known unicast frames, addressed to exactly one output; rx_flooded were addressed to every
 * other member, even if that is a single one. What became of each copy is accounted at the output port. A
 * frame segmented in software counts once in tx_packets and its pieces in tx_segments. If only some of its
 * pieces found room it counts as dropped (TX_FULL), and tx_segments and tx_bytes have the pieces that were
 * sent.
 */
struct dp_port_counters {
    uint32_t id;
    uint32_t pad;
    uint64_t rx_packets;              /* frames received from the port, dropped ones included */
    uint64_t rx_bytes;                /* bytes of those frames, without virtio header and FCS */
    uint64_t rx_forwarded;            /* frames to a known address: one output */
    uint64_t rx_flooded;              /* frames addressed to every other member */
    uint64_t rx_drops[DP_DROP_COUNT]; /* frames dropped before an output was chosen */
    uint64_t tx_offered;              /* copies addressed to the port */
    uint64_t tx_packets;
    uint64_t tx_bytes;
    uint64_t tx_segments;             /* frames made by software segmentation */
    uint64_t tx_drops[DP_DROP_COUNT]; /* copies not written to the port */
};

struct dp_queue_state {
    uint32_t port;
    uint32_t queue;     /* queue pair */
    uint32_t worker;    /* that polls it */
    uint32_t ring_size; /* descriptors, receive from guest */
    uint64_t rx_packets;
    uint64_t rx_bytes;
    uint64_t tx_packets;
    uint64_t tx_bytes;
    uint32_t usable;
    uint32_t pad;
};

struct dp_worker_state {
    uint32_t id;
    int32_t core;    /* CPU it is pinned to */
    uint32_t queues; /* receive queues it polls */
    uint32_t asleep; /* 1: waiting for a kick */
    uint64_t rounds;
    uint64_t busy_cycles;  /* TSC cycles in rounds that found packets */
    uint64_t total_cycles; /* TSC cycles since start, asleep ones included */
    uint64_t packets, sleeps;
    uint64_t tsc_hz;
    uint64_t flow_hits, flow_misses; /* packets at router ports: its flow cache knew them; others */
};

struct dp_fdb_entry {
    uint32_t segment;
    uint8_t mac[6];
    uint8_t is_static;
    uint8_t pad;
    uint32_t port;
    uint32_t age_s; /* seconds since last seen */
};

struct dp_router_state {
    uint32_t id;
    uint32_t sessions; /* now */
    uint64_t sessions_created;
    uint64_t sessions_refused; /* NAT_SESSION_LIMIT, NAT_TABLE_FULL, NAT_NO_PORT */
    uint32_t mappings;         /* inside endpoints with an outside one, now */
    uint32_t fragments;        /* datagrams whose fragments are tracked, now */
};

struct dp_nat_address_state {
    uint32_t port;
    uint8_t address[16];
    uint32_t ports; /* usable ones, each for TCP, UDP and ICMP */
    uint32_t tcp_used, udp_used, icmp_used;
    uint64_t refused; /* NAT_NO_PORT */
};

struct dp_neighbour_state {
    uint32_t port;
    uint8_t address[16];
    uint8_t mac[6];
    uint8_t is_static;
    uint8_t reachable; /* 0: asked for */
    uint32_t age_s;    /* since it was last confirmed */
};

/* A translated session. RFC 5382 names of TCP's states. */
enum dp_session_state {
    DP_SESSION_NEW = 1,     /* TCP: SYN seen; UDP: no answer yet */
    DP_SESSION_ESTABLISHED, /* TCP: both SYNs acknowledged; UDP, ICMP: answered */
    DP_SESSION_CLOSING,     /* TCP: a FIN seen */
    DP_SESSION_CLOSED       /* TCP: both FINs or a RST seen */
};

struct dp_session {
    uint32_t router;  /* tenant */
    uint32_t port;    /* the tenant's interface */
    uint32_t outside; /* outside interface */
    uint8_t protocol; /* 1, 6, 17, 58 */
    uint8_t state;    /* enum dp_session_state */
    uint8_t inbound;  /* 1: opened from outside */
    uint8_t pad;
    uint8_t inside[16];     /* the guest's address and port or ICMP id */
    uint8_t translated[16]; /* as seen outside */
    uint8_t remote[16];
    uint16_t inside_port, translated_port, remote_port, pad2;
    uint32_t age_s;     /* since its last packet */
    uint32_t expires_s; /* from now */
    uint64_t packets_out, packets_in;
};
