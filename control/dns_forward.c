/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. Each query under way has a socket of its own, connected to one resolver: the kernel
 * picks an unpredictable source port and lets only that resolver answer (RFC 5452); the query's id is drawn
 * anew, and an answer must repeat id and question. A resolver that says nothing for TRY_S seconds is given
 * up for the next one; after the last the guest is told SERVFAIL. An answer that is too large for one frame
 * is cut to its header and question with the truncation bit set.
 *
 * The resolvers are those of resolv.conf, read again when the file's time stamp changes (looked at once a
 * second at most).
 *
 * Limits: QUERIES_MAX under way, QUERIES_PER_GUEST a guest's port. When they are used up, the oldest query of
 * whoever has the most is given up (share.h): its guest is told SERVFAIL, and asks again. TCP is dns_tcp.c's.
 */
#include "dns.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "share.h"

#define QUERIES_MAX       512u
#define QUERIES_PER_GUEST 32u
#define QUERY_MAX         512u /* bytes of a query */
#define TRY_S             2
#define ANSWER_MAX        4096u

struct query {
    struct dns_forwarder *forwarder;
    struct dns_client client;
    struct event *event; /* NULL: free */
    uint64_t number;     /* they are counted as they come */
    int fd;
    unsigned tried; /* resolvers given up */
    uint8_t id[2];  /* the guest's */
    size_t size;
    uint8_t bytes[QUERY_MAX]; /* with our id */
};

struct dns_forwarder {
    struct event_base *base;
    dns_send send;
    void *context;
    char resolv_conf[200];
    time_t looked; /* CLOCK_MONOTONIC, seconds */
    struct timespec modified;
    struct sockaddr_storage resolvers[DNS_RESOLVERS_MAX];
    unsigned resolver_count;
    uint64_t numbered;
    struct query queries[QUERIES_MAX];
};

struct dns_forwarder *dns_forwarder_new(struct event_base *base, const char *resolv_conf, dns_send send,
                                        void *context)
{
    struct dns_forwarder *forwarder = calloc(1, sizeof(*forwarder));
    if (!forwarder)
        return NULL;
    forwarder->base = base;
    forwarder->send = send;
    forwarder->context = context;
    forwarder->looked = -1;
    snprintf(forwarder->resolv_conf, sizeof(forwarder->resolv_conf), "%s", resolv_conf);
    return forwarder;
}

static void query_end(struct query *query)
{
    event_free(query->event);
    query->event = NULL;
    close(query->fd);
}

void dns_forwarder_free(struct dns_forwarder *forwarder)
{
    if (!forwarder)
        return;
    for (unsigned i = 0; i < QUERIES_MAX; i++)
        if (forwarder->queries[i].event)
            query_end(&forwarder->queries[i]);
    free(forwarder);
}

/* An address with an optional %interface, as resolv.conf(5) has it. */
static bool parse_resolver(const char *text, struct sockaddr_storage *address)
{
    struct sockaddr_in *ipv4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)address;
    memset(address, 0, sizeof(*address));
    if (inet_pton(AF_INET, text, &ipv4->sin_addr) == 1) {
        ipv4->sin_family = AF_INET;
        ipv4->sin_port = htons(NS_DEFAULTPORT);
        return true;
    }
    if (inet_pton(AF_INET6, text, &ipv6->sin6_addr) == 1) {
        ipv6->sin6_family = AF_INET6;
        ipv6->sin6_port = htons(NS_DEFAULTPORT);
        return true;
    }
    return false;
}

unsigned dns_resolvers(const char *resolv_conf, struct sockaddr_storage *resolvers, unsigned most)
{
    char line[512], word[64];
    FILE *file = fopen(resolv_conf, "re");
    unsigned count = 0;
    while (file && count < most && fgets(line, sizeof(line), file))
        if (sscanf(line, " nameserver %63s", word) == 1 && parse_resolver(word, &resolvers[count]))
            count++;
    if (file)
        fclose(file);
    return count;
}

static void refresh_resolvers(struct dns_forwarder *forwarder)
{
    struct timespec now;
    struct stat status;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (forwarder->looked == now.tv_sec)
        return;
    bool first = forwarder->looked < 0;
    forwarder->looked = now.tv_sec;
    if (stat(forwarder->resolv_conf, &status))
        memset(&status, 0, sizeof(status));
    if (!first && status.st_mtim.tv_sec == forwarder->modified.tv_sec &&
        status.st_mtim.tv_nsec == forwarder->modified.tv_nsec)
        return;
    forwarder->modified = status.st_mtim;
    forwarder->resolver_count =
        dns_resolvers(forwarder->resolv_conf, forwarder->resolvers, DNS_RESOLVERS_MAX);
}

unsigned dns_forwarder_resolvers(struct dns_forwarder *forwarder, struct sockaddr_storage *resolvers,
                                 unsigned most)
{
    refresh_resolvers(forwarder);
    unsigned count = forwarder->resolver_count < most ? forwarder->resolver_count : most;
    memcpy(resolvers, forwarder->resolvers, count * sizeof(*resolvers));
    return count;
}

static void send_failure(struct query *query)
{
    uint8_t answer[DNS_MESSAGE_MAX];
    memcpy(query->bytes, query->id, sizeof(query->id));
    size_t size = dns_refuse(query->bytes, query->size, ns_r_servfail, false, answer);
    if (size)
        query->forwarder->send(query->forwarder->context, &query->client, answer, size);
}

static void on_event(evutil_socket_t fd, short what, void *context);

/* To the next resolver that can be reached. False: there is none left. */
static bool try_next(struct query *query)
{
    struct dns_forwarder *forwarder = query->forwarder;
    const struct timeval wait = {TRY_S, 0};
    while (query->tried < forwarder->resolver_count) {
        const struct sockaddr_storage *to = &forwarder->resolvers[query->tried++];
        socklen_t size = to->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        int fd = socket(to->ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return false;
        if (connect(fd, (const struct sockaddr *)to, size) == 0 &&
            send(fd, query->bytes, query->size, 0) == (ssize_t)query->size) {
            query->fd = fd;
            query->event = event_new(forwarder->base, fd, EV_READ | EV_PERSIST, on_event, query);
            if (query->event && event_add(query->event, &wait) == 0)
                return true;
            if (query->event)
                event_free(query->event);
            query->event = NULL;
        }
        close(fd);
    }
    return false;
}

static void give_up_resolver(struct query *query)
{
    query_end(query);
    if (!try_next(query))
        send_failure(query);
}

static void deliver(struct query *query, uint8_t *answer, size_t size)
{
    struct dns_forwarder *forwarder = query->forwarder;
    uint8_t cut[DNS_MESSAGE_MAX];
    memcpy(answer, query->id, sizeof(query->id));
    memcpy(query->bytes, query->id, sizeof(query->id));
    if (size > DNS_MESSAGE_MAX) {
        size = dns_refuse(query->bytes, query->size, ns_r_noerror, true, cut);
        answer = cut;
    }
    query_end(query);
    forwarder->send(forwarder->context, &query->client, answer, size);
}

static void on_event(evutil_socket_t fd, short what, void *context)
{
    struct query *query = context;
    uint8_t answer[ANSWER_MAX];
    if (what & EV_TIMEOUT) {
        give_up_resolver(query);
        return;
    }
    ssize_t size = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
    if (size < 0) {
        if (errno != EAGAIN && errno != EINTR)
            give_up_resolver(query); /* ECONNREFUSED: nobody listens there */
    } else if (dns_matches(query->bytes, query->size, answer, (size_t)size)) {
        deliver(query, answer, (size_t)size);
    }
}

/* All are under way. NULL: nobody has more of them than the client's tenant, or the client in its tenant. */
static struct query *query_give_up(struct dns_forwarder *forwarder, const struct dns_client *client)
{
    struct share_owner owners[QUERIES_MAX], loser;
    struct query *oldest = NULL;
    for (unsigned i = 0; i < QUERIES_MAX; i++)
        owners[i] =
            (struct share_owner){forwarder->queries[i].client.tenant, forwarder->queries[i].client.from};
    if (!share_claim(owners, QUERIES_MAX, &(struct share_owner){client->tenant, client->from}, &loser))
        return NULL;
    for (unsigned i = 0; i < QUERIES_MAX; i++)
        if (owners[i].tenant == loser.tenant && owners[i].port == loser.port &&
            (!oldest || forwarder->queries[i].number < oldest->number))
            oldest = &forwarder->queries[i];
    if (oldest) {
        query_end(oldest);
        send_failure(oldest);
    }
    return oldest;
}

static struct query *query_new(struct dns_forwarder *forwarder, const struct dns_client *client)
{
    struct query *unused = NULL;
    unsigned same = 0;
    for (unsigned i = 0; i < QUERIES_MAX; i++) {
        struct query *query = &forwarder->queries[i];
        if (!query->event)
            unused = query;
        else
            same += query->client.from == client->from && query->client.tenant == client->tenant;
    }
    if (same >= QUERIES_PER_GUEST)
        return NULL;
    return unused ? unused : query_give_up(forwarder, client);
}

void dns_forward(struct dns_forwarder *forwarder, const struct dns_client *client, const uint8_t *bytes,
                 size_t size)
{
    struct query *query = size <= QUERY_MAX && size >= 2 ? query_new(forwarder, client) : NULL;
    if (!query)
        return;
    refresh_resolvers(forwarder);
    query->forwarder = forwarder;
    query->number = forwarder->numbered++;
    query->client = *client;
    query->tried = 0;
    query->size = size;
    memcpy(query->bytes, bytes, size);
    memcpy(query->id, bytes, sizeof(query->id));
    if (getrandom(query->bytes, 2, GRND_NONBLOCK) != 2 || !try_next(query))
        send_failure(query);
}
