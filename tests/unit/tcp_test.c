/* SPDX-License-Identifier: BSD-3-Clause */
/* The serving end of TCP against a small client, over a way that loses frames. */
#include "tcp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "datagram.h"
#include "tcp_segment.h"

#define PORT   5u
#define ANSWER 60000u

struct client {
    uint16_t number;             /* TCP port */
    uint32_t next, acknowledged; /* ours */
    uint32_t expected;           /* of the other side */
    bool connected, refused, ended;
    size_t got;
};

static struct {
    struct tcp_server *server;
    struct client clients[TCP_CONNECTIONS_A_GUEST + 2];
    unsigned lose_every, frames; /* each so-manyth frame of either side is lost; 0: none */
    bool answers;
    unsigned asked, ended;
    uint64_t connection; /* that asked, or whose question nobody wants an answer to any more */
    int64_t now_ms;
} world;

static bool lost(void)
{
    return world.lose_every && ++world.frames % world.lose_every == 0;
}

static void client_send(struct client *client, uint32_t from, uint8_t flags, uint32_t sequence,
                        const void *payload, size_t size)
{
    uint8_t frame[DATAGRAM_FRAME_MAX];
    struct tcp_segment segment = {.source_port = client->number,
                                  .destination_port = 53,
                                  .sequence = sequence,
                                  .acknowledgment = client->expected,
                                  .flags = flags,
                                  .window = 20000,
                                  .payload = payload,
                                  .size = size};
    address_map(segment.source, (const uint8_t[4]){10, 0, 1, (uint8_t)from});
    address_map(segment.destination, (const uint8_t[4]){10, 0, 1, 1});
    size = tcp_segment_build(&segment, frame, sizeof(frame));
    assert_true(size > 0);
    if (!lost())
        assert_true(tcp_take(world.server, PORT, from, frame, size, world.now_ms));
}

static void on_send(void *context, uint32_t port, const uint8_t *frame, size_t size)
{
    struct tcp_segment segment;
    assert_int_equal(port, PORT);
    assert_true(tcp_segment_parse(frame, size, &segment));
    struct client *client = &world.clients[segment.destination_port % 100];
    if (lost())
        return;
    client->refused |= (segment.flags & TCP_RST) != 0;
    if (segment.flags & TCP_SYN && !client->connected) {
        client->connected = true;
        client->expected = segment.sequence + 1;
    }
    if (segment.acknowledgment - client->acknowledged <= client->next - client->acknowledged)
        client->acknowledged = segment.acknowledgment;
    if (segment.flags & TCP_SYN || segment.sequence != client->expected)
        return;
    for (size_t i = 0; i < segment.size; i++) {
        size_t place = client->got + i;
        uint8_t wanted = place < 2 ? (uint8_t)(ANSWER >> 8 * (1 - place)) : (uint8_t)(place - 2);
        assert_int_equal(segment.payload[i], wanted);
    }
    client->got += segment.size;
    client->expected += (uint32_t)segment.size + ((segment.flags & TCP_FIN) != 0);
    client->ended |= (segment.flags & TCP_FIN) != 0;
}

static void on_question(void *context, uint64_t connection, uint32_t port, const uint8_t *bytes, size_t size)
{
    static uint8_t answer[ANSWER];
    assert_int_equal(size, 5);
    assert_memory_equal(bytes, "hello", 5);
    for (size_t i = 0; i < sizeof(answer); i++)
        answer[i] = (uint8_t)i;
    world.asked++;
    world.connection = connection;
    if (world.answers)
        tcp_answer(world.server, connection, answer, sizeof(answer), world.now_ms);
}

static void on_ended(void *context, uint64_t connection)
{
    assert_int_equal(connection, world.connection);
    world.ended++;
}

static void on_random(void *context, void *bytes, size_t size)
{
    memset(bytes, 0xff, size); /* numbers that wrap soon */
}

static int start(void **state)
{
    memset(&world, 0, sizeof(world));
    world.server = tcp_server_new(&(struct tcp_callbacks){NULL, on_send, on_question, on_ended, on_random});
    for (unsigned i = 0; i < sizeof(world.clients) / sizeof(world.clients[0]); i++)
        world.clients[i].number = (uint16_t)(1000 + i);
    return world.server ? 0 : -1;
}

static int stop(void **state)
{
    tcp_server_free(world.server);
    return 0;
}

/* A client's retransmission timer, and what it has to say: SYN, question, FIN after the answer. */
static void client_tick(struct client *client)
{
    static const uint8_t question[] = "\0\5hello";
    if (!client->connected) {
        client_send(client, 10, TCP_SYN, 99, NULL, 0);
        client->next = client->acknowledged = 100;
    } else if (client->acknowledged < 107) {
        client->next = 107;
        client_send(client, 10, TCP_ACK | TCP_PSH, 100, question, 7);
    } else if (client->got == ANSWER + 2 && client->acknowledged < 108) {
        client->next = 108;
        client_send(client, 10, TCP_ACK | TCP_FIN, 107, NULL, 0);
    } else {
        client_send(client, 10, TCP_ACK, client->next, NULL, 0);
    }
}

static void long_answer(unsigned lose_every)
{
    struct client *client = &world.clients[0];
    world.answers = true;
    world.lose_every = lose_every;
    for (unsigned i = 0; i < 3000 && !(client->ended && tcp_connections(world.server) == 0); i++) {
        client_tick(client);
        world.now_ms += 50;
        tcp_tick(world.server, world.now_ms);
        assert_false(client->refused && !client->ended);
    }
    assert_true(client->ended);
    assert_int_equal(client->got, ANSWER + 2);
    assert_int_equal(tcp_connections(world.server), 0);
    assert_int_equal(world.ended, 0);
}

static void nothing_is_lost(void **state)
{
    long_answer(0);
}

static void every_third_frame_is_lost(void **state)
{
    long_answer(3);
}

static void a_guest_has_its_share(void **state)
{
    for (unsigned i = 0; i < TCP_CONNECTIONS_A_GUEST + 1; i++)
        client_send(&world.clients[i], 10, TCP_SYN, 99, NULL, 0);
    assert_true(world.clients[TCP_CONNECTIONS_A_GUEST].refused);
    assert_int_equal(tcp_connections(world.server), TCP_CONNECTIONS_A_GUEST);
    client_send(&world.clients[TCP_CONNECTIONS_A_GUEST + 1], 11, TCP_SYN, 99, NULL, 0);
    assert_true(world.clients[TCP_CONNECTIONS_A_GUEST + 1].connected);
    for (unsigned i = 0; i < 200; i++)
        tcp_tick(world.server, world.now_ms += 100);
    assert_int_equal(tcp_connections(world.server), 0); /* nobody went on */
}

/* A full table: who has fewer connections takes the place of who has more. */
static void a_crowd_leaves_a_place(void **state)
{
    unsigned guests = TCP_CONNECTIONS_MAX / TCP_CONNECTIONS_A_GUEST;
    struct client crowd = {0}, *late = world.clients;
    for (unsigned i = 0; i < TCP_CONNECTIONS_MAX; i++) {
        crowd.number = (uint16_t)(1009 + i / guests * 100);
        client_send(&crowd, 20 + i % guests, TCP_SYN, 99, NULL, 0);
    }
    assert_int_equal(tcp_connections(world.server), TCP_CONNECTIONS_MAX);
    for (unsigned i = 0; i < TCP_CONNECTIONS_A_GUEST; i++)
        client_send(&late[i], 10, TCP_SYN, 99, NULL, 0);
    for (unsigned i = 0; i < TCP_CONNECTIONS_A_GUEST; i++)
        assert_int_equal(late[i].refused, i == TCP_CONNECTIONS_A_GUEST - 1); /* as many as the others' */
    assert_int_equal(tcp_connections(world.server), TCP_CONNECTIONS_MAX);
}

/* Whoever looks for an answer can stop. */
static void a_question_ends_with_its_connection(void **state)
{
    struct client *client = &world.clients[0];
    client_send(client, 10, TCP_SYN, 99, NULL, 0);
    client_send(client, 10, TCP_ACK, 100, "\0\5hello", 7);
    assert_int_equal(world.asked, 1);
    assert_int_equal(world.ended, 0);
    client_send(client, 10, TCP_RST, 107, NULL, 0);
    assert_int_equal(world.ended, 1);
    tcp_answer(world.server, world.connection, (const uint8_t *)"no", 2, world.now_ms);
    assert_int_equal(client->got, 0);
}

/* RFC 5961: a stranger who does not know the exact number ends nothing. */
static void a_reset_must_fit(void **state)
{
    struct client *client = &world.clients[0];
    client_send(client, 10, TCP_SYN, 99, NULL, 0);
    client_send(client, 10, TCP_ACK, 100, NULL, 0);
    client_send(client, 10, TCP_RST, 101, NULL, 0);
    client_send(client, 10, TCP_SYN, 5000, NULL, 0);
    assert_int_equal(tcp_connections(world.server), 1);
    client_send(client, 10, TCP_RST, 100, NULL, 0);
    assert_int_equal(tcp_connections(world.server), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_lost, start, stop),
        cmocka_unit_test_setup_teardown(every_third_frame_is_lost, start, stop),
        cmocka_unit_test_setup_teardown(a_guest_has_its_share, start, stop),
        cmocka_unit_test_setup_teardown(a_crowd_leaves_a_place, start, stop),
        cmocka_unit_test_setup_teardown(a_question_ends_with_its_connection, start, stop),
        cmocka_unit_test_setup_teardown(a_reset_must_fit, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
