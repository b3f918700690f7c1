/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What guests send to the serving end of TCP (control/tcp.c). Input: a row of steps of six bytes each, a byte
 * of kind, flags, two bytes each of offsets from the expected sequence and acknowledgment numbers; then, for
 * kind 7, the rest is one frame as it is.
 *
 * Checked: every frame that comes out is a segment with right checksums; the bytes that a guest is sent at a
 * place in the stream are those of the answers there; the table keeps to its limits.
 */
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "datagram.h"
#include "tcp.h"
#include "tcp_segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PORT   5u
#define GUESTS 3u

static const uint8_t gateway[4] = {10, 0, 1, 1};

/* One connection as a guest sees it; ports tell them apart. */
struct guest {
    bool open;
    uint32_t first, next, expected; /* of the other side's SYN; ours; what we expect */
    uint64_t question;
    bool asked;
    size_t said; /* bytes of all answers, with their lengths */
};

struct world {
    struct tcp_server *server;
    struct guest guests[GUESTS];
    int64_t now_ms;
};

/* What stands at this place of a stream is known from the place alone. */
static uint8_t pattern(size_t place)
{
    return (uint8_t)(place * 7 + (place >> 8));
}

static bool checksum_good(const uint8_t *frame, size_t size)
{
    bool mapped = frame[12] == 8;
    const uint8_t *ip = frame + 14, *tcp = ip + (mapped ? 20 : 40);
    size_t tcp_size = (size_t)(frame + size - tcp);
    uint64_t sum = internet_sum(6 + tcp_size, ip + (mapped ? 12 : 8), mapped ? 8 : 32);
    return internet_fold(internet_sum(sum, tcp, tcp_size)) == 0 &&
           (!mapped || internet_fold(internet_sum(0, ip, 20)) == 0);
}

static void on_send(void *context, uint32_t port, const uint8_t *frame, size_t size)
{
    struct world *world = context;
    struct tcp_segment segment;
    CHECK(port == PORT && tcp_segment_parse(frame, size, &segment) && checksum_good(frame, size));
    struct guest *guest = &world->guests[segment.destination_port % GUESTS];
    if (segment.flags & TCP_SYN) {
        CHECK(segment.mss && segment.size == 0);
        guest->open = true;
        guest->first = segment.sequence;
        guest->expected = segment.sequence + 1;
        guest->said = 0;
        guest->asked = false;
        return;
    }
    size_t place = segment.sequence - guest->first - 1;
    for (size_t i = 0; i < segment.size; i++)
        CHECK(place + i < guest->said && segment.payload[i] == pattern(place + i));
    if (segment.sequence == guest->expected)
        guest->expected += (uint32_t)segment.size + ((segment.flags & TCP_FIN) != 0);
}

static void on_question(void *context, uint64_t connection, uint32_t port, const uint8_t *bytes, size_t size)
{
    struct world *world = context;
    CHECK(port == PORT && size > 0 && size <= TCP_QUESTION_MAX);
    struct guest *guest = &world->guests[bytes[0] % GUESTS];
    guest->question = connection;
    guest->asked = true;
}

static void on_ended(void *context, uint64_t connection)
{
    struct world *world = context;
    for (unsigned i = 0; i < GUESTS; i++)
        world->guests[i].asked &= world->guests[i].question != connection;
}

static void on_random(void *context, void *bytes, size_t size)
{
    memset(bytes, 0xff, size); /* close to the wrap */
}

/* The answer's length and bytes are what pattern() wants at their places, so its size follows. */
static void answer(struct world *world, struct guest *guest)
{
    static uint8_t bytes[TCP_ANSWER_MAX];
    size_t size = (size_t)pattern(guest->said) << 8 | pattern(guest->said + 1);
    if (!guest->asked)
        return;
    guest->asked = false;
    for (size_t i = 0; i < size; i++)
        bytes[i] = pattern(guest->said + 2 + i);
    guest->said += size ? 2 + size : 0;
    tcp_answer(world->server, guest->question, bytes, size, world->now_ms);
}

static void segment_from(struct world *world, unsigned index, uint8_t flags, const uint8_t *offsets)
{
    struct guest *guest = &world->guests[index];
    uint8_t frame[DATAGRAM_FRAME_MAX], payload[600];
    size_t size = flags & 0x40 ? offsets[1] : flags & 0x80 ? 500 : 0;
    memset(payload, (int)index, sizeof(payload));
    payload[0] = 0;
    payload[1] = 200; /* a question */
    struct tcp_segment segment = {.source_port = (uint16_t)(3 * 100 + index),
                                  .destination_port = 53,
                                  .sequence = guest->next + (uint32_t)(int8_t)offsets[0],
                                  .acknowledgment =
                                      guest->expected + (uint32_t)(int16_t)(offsets[2] << 8 | offsets[3]),
                                  .flags = flags & 0x1f,
                                  .window = (uint16_t)(offsets[1] << 6),
                                  .mss = flags & TCP_SYN ? 100 : 0,
                                  .payload = payload,
                                  .size = size};
    address_map(segment.source, (const uint8_t[4]){10, 0, 1, (uint8_t)(10 + index)});
    address_map(segment.destination, gateway);
    if (offsets[0] == 0)
        guest->next += (uint32_t)size + ((flags & (TCP_SYN | TCP_FIN)) != 0);
    size = tcp_segment_build(&segment, frame, sizeof(frame));
    CHECK(size && tcp_take(world->server, PORT, index, frame, size, world->now_ms));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world world = {0};
    world.server = tcp_server_new(&(struct tcp_callbacks){&world, on_send, on_question, on_ended, on_random});
    CHECK(world.server);
    for (; size >= 6; data += 6, size -= 6) {
        unsigned index = data[0] / 8 % GUESTS;
        switch (data[0] & 7) {
        case 5:
            world.now_ms += data[1] * 16;
            tcp_tick(world.server, world.now_ms);
            break;
        case 6:
            answer(&world, &world.guests[index]);
            break;
        case 7: {
            uint8_t *copy = malloc(size); /* of exactly its size, so that a read beyond is seen */
            CHECK(copy);
            memcpy(copy, data, size);
            tcp_take(world.server, PORT, 9, copy + 1, size - 1, world.now_ms);
            free(copy);
            size = 6;
            break;
        }
        default:
            segment_from(&world, index, data[1], data + 2);
        }
        CHECK(tcp_connections(world.server) <= TCP_CONNECTIONS_MAX);
    }
    tcp_server_free(world.server);
    return 0;
}
