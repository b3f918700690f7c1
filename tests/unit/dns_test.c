/* SPDX-License-Identifier: BSD-3-Clause */
/* Local names, and the forwarder against a resolver of the test's on loopback. */
#include "dns.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <resolv.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "datagram.h"

static int addresses(void *context, uint32_t port, const char *name, bool ipv6, uint8_t found[][16],
                     unsigned max)
{
    if (strcmp(name, "vm1.acme.internal") == 0 && port == 5) {
        if (!ipv6)
            address_map(found[0], (const uint8_t[4]){10, 0, 1, 10});
        return !ipv6;
    }
    return strstr(name, "acme.internal") ? -2 : -1;
}

static bool name_of(void *context, uint32_t port, const uint8_t address[16], char *name, size_t size)
{
    snprintf(name, size, "vm1.acme.internal");
    return address[12] == 10 && address[15] == 10;
}

static const struct dns_names names = {.addresses = addresses, .name = name_of};

static size_t make_query(const char *name, unsigned type, uint8_t *query)
{
    uint8_t *at = query + 12;
    memcpy(query, "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
    while (*name) {
        size_t length = strcspn(name, ".");
        *at++ = (uint8_t)length;
        memcpy(at, name, length);
        at += length;
        name += length + (name[length] == '.');
    }
    memcpy(at, "\0\0\0\0\1", 5);
    at[2] = (uint8_t)type;
    return (size_t)(at + 5 - query);
}

/* The verdict, and the answer read by libc. */
static enum dns_verdict ask(const char *name, unsigned type, ns_msg *message)
{
    static uint8_t answer[DNS_MESSAGE_MAX];
    uint8_t query[512];
    size_t answer_size = 0, size = make_query(name, type, query);
    enum dns_verdict verdict = dns_query(&names, 5, query, size, answer, &answer_size);
    memset(message, 0, sizeof(*message));
    if (verdict == DNS_ANSWER) {
        assert_int_equal(ns_initparse(answer, (int)answer_size, message), 0);
        assert_int_equal(ns_msg_id(*message), 0x1234);
        assert_true(dns_matches(query, size, answer, answer_size));
    }
    return verdict;
}

static void test_names(void **state)
{
    ns_msg message;
    ns_rr record = {0};
    char text[NS_MAXDNAME];
    assert_int_equal(ask("VM1.acme.internal", ns_t_a, &message), DNS_ANSWER);
    assert_int_equal(ns_msg_count(message, ns_s_an), 1);
    assert_int_equal(ns_parserr(&message, ns_s_an, 0, &record), 0);
    assert_memory_equal(ns_rr_rdata(record), ((uint8_t[]){10, 0, 1, 10}), 4);
    assert_int_equal(ask("vm1.acme.internal", ns_t_aaaa, &message), DNS_ANSWER);
    assert_int_equal(ns_msg_count(message, ns_s_an), 0);
    assert_int_equal(ns_msg_getflag(message, ns_f_rcode), ns_r_noerror);
    assert_int_equal(ask("vm1.acme.internal", ns_t_mx, &message), DNS_ANSWER);
    assert_int_equal(ns_msg_count(message, ns_s_an), 0);
    assert_int_equal(ask("vm9.acme.internal", ns_t_a, &message), DNS_ANSWER);
    assert_int_equal(ns_msg_getflag(message, ns_f_rcode), ns_r_nxdomain);
    assert_int_equal(ask("10.1.0.10.in-addr.arpa", ns_t_ptr, &message), DNS_ANSWER);
    assert_int_equal(ns_parserr(&message, ns_s_an, 0, &record), 0);
    assert_true(
        dn_expand(ns_msg_base(message), ns_msg_end(message), ns_rr_rdata(record), text, sizeof(text)) > 0);
    assert_string_equal(text, "vm1.acme.internal");
    assert_int_equal(ask("example.org", ns_t_a, &message), DNS_FORWARD);
    assert_int_equal(ask("9.9.9.9.in-addr.arpa", ns_t_ptr, &message), DNS_FORWARD);
}

static void test_no_queries(void **state)
{
    uint8_t query[512], answer[DNS_MESSAGE_MAX];
    size_t answer_size, size = make_query("example.org", ns_t_a, query);
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(dns_query(&names, 5, query, cut, answer, &answer_size), DNS_IGNORE);
    query[5] = 2; /* two questions */
    assert_int_equal(dns_query(&names, 5, query, size, answer, &answer_size), DNS_IGNORE);
    query[5] = 1;
    query[2] = 0x80; /* an answer */
    assert_int_equal(dns_query(&names, 5, query, size, answer, &answer_size), DNS_IGNORE);
}

struct forwarding {
    struct event_base *base;
    struct dns_forwarder *forwarder;
    unsigned answers;
    uint8_t answer[DNS_MESSAGE_MAX];
    size_t size;
};

static void on_answer(void *context, const struct dns_client *client, const uint8_t *message, size_t size)
{
    struct forwarding *forwarding = context;
    assert_int_equal(client->udp_port, 4242);
    forwarding->answers++;
    memcpy(forwarding->answer, message, size);
    forwarding->size = size;
}

static void on_resolver(evutil_socket_t fd, short what, void *context)
{
    uint8_t message[4096];
    struct sockaddr_in from;
    socklen_t from_size = sizeof(from);
    ssize_t size = recvfrom(fd, message, sizeof(message), 0, (struct sockaddr *)&from, &from_size);
    assert_true(size > 12);
    message[2] |= 0x80;
    message[0] ^= 1; /* a wrong id first: must not be taken */
    sendto(fd, message, (size_t)size, 0, (struct sockaddr *)&from, from_size);
    message[0] ^= 1;
    size_t extra = 0;
    if (context) { /* too large for a frame: an additional record of 2,000 bytes */
        memcpy(message + size, "\0\0\x10\0\1\0\0\0\0\x07\xd0", 11);
        memset(message + size + 11, 0, 2000);
        message[11] = 1;
        extra = 2011;
    }
    sendto(fd, message, (size_t)size + extra, 0, (struct sockaddr *)&from, from_size);
}

/* Two resolvers: the first refuses. `big`: the answer is too large. */
static void forward_once(struct forwarding *forwarding, bool big)
{
    char path[] = "/tmp/weft-dns-test-XXXXXX";
    int file = mkstemp(path), fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(53)};
    const struct dns_client client = {.from = 3, .udp_port = 4242};
    uint8_t query[512];
    size_t size = make_query("example.org", ns_t_a, query);
    inet_pton(AF_INET, "127.83.19.7", &own.sin_addr);
    if (bind(fd, (struct sockaddr *)&own, sizeof(own)) != 0) {
        print_message("skipped: port 53 of 127.83.19.7 cannot be had here\n");
        close(fd);
        close(file);
        unlink(path);
        skip();
    }
    dprintf(file, "# test\nnameserver 127.83.19.8\nnameserver 127.83.19.7\n");
    close(file);
    forwarding->base = event_base_new();
    forwarding->forwarder = dns_forwarder_new(forwarding->base, path, on_answer, forwarding);
    struct event *resolver =
        event_new(forwarding->base, fd, EV_READ | EV_PERSIST, on_resolver, big ? forwarding : NULL);
    event_add(resolver, NULL);
    dns_forward(forwarding->forwarder, &client, query, size);
    while (!forwarding->answers)
        event_base_loop(forwarding->base, EVLOOP_ONCE);
    assert_memory_equal(forwarding->answer, "\x12\x34", 2);
    event_free(resolver);
    dns_forwarder_free(forwarding->forwarder);
    event_base_free(forwarding->base);
    close(fd);
    unlink(path);
}

static void test_forward(void **state)
{
    struct forwarding forwarding = {0};
    forward_once(&forwarding, false);
    assert_int_equal(forwarding.answer[3] & 15, ns_r_noerror);
    assert_int_equal(forwarding.answers, 1);
}

static void test_forward_truncates(void **state)
{
    struct forwarding forwarding = {0};
    forward_once(&forwarding, true);
    assert_true(forwarding.answer[2] & 2);
    assert_true(forwarding.size < 64);
}

static void test_forward_nobody(void **state)
{
    struct forwarding forwarding = {.base = event_base_new()};
    const struct dns_client client = {.from = 3, .udp_port = 4242};
    uint8_t query[512];
    size_t size = make_query("example.org", ns_t_a, query);
    forwarding.forwarder = dns_forwarder_new(forwarding.base, "/nonexistent", on_answer, &forwarding);
    dns_forward(forwarding.forwarder, &client, query, size);
    assert_int_equal(forwarding.answers, 1);
    assert_int_equal(forwarding.answer[3] & 15, ns_r_servfail);
    dns_forwarder_free(forwarding.forwarder);
    event_base_free(forwarding.base);
}

/* Resolvers that nobody is at; `answers` counts those to a tenant. */
struct crowd {
    struct event_base *base;
    struct dns_forwarder *forwarder;
    unsigned answers[4];
    char path[32];
};

static void on_crowd_answer(void *context, const struct dns_client *client, const uint8_t *message,
                            size_t size)
{
    struct crowd *crowd = context;
    assert_int_equal(message[3] & 15, ns_r_servfail);
    crowd->answers[client->tenant]++;
}

static int crowd_setup(void **state)
{
    struct crowd *crowd = calloc(1, sizeof(*crowd));
    snprintf(crowd->path, sizeof(crowd->path), "/tmp/weft-dns-test-XXXXXX");
    int file = mkstemp(crowd->path);
    dprintf(file, "nameserver 127.83.19.9\n");
    close(file);
    crowd->base = event_base_new();
    crowd->forwarder = dns_forwarder_new(crowd->base, crowd->path, on_crowd_answer, crowd);
    *state = crowd;
    return 0;
}

static int crowd_teardown(void **state)
{
    struct crowd *crowd = *state;
    dns_forwarder_free(crowd->forwarder);
    event_base_free(crowd->base);
    unlink(crowd->path);
    free(crowd);
    return 0;
}

/* Every guest of a row asks; nothing is answered before crowd_answers(). */
static void crowd_ask(struct crowd *crowd, uint32_t tenant, uint32_t first, unsigned guests, unsigned each)
{
    uint8_t query[512];
    size_t size = make_query("example.org", ns_t_a, query);
    for (unsigned i = 0; i < guests * each; i++) {
        const struct dns_client client = {.tenant = tenant, .from = first + i / each, .udp_port = 4242};
        dns_forward(crowd->forwarder, &client, query, size);
    }
}

/* All that are still under way fail. */
static void crowd_answers(struct crowd *crowd)
{
    event_base_loop(crowd->base, 0);
}

/* One tenant's guests have taken all there is: others get their part, and what went is told so at once. */
static void test_forward_is_fair_to_tenants(void **state)
{
    struct crowd *crowd = *state;
    crowd_ask(crowd, 1, 100, 16, 32);
    assert_int_equal(crowd->answers[1], 0);
    crowd_ask(crowd, 2, 200, 4, 32);
    crowd_ask(crowd, 3, 300, 4, 32);
    assert_int_equal(crowd->answers[1], 256);
    crowd_ask(crowd, 1, 120, 20, 32); /* no more of it */
    assert_int_equal(crowd->answers[2] + crowd->answers[3], 0);
    crowd_answers(crowd);
    assert_int_equal(crowd->answers[2], 128);
    assert_int_equal(crowd->answers[3], 128);
}

/* The same among the guests of one tenant. */
static void test_forward_is_fair_to_guests(void **state)
{
    struct crowd *crowd = *state;
    crowd_ask(crowd, 1, 100, 16, 32);
    crowd_ask(crowd, 1, 200, 1, 16);
    assert_int_equal(crowd->answers[1], 16);
    crowd_answers(crowd);
    assert_int_equal(crowd->answers[1], 512 + 16);
    crowd_ask(crowd, 1, 100, 1, 40); /* a guest's own limit */
    crowd_answers(crowd);
    assert_int_equal(crowd->answers[1], 512 + 16 + 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_no_queries),
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_forward_truncates),
        cmocka_unit_test(test_forward_nobody),
        cmocka_unit_test_setup_teardown(test_forward_is_fair_to_tenants, crowd_setup, crowd_teardown),
        cmocka_unit_test_setup_teardown(test_forward_is_fair_to_guests, crowd_setup, crowd_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
