/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. Guests' connections end here (tcp.c). A question about a name of ours is answered like
 * one over UDP; any other is put to the host's resolvers by TCP, over a connection of its own, with an id
 * drawn anew. A resolver that does not answer in TRY_S seconds, or not what was asked, is given up for the
 * next one; after the last the guest is told SERVFAIL. A connection asks one question at a time and takes it
 * along when it ends, so there are never more under way than connections of guests.
 */
#include "dns_tcp.h"

#include <arpa/nameser.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include "clock.h"
#include "tcp.h"

#define TRY_S 2

struct dns_tcp {
    struct event_base *base;
    struct dns_forwarder *forwarder;
    struct dns_tcp_callbacks callbacks;
    struct tcp_server *server;
    struct event *timer;
    struct query *queries;
};

/* A question on its way to a resolver. */
struct query {
    struct dns_tcp *tcp;
    struct query *next;
    struct bufferevent *stream; /* NULL: none yet */
    uint64_t connection;
    unsigned tried;
    uint8_t id[2]; /* the guest's */
    size_t size;
    uint8_t bytes[TCP_QUESTION_MAX]; /* with our id */
};

static void query_close(struct query *query)
{
    if (query->stream)
        bufferevent_free(query->stream);
    free(query);
}

static void query_unlink(const struct query *query)
{
    for (struct query **link = &query->tcp->queries; *link; link = &(*link)->next) {
        if (*link != query)
            continue;
        *link = query->next;
        break;
    }
}

/* The question is done with. */
static void query_answer(struct query *query, const uint8_t *bytes, size_t size)
{
    query_unlink(query); /* so that on_ended does not find it */
    tcp_answer(query->tcp->server, query->connection, bytes, size, clock_ms());
    query_close(query);
}

static void on_ended(void *context, uint64_t connection)
{
    const struct dns_tcp *tcp = context;
    struct query *query = tcp->queries;
    while (query && query->connection != connection)
        query = query->next;
    if (!query)
        return;
    query_unlink(query);
    query_close(query);
}

static void fail(struct query *query)
{
    uint8_t answer[DNS_MESSAGE_MAX];
    memcpy(query->bytes, query->id, sizeof(query->id));
    size_t size = dns_refuse(query->bytes, query->size, ns_r_servfail, false, answer);
    query_answer(query, answer, size);
}

static void try_next(struct query *query);

static void on_readable(struct bufferevent *stream, void *context)
{
    struct query *query = context;
    struct evbuffer *input = bufferevent_get_input(stream);
    uint8_t length[2];
    if (evbuffer_copyout(input, length, sizeof(length)) < 2)
        return;
    size_t size = (size_t)length[0] << 8 | length[1];
    if (evbuffer_get_length(input) < 2 + size)
        return;
    uint8_t *answer = evbuffer_pullup(input, (ev_ssize_t)(2 + size));
    if (!answer || !dns_matches(query->bytes, query->size, answer + 2, size)) {
        try_next(query);
        return;
    }
    memcpy(answer + 2, query->id, sizeof(query->id));
    query_answer(query, answer + 2, size);
}

static void on_event(struct bufferevent *stream, short what, void *context)
{
    (void)stream;
    if (what & (BEV_EVENT_ERROR | BEV_EVENT_EOF | BEV_EVENT_TIMEOUT))
        try_next(context);
}

/* A connection to a resolver, with the question written into it. */
static struct bufferevent *stream_new(struct query *query, struct sockaddr_storage *to)
{
    const struct timeval wait = {TRY_S, 0};
    const uint8_t length[2] = {(uint8_t)(query->size >> 8), (uint8_t)query->size};
    int size = to->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    struct bufferevent *stream = bufferevent_socket_new(query->tcp->base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (!stream)
        return NULL;
    bufferevent_setcb(stream, on_readable, NULL, on_event, query);
    bufferevent_set_timeouts(stream, &wait, &wait);
    bufferevent_setwatermark(stream, EV_READ, 0, 2 + TCP_ANSWER_MAX);
    if (bufferevent_write(stream, length, sizeof(length)) < 0 ||
        bufferevent_write(stream, query->bytes, query->size) < 0 ||
        bufferevent_enable(stream, EV_READ | EV_WRITE) < 0 ||
        bufferevent_socket_connect(stream, (struct sockaddr *)to, size) < 0) {
        bufferevent_free(stream);
        return NULL;
    }
    return stream;
}

static void try_next(struct query *query)
{
    struct sockaddr_storage resolvers[DNS_RESOLVERS_MAX];
    unsigned count = dns_forwarder_resolvers(query->tcp->forwarder, resolvers, DNS_RESOLVERS_MAX);
    if (query->stream)
        bufferevent_free(query->stream);
    query->stream = NULL;
    while (query->tried < count && !query->stream)
        query->stream = stream_new(query, &resolvers[query->tried++]);
    if (!query->stream)
        fail(query);
}

static void forward(struct dns_tcp *tcp, uint64_t connection, const uint8_t *bytes, size_t size)
{
    struct query *query = calloc(1, sizeof(*query));
    if (!query || size < sizeof(query->id) || getrandom(query->bytes, 2, GRND_NONBLOCK) != 2) {
        free(query);
        tcp_answer(tcp->server, connection, NULL, 0, clock_ms());
        return;
    }
    query->tcp = tcp;
    query->next = tcp->queries;
    tcp->queries = query;
    query->connection = connection;
    query->size = size;
    memcpy(query->id, bytes, sizeof(query->id));
    memcpy(query->bytes + 2, bytes + 2, size - 2);
    try_next(query);
}

static void on_question(void *context, uint64_t connection, uint32_t port, const uint8_t *bytes, size_t size)
{
    struct dns_tcp *tcp = context;
    uint8_t answer[DNS_MESSAGE_MAX];
    size_t answer_size = 0;
    enum dns_verdict verdict = DNS_IGNORE;
    if (tcp->callbacks.is_there(tcp->callbacks.context, port))
        verdict = dns_query(&tcp->callbacks.names, port, bytes, size, answer, &answer_size);
    if (verdict == DNS_FORWARD)
        forward(tcp, connection, bytes, size);
    else
        tcp_answer(tcp->server, connection, answer, answer_size, clock_ms());
}

static void on_send(void *context, uint32_t port, const uint8_t *frame, size_t size)
{
    struct dns_tcp *tcp = context;
    if (tcp->callbacks.is_there(tcp->callbacks.context, port))
        tcp->callbacks.send(tcp->callbacks.context, port, frame, size);
}

static void on_random(void *context, void *bytes, size_t size)
{
    if (getrandom(bytes, size, GRND_NONBLOCK) != (ssize_t)size)
        memset(bytes, 0, size); /* the kernel has some once it is up */
}

static void arm(struct dns_tcp *tcp)
{
    const struct timeval tick = {0, TCP_TICK_MS * 1000};
    if (tcp_connections(tcp->server) && !evtimer_pending(tcp->timer, NULL))
        evtimer_add(tcp->timer, &tick);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct dns_tcp *tcp = context;
    (void)fd, (void)what;
    tcp_tick(tcp->server, clock_ms());
    arm(tcp);
}

struct dns_tcp *dns_tcp_new(struct event_base *base, struct dns_forwarder *forwarder,
                            const struct dns_tcp_callbacks *callbacks)
{
    struct dns_tcp *tcp = calloc(1, sizeof(*tcp));
    if (!tcp)
        return NULL;
    tcp->base = base;
    tcp->forwarder = forwarder;
    tcp->callbacks = *callbacks;
    tcp->server = tcp_server_new(&(struct tcp_callbacks){tcp, on_send, on_question, on_ended, on_random});
    tcp->timer = evtimer_new(base, on_timer, tcp);
    if (!tcp->server || !tcp->timer) {
        dns_tcp_free(tcp);
        errno = ENOMEM;
        return NULL;
    }
    return tcp;
}

void dns_tcp_free(struct dns_tcp *tcp)
{
    if (!tcp)
        return;
    for (struct query *query = tcp->queries, *next; query; query = next) {
        next = query->next;
        query_close(query);
    }
    if (tcp->timer)
        event_free(tcp->timer);
    tcp_server_free(tcp->server);
    free(tcp);
}

bool dns_tcp_take(struct dns_tcp *tcp, uint32_t port, uint32_t from, const uint8_t *frame, size_t size)
{
    bool taken = tcp_take(tcp->server, port, from, frame, size, clock_ms());
    arm(tcp);
    return taken;
}

static bool is_gone(void *context, uint32_t port)
{
    const struct dns_tcp *tcp = context;
    return !tcp->callbacks.is_there(tcp->callbacks.context, port);
}

void dns_tcp_configured(struct dns_tcp *tcp)
{
    tcp_drop(tcp->server, is_gone, tcp);
}
