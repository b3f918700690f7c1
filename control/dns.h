/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * DNS for guests at the address of their gateway: names of the tenant's own ports are answered, everything
 * else goes to the host's resolvers. Theory of operation in dns.c and dns_forward.c.
 *
 * Threads: weftd has one. Queries come from guests, answers from the network: everything in them is checked.
 */
#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_RESOLV_CONF   "/etc/resolv.conf"
#define DNS_RESOLVERS_MAX 3u    /* resolv.conf(5), MAXNS */
#define DNS_NAME_SIZE     256u  /* bytes of a name as text, with its NUL */
#define DNS_MESSAGE_MAX   1432u /* bytes of an answer: fits Ethernet's 1500, not always IPv6's 1280 */
#define DNS_ADDRESSES_MAX 16u

/* Who knows the names. */
struct dns_names {
    void *context;
    /* Addresses (16 bytes each, IPv4 mapped) of `name` (lower case, no final dot) as a guest of the interface
     * `port` may see it; of one family. Returns how many, 0 for a name that is there but has none of that
     * family, -1 for a name that is not ours: ask the resolvers; -2: ours, but does not exist. */
    int (*addresses)(void *context, uint32_t port, const char *name, bool ipv6, uint8_t addresses[][16],
                     unsigned max);
    /* Name of an address; false: not ours. */
    bool (*name)(void *context, uint32_t port, const uint8_t address[16], char *name, size_t size);
};

enum dns_verdict { DNS_IGNORE, DNS_ANSWER, DNS_FORWARD };

/* Reads a query. DNS_ANSWER: `answer` (DNS_MESSAGE_MAX bytes) has *answer_size bytes. */
enum dns_verdict dns_query(const struct dns_names *names, uint32_t port, const uint8_t *query, size_t size,
                           uint8_t *answer, size_t *answer_size);
/* Makes an answer that says only `rcode` (arpa/nameser.h) to the query. Returns its size, 0: no query. */
size_t dns_refuse(const uint8_t *query, size_t size, unsigned rcode, bool truncated, uint8_t *answer);
/* Does the answer repeat the query's id and question? */
bool dns_matches(const uint8_t *query, size_t query_size, const uint8_t *answer, size_t answer_size);

/* dns_forward.c. */
struct dns_forwarder;
struct sockaddr_storage;

/* Where an answer goes: copied from the query's datagram. */
struct dns_client {
    uint32_t tenant;
    uint32_t port; /* the interface's */
    uint32_t from; /* the guest's port */
    uint8_t mac[6], own_mac[6];
    uint8_t address[16], own_address[16];
    uint16_t udp_port;
};

typedef void (*dns_send)(void *context, const struct dns_client *client, const uint8_t *message, size_t size);

/* `resolv_conf`: /etc/resolv.conf, or another file for tests. NULL and ENOMEM */
struct dns_forwarder *dns_forwarder_new(struct event_base *base, const char *resolv_conf, dns_send send,
                                        void *context);
void dns_forwarder_free(struct dns_forwarder *forwarder);
/* The resolvers as they are now: how many, at most `most`. */
unsigned dns_forwarder_resolvers(struct dns_forwarder *forwarder, struct sockaddr_storage *resolvers,
                                 unsigned most);
/* The first resolvers of resolv.conf(5): how many, at most `most`. */
unsigned dns_resolvers(const char *resolv_conf, struct sockaddr_storage *resolvers, unsigned most);
/* Asks the resolvers; send is called with the answer, at once if there is nobody to ask. A guest's query
 * beyond its share of those under way, or its tenant's, is dropped. */
void dns_forward(struct dns_forwarder *forwarder, const struct dns_client *client, const uint8_t *query,
                 size_t size);
