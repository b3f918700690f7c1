/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What guests send to the controller: DHCP requests, DNS queries, router solicitations. Input: a row of
 * messages, each a byte of kind, a byte of port, two bytes of size (little endian), then its bytes: a frame,
 * or (kinds 2 and 3) a UDP payload that is put into a frame here so that mutations reach the protocol.
 */
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "datagram.h"
#include "dhcp.h"
#include "dns.h"
#include "ra.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct dhcp_reservation reservation = {.port = 7, .address = {10, 0, 1, 10}};
static const struct dhcp_scope scope = {
    .server = {10, 0, 1, 1},
    .server_mac = {2, 0, 0, 0, 0, 1},
    .network = {10, 0, 1, 0},
    .prefix_length = 24,
    .first = {10, 0, 1, 2},
    .last = {10, 0, 1, 30},
    .router = {10, 0, 1, 1},
    .mtu = 1500,
    .lease_s = 3600,
    .reservations = &reservation,
    .reservation_count = 1,
};

static int addresses(void *context, uint32_t port, const char *name, bool ipv6, uint8_t found[][16],
                     unsigned max)
{
    if (strcmp(name, "vm1") != 0)
        return strlen(name) % 3 ? -1 : -2;
    for (unsigned i = 0; i < max; i++)
        memset(found[i], (int)i, 16);
    return (int)max;
}

static bool name_of(void *context, uint32_t port, const uint8_t address[16], char *name, size_t size)
{
    snprintf(name, size, "vm%u.acme.internal", address[15]);
    return address[12] == 10;
}

static size_t in_frame(const uint8_t *payload, size_t size, uint16_t source, uint16_t destination,
                       uint8_t *frame)
{
    struct datagram datagram = {
        .source_port = source, .destination_port = destination, .payload = payload, .size = size};
    memset(datagram.source_mac, 2, 6);
    address_map(datagram.source, (const uint8_t[4]){0});
    address_map(datagram.destination, scope.server);
    return datagram_build(&datagram, frame, DATAGRAM_FRAME_MAX);
}

/* An address that is handed out is reserved for the port, or of the pool. */
static void check_dhcp(const uint8_t *reply, size_t size, uint32_t port)
{
    struct datagram datagram;
    CHECK(datagram_parse(reply, size, &datagram) && datagram.size >= 300);
    const uint8_t *address = datagram.payload + 16;
    if (address[0] == 0)
        return;
    CHECK(memcmp(address, scope.network, 3) == 0);
    CHECK(address[3] == 10 ? port == reservation.port : address[3] >= 2 && address[3] <= 30);
}

static void one(struct dhcp *dhcp, uint8_t kind, uint32_t port, const uint8_t *bytes, size_t size)
{
    const struct dns_names names = {.addresses = addresses, .name = name_of};
    uint8_t frame[DATAGRAM_FRAME_MAX], reply[DATAGRAM_FRAME_MAX], answer[DNS_MESSAGE_MAX], mac[6],
        address[16];
    size_t frame_size = size < sizeof(frame) ? size : sizeof(frame), answer_size = 0;
    bool changed;
    memcpy(frame, bytes, frame_size);
    if (kind == 2 || kind == 3) {
        frame_size = in_frame(bytes, size, 68, kind == 2 ? 67 : 53, frame);
    }
    size_t reply_size = dhcp_handle(dhcp, &scope, port, frame, frame_size, 1000, reply, &changed);
    if (reply_size)
        check_dhcp(reply, reply_size, port);
    if (ra_solicitation(frame, frame_size, mac, address)) {
        const struct ra_scope router = {.prefix_length = 64, .mtu = 1500, .dns = true};
        size_t made = ra_advertise(&router, mac, address, frame);
        CHECK(made > 0 && made <= RA_FRAME_MAX);
    }
    struct datagram datagram;
    if (datagram_parse(frame, frame_size, &datagram) &&
        dns_query(&names, port, datagram.payload, datagram.size, answer, &answer_size) == DNS_ANSWER) {
        CHECK(answer_size >= 12 && answer_size <= sizeof(answer));
        CHECK(dns_matches(datagram.payload, datagram.size, answer, answer_size));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dhcp *dhcp = dhcp_new(), *again = dhcp_new();
    CHECK(dhcp && again);
    while (size >= 4) {
        size_t message = (size_t)data[2] | (size_t)data[3] << 8;
        if (message > size - 4)
            message = size - 4;
        /* of exactly its size, so that a read beyond is seen */
        uint8_t *copy = malloc(message ? message : 1);
        CHECK(copy);
        memcpy(copy, data + 4, message);
        one(dhcp, data[0] & 3, data[1], copy, message);
        free(copy);
        data += 4 + message;
        size -= 4 + message;
    }
    json_t *saved = dhcp_save(dhcp, 1000);
    dhcp_load(again, saved);
    json_t *second = dhcp_save(again, 1000);
    CHECK(json_equal(saved, second));
    json_decref(saved);
    json_decref(second);
    dhcp_free(dhcp);
    dhcp_free(again);
    return 0;
}
