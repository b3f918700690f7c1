/* SPDX-License-Identifier: BSD-3-Clause */
/* A client's messages, byte by byte, and the server's answers read by another hand. */
#include "dhcp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "datagram.h"

enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM };

static const struct dhcp_reservation reservations[] = {{.port = 7, .address = {10, 0, 1, 10}}};
static const struct dhcp_scope scope = {
    .server = {10, 0, 1, 1},
    .server_mac = {2, 0, 0, 0, 0, 1},
    .network = {10, 0, 1, 0},
    .prefix_length = 24,
    .first = {10, 0, 1, 2},
    .last = {10, 0, 1, 30},
    .router = {10, 0, 1, 1},
    .dns = {{10, 0, 1, 1}},
    .dns_count = 1,
    .mtu = 1450,
    .lease_s = 3600,
    .domain = "acme",
    .reservations = reservations,
    .reservation_count = 1,
};

struct client {
    struct dhcp *dhcp;
    uint32_t port;
    uint8_t mac[6];
    int64_t now;
    bool changed;
    /* the last answer */
    uint8_t reply[DATAGRAM_FRAME_MAX];
    struct datagram datagram;
    uint8_t type;
    uint8_t yours[4];
};

/* The value of an option of the answer; NULL: not there. */
static const uint8_t *option(const struct client *client, uint8_t code, size_t *size)
{
    const uint8_t *at = client->datagram.payload + 240,
                  *end = client->datagram.payload + client->datagram.size;
    while (at < end && *at != 255) {
        if (*at == 0) {
            at++;
            continue;
        }
        assert_true(end - at >= 2 && end - at >= 2 + at[1]);
        if (*at == code) {
            *size = at[1];
            return at + 2;
        }
        at += 2 + at[1];
    }
    return NULL;
}

/* options: code, size, bytes ... 255 */
static uint8_t ask(struct client *client, uint8_t type, const uint8_t ciaddr[4], const uint8_t *options,
                   size_t options_size)
{
    uint8_t message[512] = {1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef}, frame[DATAGRAM_FRAME_MAX];
    static const uint8_t zero[4], all[4] = {255, 255, 255, 255};
    size_t size = 240;
    if (ciaddr)
        memcpy(message + 12, ciaddr, 4);
    memcpy(message + 28, client->mac, 6);
    memcpy(message + 236, "\x63\x82\x53\x63\x35\x01", 6);
    message[242] = type;
    size = 243;
    if (options_size)
        memcpy(message + size, options, options_size);
    size += options_size;
    message[size++] = 255;
    struct datagram query = {.source_port = 68, .destination_port = 67, .payload = message, .size = size};
    memcpy(query.source_mac, client->mac, 6);
    memset(query.destination_mac, 0xff, 6);
    address_map(query.source, ciaddr ? ciaddr : zero);
    address_map(query.destination, all);
    size = datagram_build(&query, frame, sizeof(frame));
    assert_true(size > 0);
    size = dhcp_handle(client->dhcp, &scope, client->port, frame, size, client->now, client->reply,
                       &client->changed);
    client->type = 0;
    if (!size)
        return 0;
    assert_true(datagram_parse(client->reply, size, &client->datagram));
    assert_int_equal(client->datagram.source_port, 67);
    assert_int_equal(client->datagram.destination_port, 68);
    assert_true(client->datagram.size >= 300);
    assert_memory_equal(client->datagram.payload + 4, "\xde\xad\xbe\xef", 4);
    const uint8_t *value = option(client, 53, &size);
    assert_non_null(value);
    memcpy(client->yours, client->datagram.payload + 16, 4);
    return client->type = value[0];
}

static uint8_t ask_for(struct client *client, uint8_t type, const uint8_t address[4], bool with_server)
{
    uint8_t options[16] = {50, 4};
    memcpy(options + 2, address, 4);
    memcpy(options + 6, "\x36\x04\x0a\x00\x01\x01", 6);
    return ask(client, type, NULL, options, with_server ? 12 : 6);
}

static uint8_t lease(struct client *client)
{
    uint8_t offered[4];
    if (ask(client, DISCOVER, NULL, NULL, 0) != OFFER)
        return 0;
    memcpy(offered, client->yours, 4);
    return ask_for(client, REQUEST, offered, true);
}

static struct client client_new(struct dhcp *dhcp, uint32_t port, uint8_t last)
{
    return (struct client){.dhcp = dhcp, .port = port, .mac = {0x52, 0x54, 0, 0, 0, last}, .now = 1000};
}

static void test_lease_and_options(void **state)
{
    struct dhcp *dhcp = dhcp_new();
    struct client client = client_new(dhcp, 3, 3);
    size_t size;
    assert_int_equal(lease(&client), ACK);
    assert_true(client.changed);
    assert_memory_equal(client.yours, ((uint8_t[]){10, 0, 1}), 3);
    assert_true(client.yours[3] >= 2 && client.yours[3] <= 30 && client.yours[3] != 10);
    assert_memory_equal(option(&client, 1, &size), ((uint8_t[]){255, 255, 255, 0}), 4);
    assert_memory_equal(option(&client, 3, &size), scope.router, 4);
    assert_memory_equal(option(&client, 6, &size), scope.dns[0], 4);
    assert_memory_equal(option(&client, 26, &size), ((uint8_t[]){1450 >> 8, 1450 & 255}), 2);
    assert_memory_equal(option(&client, 51, &size), ((uint8_t[]){0, 0, 14, 16}), 4);
    assert_memory_equal(option(&client, 54, &size), scope.server, 4);
    assert_memory_equal(option(&client, 15, &size), "acme", 4);
    assert_null(option(&client, 121, &size)); /* not asked for */
    assert_memory_equal(client.datagram.destination_mac, client.mac, 6);
    /* the same address again, also after it expired */
    uint8_t first[4];
    memcpy(first, client.yours, 4);
    client.now += 100000;
    assert_int_equal(lease(&client), ACK);
    assert_memory_equal(client.yours, first, 4);
    dhcp_free(dhcp);
}

static void test_classless_routes(void **state)
{
    struct dhcp *dhcp = dhcp_new();
    struct client client = client_new(dhcp, 3, 3);
    size_t size;
    assert_int_equal(ask(&client, DISCOVER, NULL, (const uint8_t[]){55, 2, 1, 121}, 4), OFFER);
    const uint8_t *routes = option(&client, 121, &size);
    assert_non_null(routes);
    assert_int_equal(size, 5);
    assert_memory_equal(routes, ((uint8_t[]){0, 10, 0, 1, 1}), 5);
    dhcp_free(dhcp);
}

static void test_reservation_is_the_ports(void **state)
{
    struct dhcp *dhcp = dhcp_new();
    struct client owner = client_new(dhcp, 7, 7), thief = client_new(dhcp, 8, 7);
    assert_int_equal(ask_for(&thief, REQUEST, reservations[0].address, false), NAK);
    assert_int_equal(lease(&owner), ACK);
    assert_memory_equal(owner.yours, reservations[0].address, 4);
    owner.mac[5] = 99; /* another NIC at the same port */
    assert_int_equal(lease(&owner), ACK);
    assert_memory_equal(owner.yours, reservations[0].address, 4);
    /* the same MAC at another port is another client */
    assert_int_equal(lease(&thief), ACK);
    assert_int_not_equal(thief.yours[3], 10);
    dhcp_free(dhcp);
}

static void test_renew_reboot_release(void **state)
{
    struct dhcp *dhcp = dhcp_new();
    struct client client = client_new(dhcp, 3, 3), other = client_new(dhcp, 4, 4);
    uint8_t own[4];
    assert_int_equal(lease(&client), ACK);
    memcpy(own, client.yours, 4);
    assert_int_equal(ask(&client, REQUEST, own, NULL, 0), ACK); /* renewing */
    assert_memory_equal(client.datagram.destination + 12, own, 4);
    assert_int_equal(ask_for(&client, REQUEST, own, false), ACK);                               /* reboot */
    assert_int_equal(ask_for(&client, REQUEST, (const uint8_t[]){192, 168, 0, 9}, false), NAK); /* moved */
    assert_int_equal(ask_for(&other, REQUEST, own, false), NAK);
    assert_int_equal(ask(&other, RELEASE, own, NULL, 0), 0); /* not its own */
    assert_false(other.changed);
    assert_int_equal(ask(&client, RELEASE, own, NULL, 0), 0);
    assert_true(client.changed);
    assert_int_equal(ask_for(&other, REQUEST, own, false), ACK);
    dhcp_free(dhcp);
}

static void test_other_servers_and_inform(void **state)
{
    struct dhcp *dhcp = dhcp_new();
    struct client client = client_new(dhcp, 3, 3);
    size_t size;
    assert_int_equal(
        ask(&client, REQUEST, NULL, (const uint8_t[]){50, 4, 10, 0, 1, 5, 54, 4, 10, 0, 1, 200}, 12), 0);
    assert_int_equal(ask(&client, INFORM, (const uint8_t[]){10, 0, 1, 77}, NULL, 0), ACK);
    assert_null(option(&client, 51, &size));
    assert_memory_equal(client.yours, "\0\0\0", 4);
    dhcp_free(dhcp);
}

/* One guest with ever new addresses cannot take the pool. */
static void test_starvation(void **state)
{
    struct dhcp *dhcp = dhcp_new();
    struct client hog = client_new(dhcp, 3, 0), other = client_new(dhcp, 4, 4);
    unsigned got = 0;
    for (unsigned i = 0; i < 64; i++) {
        hog.mac[5] = (uint8_t)i;
        bool leased = lease(&hog) == ACK;
        got += leased;
        if (leased && i % 2) /* and declines every other one */
            ask_for(&hog, DECLINE, hog.yours, true);
    }
    assert_int_equal(got, DHCP_LEASES_PER_PORT);
    assert_int_equal(lease(&other), ACK);
    dhcp_free(dhcp);
}

static void test_pool_exhausted(void **state)
{
    struct dhcp *dhcp = dhcp_new();
    unsigned got = 0;
    for (uint32_t port = 100; port < 140; port++) {
        struct client client = client_new(dhcp, port, (uint8_t)port);
        got += lease(&client) == ACK;
    }
    assert_int_equal(got, 28); /* .2 to .30 without the reserved one */
    dhcp_free(dhcp);
}

static bool port_exists(void *context, uint32_t port)
{
    return port == *(uint32_t *)context;
}

static void test_save_load_prune(void **state)
{
    struct dhcp *dhcp = dhcp_new(), *again = dhcp_new();
    struct client a = client_new(dhcp, 3, 3), b = client_new(dhcp, 4, 4);
    uint32_t alive = 4;
    uint8_t address[4];
    struct dhcp_lease found;
    assert_int_equal(lease(&a), ACK);
    assert_int_equal(lease(&b), ACK);
    json_t *saved = dhcp_save(dhcp, 1000);
    dhcp_load(again, saved);
    json_decref(saved);
    uint32_t cursor = 0;
    assert_true(dhcp_lease_next(again, &cursor, 1000, &found));
    assert_true(dhcp_lease_next(again, &cursor, 1000, &found));
    assert_false(dhcp_lease_next(again, &cursor, 1000, &found));
    cursor = 0;
    assert_false(dhcp_lease_next(again, &cursor, 1000 + 3600, &found)); /* expired */
    dhcp_prune(again, &scope, port_exists, &alive);
    assert_false(dhcp_address_of_port(again, 3, 1000, address));
    assert_true(dhcp_address_of_port(again, 4, 1000, address));
    assert_memory_equal(address, b.yours, 4);
    dhcp_free(dhcp);
    dhcp_free(again);
}

static void test_hostname(void **state)
{
    struct dhcp *dhcp = dhcp_new();
    struct client client = client_new(dhcp, 3, 3);
    struct dhcp_lease found;
    assert_int_equal(ask(&client, DISCOVER, NULL, NULL, 0), OFFER);
    uint8_t options[] = {50, 4, 0, 0, 0, 0, 12, 9, '-', 'W', 'e', 0x1b, 'b', '1', '.', 'x', 'y'};
    memcpy(options + 2, client.yours, 4);
    assert_int_equal(ask(&client, REQUEST, NULL, options, sizeof(options)), ACK);
    uint32_t cursor = 0;
    assert_true(dhcp_lease_next(dhcp, &cursor, 1000, &found));
    assert_string_equal(found.hostname, "web1");
    dhcp_free(dhcp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lease_and_options),
        cmocka_unit_test(test_classless_routes),
        cmocka_unit_test(test_reservation_is_the_ports),
        cmocka_unit_test(test_renew_reboot_release),
        cmocka_unit_test(test_other_servers_and_inform),
        cmocka_unit_test(test_starvation),
        cmocka_unit_test(test_pool_exhausted),
        cmocka_unit_test(test_save_load_prune),
        cmocka_unit_test(test_hostname),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
