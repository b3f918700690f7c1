/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. One server a segment, the only one there: it answers for every address of the subnet
 * (so a client that asks for one it cannot have is told NAK, RFC 2131 4.3.2, instead of being left alone). A
 * request is read once into struct request, leases are decided in dhcp_lease.c, the answer is built from the
 * scope. Nothing is sent unasked.
 *
 * DISCOVER -> OFFER (kept 30 s); REQUEST of an address that the client may have -> ACK, otherwise NAK;
 * RELEASE and DECLINE end a lease; INFORM -> ACK without an address. Relayed requests (giaddr) are not
 * answered: guests are on the segment itself. Options in the `file` and `sname` fields (overload) are not
 * read: what a request needs to say fits in front of them.
 */
#include "dhcp.h"

#include <string.h>
#include "datagram.h"
#include "dhcp_private.h"

#define PORT_SERVER    67u
#define PORT_CLIENT    68u
#define HEADER_SIZE    240u /* bytes: BOOTP header and magic cookie */
#define MESSAGE_MIN    300u /* bytes: RFC 1542, 2.1 */
#define BROADCAST_FLAG 0x80u
#define BOOT_REQUEST   1u
#define BOOT_REPLY     2u

/* Offsets in the header, RFC 2131 2 */
enum {
    AT_OP = 0,
    AT_HTYPE = 1,
    AT_HLEN = 2,
    AT_XID = 4,
    AT_FLAGS = 10,
    AT_CIADDR = 12,
    AT_YIADDR = 16,
    AT_GIADDR = 24,
    AT_CHADDR = 28,
    AT_COOKIE = 236
};

/* RFC 2132, 3442 */
enum {
    OPTION_PAD = 0,
    OPTION_NETMASK = 1,
    OPTION_ROUTER = 3,
    OPTION_DNS = 6,
    OPTION_HOSTNAME = 12,
    OPTION_DOMAIN = 15,
    OPTION_MTU = 26,
    OPTION_BROADCAST = 28,
    OPTION_REQUESTED = 50,
    OPTION_LEASE = 51,
    OPTION_TYPE = 53,
    OPTION_SERVER = 54,
    OPTION_PARAMETERS = 55,
    OPTION_RENEWAL = 58,
    OPTION_REBINDING = 59,
    OPTION_CLIENT = 61,
    OPTION_ROUTES = 121,
    OPTION_END = 255
};

enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM };

static const uint8_t cookie[4] = {99, 130, 83, 99};

struct request {
    const uint8_t *header; /* HEADER_SIZE bytes */
    uint8_t type;
    uint32_t ciaddr, requested, server; /* host order; 0: none */
    bool wants_routes;
    struct dhcp_client client;
    const uint8_t *hostname;
    uint8_t hostname_size;
};

static uint32_t address_option(const uint8_t *value, uint8_t size)
{
    return size == 4 ? dhcp_ipv4(value) : 0;
}

static void read_option(struct request *request, uint8_t code, const uint8_t *value, uint8_t size)
{
    switch (code) {
    case OPTION_TYPE:
        request->type = size == 1 ? value[0] : 0;
        break;
    case OPTION_REQUESTED:
        request->requested = address_option(value, size);
        break;
    case OPTION_SERVER:
        request->server = address_option(value, size);
        break;
    case OPTION_CLIENT:
        if (size >= 2 && size <= DHCP_CLIENT_MAX) {
            request->client.identifier = value;
            request->client.size = size;
        }
        break;
    case OPTION_HOSTNAME:
        request->hostname = value;
        request->hostname_size = size;
        break;
    case OPTION_PARAMETERS:
        request->wants_routes = size > 0 && memchr(value, OPTION_ROUTES, size) != NULL;
        break;
    default:
        break;
    }
}

static bool read_request(const uint8_t *payload, size_t size, struct request *request)
{
    if (size < HEADER_SIZE || payload[AT_OP] != BOOT_REQUEST || payload[AT_HTYPE] != 1 ||
        payload[AT_HLEN] != 6 || memcmp(payload + AT_COOKIE, cookie, sizeof(cookie)) != 0 ||
        dhcp_ipv4(payload + AT_GIADDR) != 0 || (payload[AT_CHADDR] & 1))
        return false;
    request->header = payload;
    request->ciaddr = dhcp_ipv4(payload + AT_CIADDR);
    memcpy(request->client.mac, payload + AT_CHADDR, 6);
    request->client.identifier = payload + AT_CHADDR;
    request->client.size = 6;
    for (size_t at = HEADER_SIZE; at < size && payload[at] != OPTION_END;) {
        if (payload[at] == OPTION_PAD) {
            at++;
            continue;
        }
        if (size - at < 2 || payload[at + 1] > size - at - 2)
            return false;
        read_option(request, payload[at], payload + at + 2, payload[at + 1]);
        at += 2u + payload[at + 1];
    }
    return request->type >= DISCOVER && request->type <= INFORM;
}

struct answer {
    uint8_t bytes[MESSAGE_MIN + 512];
    size_t size;
};

static void add_option(struct answer *answer, uint8_t code, const void *value, size_t size)
{
    if (size == 0 || size > 255 || answer->size + size + 3 > sizeof(answer->bytes))
        return;
    answer->bytes[answer->size++] = code;
    answer->bytes[answer->size++] = (uint8_t)size;
    memcpy(answer->bytes + answer->size, value, size);
    answer->size += size;
}

static void add_seconds(struct answer *answer, uint8_t code, uint32_t seconds)
{
    const uint8_t bytes[4] = {(uint8_t)(seconds >> 24), (uint8_t)(seconds >> 16), (uint8_t)(seconds >> 8),
                              (uint8_t)seconds};
    add_option(answer, code, bytes, sizeof(bytes));
}

/* RFC 3442: the default route, which a client that asks for option 121 takes from there alone. */
static void add_routes(struct answer *answer, const struct dhcp_scope *scope)
{
    uint8_t route[5] = {0};
    memcpy(route + 1, scope->router, 4);
    add_option(answer, OPTION_ROUTES, route, sizeof(route));
}

static void add_configuration(struct answer *answer, const struct dhcp_scope *scope, bool routes)
{
    uint32_t mask = UINT32_MAX << (32 - scope->prefix_length);
    const uint8_t mtu[2] = {(uint8_t)(scope->mtu >> 8), (uint8_t)scope->mtu};
    add_seconds(answer, OPTION_NETMASK, mask);
    add_seconds(answer, OPTION_BROADCAST, dhcp_ipv4(scope->network) | ~mask);
    if (dhcp_ipv4(scope->router)) {
        if (routes)
            add_routes(answer, scope);
        add_option(answer, OPTION_ROUTER, scope->router, 4);
    }
    unsigned dns_count = scope->dns_count < DHCP_DNS_MAX ? scope->dns_count : DHCP_DNS_MAX;
    add_option(answer, OPTION_DNS, scope->dns, 4 * (size_t)dns_count);
    add_option(answer, OPTION_DOMAIN, scope->domain, strnlen(scope->domain, sizeof(scope->domain)));
    if (scope->mtu)
        add_option(answer, OPTION_MTU, mtu, sizeof(mtu));
}

static void start_answer(struct answer *answer, const struct request *request, const struct dhcp_scope *scope,
                         uint8_t type)
{
    memset(answer, 0, sizeof(*answer));
    memcpy(answer->bytes, request->header, AT_CIADDR); /* hardware type, xid, flags */
    answer->bytes[AT_OP] = BOOT_REPLY;
    answer->bytes[3] = 0; /* hops */
    memcpy(answer->bytes + AT_CHADDR, request->header + AT_CHADDR, 16);
    memcpy(answer->bytes + AT_COOKIE, cookie, sizeof(cookie));
    answer->size = HEADER_SIZE;
    add_option(answer, OPTION_TYPE, &type, 1);
    add_option(answer, OPTION_SERVER, scope->server, 4);
}

/* `to` 0: broadcast. */
static size_t send_answer(struct answer *answer, const struct request *request,
                          const struct dhcp_scope *scope, uint32_t to, uint8_t *reply)
{
    static const uint8_t all[4] = {255, 255, 255, 255};
    const uint8_t unicast[4] = {(uint8_t)(to >> 24), (uint8_t)(to >> 16), (uint8_t)(to >> 8), (uint8_t)to};
    answer->bytes[answer->size++] = OPTION_END;
    if (answer->size < MESSAGE_MIN)
        answer->size = MESSAGE_MIN;
    struct datagram datagram = {.source_port = PORT_SERVER,
                                .destination_port = PORT_CLIENT,
                                .payload = answer->bytes,
                                .size = answer->size};
    memcpy(datagram.source_mac, scope->server_mac, 6);
    memset(datagram.destination_mac, 0xff, 6);
    if (to)
        memcpy(datagram.destination_mac, request->client.mac, 6);
    address_map(datagram.source, scope->server);
    address_map(datagram.destination, to ? unicast : all);
    return datagram_build(&datagram, reply, DATAGRAM_FRAME_MAX);
}

/* RFC 2131 4.1: where an OFFER or ACK goes. */
static uint32_t answer_to(const struct request *request, uint32_t address)
{
    if (request->ciaddr)
        return request->ciaddr;
    return request->header[AT_FLAGS] & BROADCAST_FLAG ? 0 : address;
}

static size_t answer_lease(const struct request *request, const struct dhcp_scope *scope, uint8_t type,
                           uint32_t address, uint8_t *reply)
{
    struct answer answer;
    start_answer(&answer, request, scope, type);
    for (unsigned i = 0; i < 4; i++)
        answer.bytes[AT_YIADDR + i] = (uint8_t)(address >> (24 - 8 * i));
    if (type == ACK)
        memcpy(answer.bytes + AT_CIADDR, request->header + AT_CIADDR, 4);
    add_seconds(&answer, OPTION_LEASE, scope->lease_s);
    add_seconds(&answer, OPTION_RENEWAL, scope->lease_s / 2);
    add_seconds(&answer, OPTION_REBINDING, (uint32_t)((uint64_t)scope->lease_s * 7 / 8));
    add_configuration(&answer, scope, request->wants_routes);
    return send_answer(&answer, request, scope, answer_to(request, address), reply);
}

static size_t answer_nak(const struct request *request, const struct dhcp_scope *scope, uint8_t *reply)
{
    struct answer answer;
    start_answer(&answer, request, scope, NAK);
    return send_answer(&answer, request, scope, 0, reply);
}

static size_t handle_inform(const struct request *request, const struct dhcp_scope *scope, uint8_t *reply)
{
    struct answer answer;
    if (!request->ciaddr)
        return 0;
    start_answer(&answer, request, scope, ACK);
    memcpy(answer.bytes + AT_CIADDR, request->header + AT_CIADDR, 4);
    add_configuration(&answer, scope, request->wants_routes);
    return send_answer(&answer, request, scope, request->ciaddr, reply);
}

/* Lower case letters, digits and hyphens of what the guest calls itself, up to the first dot. */
static void keep_hostname(struct lease *lease, const struct request *request)
{
    size_t length = 0;
    for (unsigned i = 0; i < request->hostname_size && length + 1 < sizeof(lease->hostname); i++) {
        char c = (char)request->hostname[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c + 'a' - 'A');
        if (c == '.')
            break;
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c == '-' && length > 0))
            lease->hostname[length++] = c;
    }
    lease->hostname[length] = '\0';
}

static size_t handle_discover(struct dhcp *dhcp, const struct dhcp_scope *scope,
                              const struct request *request, int64_t now_s, uint8_t *reply)
{
    uint32_t address = dhcp_choose(dhcp, scope, &request->client, request->requested, now_s);
    struct lease *lease = address ? dhcp_lease_of(dhcp, scope, address) : NULL;
    if (!lease)
        return 0;
    /* A client that asks again keeps the lease it has until the new one is acknowledged. */
    bool bound =
        lease->state == LEASE_BOUND && lease->expires_s > now_s && dhcp_lease_is_of(lease, &request->client);
    if (!bound)
        dhcp_lease_take(lease, &request->client, LEASE_OFFERED, now_s + DHCP_OFFER_S);
    return answer_lease(request, scope, OFFER, address, reply);
}

static size_t handle_request(struct dhcp *dhcp, const struct dhcp_scope *scope, const struct request *request,
                             int64_t now_s, uint8_t *reply, bool *changed)
{
    if (request->server && request->server != dhcp_ipv4(scope->server))
        return 0; /* took another server's offer; ours lapses */
    uint32_t address = request->requested ? request->requested : request->ciaddr;
    bool allowed = address && dhcp_may_have(dhcp, scope, &request->client, address, now_s) &&
                   dhcp_choose(dhcp, scope, &request->client, address, now_s) == address;
    struct lease *lease = allowed ? dhcp_lease_of(dhcp, scope, address) : NULL;
    if (!lease)
        return answer_nak(request, scope, reply);
    dhcp_lease_take(lease, &request->client, LEASE_BOUND, now_s + scope->lease_s);
    if (request->hostname_size)
        keep_hostname(lease, request);
    *changed = true;
    return answer_lease(request, scope, ACK, address, reply);
}

/* The client's own lease of the address that it gives up. */
static void handle_end(struct dhcp *dhcp, const struct dhcp_scope *scope, const struct request *request,
                       int64_t now_s, bool *changed)
{
    bool declined = request->type == DECLINE;
    uint32_t address = declined ? request->requested : request->ciaddr;
    if (!address || !dhcp_may_have(dhcp, scope, &request->client, address, now_s))
        return;
    struct lease *lease = dhcp_lease_of(dhcp, scope, address);
    if (!lease || lease->state == LEASE_NONE || !dhcp_lease_is_of(lease, &request->client))
        return;
    lease->state = declined ? LEASE_DECLINED : LEASE_BOUND;
    lease->expires_s = declined ? now_s + DHCP_DECLINED_S : now_s;
    *changed = true;
}

size_t dhcp_handle(struct dhcp *dhcp, const struct dhcp_scope *scope, uint32_t port, const uint8_t *frame,
                   size_t size, int64_t now_s, uint8_t *reply, bool *changed)
{
    struct datagram datagram;
    struct request request = {.client.port = port};
    *changed = false;
    if (!datagram_parse(frame, size, &datagram) || !address_is_mapped(datagram.source) ||
        datagram.destination_port != PORT_SERVER || datagram.source_port != PORT_CLIENT ||
        !read_request(datagram.payload, datagram.size, &request) || dhcp_fit(dhcp, scope))
        return 0;
    switch (request.type) {
    case DISCOVER:
        return handle_discover(dhcp, scope, &request, now_s, reply);
    case REQUEST:
        return handle_request(dhcp, scope, &request, now_s, reply, changed);
    case INFORM:
        return handle_inform(&request, scope, reply);
    case DECLINE:
    case RELEASE:
        handle_end(dhcp, scope, &request, now_s, changed);
        return 0;
    default:
        return 0;
    }
}
