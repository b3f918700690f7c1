/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What sessions are looked up by, and the hash of it. For conntrack.h alone.
 *
 * Threads: pure functions of their arguments.
 */
#include "conntrack_types.h"

/* A session as it was when all of it was read. */
struct session_view {
    uint32_t id, generation;
    uint64_t inside[2];
    uint64_t ports;
    uint16_t interface;
    uint8_t state;
};

static inline uint16_t ports_inside(uint64_t ports)
{
    return (uint16_t)ports;
}
static inline uint16_t ports_remote(uint64_t ports)
{
    return (uint16_t)(ports >> 16);
}
static inline uint16_t ports_translated(uint64_t ports)
{
    return (uint16_t)(ports >> 32);
}
static inline uint16_t ports_address(uint64_t ports)
{
    return (uint16_t)(ports >> 48);
}

static inline uint64_t key_meta(enum key_kind kind, uint16_t first_port, uint16_t second_port, uint16_t scope,
                                uint8_t protocol)
{
    return first_port | (uint64_t)second_port << 16 | (uint64_t)scope << 32 | (uint64_t)protocol << 48 |
           (uint64_t)kind << 56;
}

/* inside -> remote; scope: the interface */
static inline struct nat_key key_outbound(const uint64_t inside[2], uint16_t inside_port,
                                          const uint64_t remote[2], uint16_t remote_port, uint16_t interface,
                                          uint8_t protocol)
{
    return (struct nat_key){{inside[0], inside[1]},
                            {remote[0], remote[1]},
                            key_meta(KEY_OUTBOUND, inside_port, remote_port, interface, protocol)};
}

/* remote -> translated; scope: the address's id. Ports in the order of session.ports >> 16. */
static inline struct nat_key key_inbound(uint16_t address, uint16_t translated_port, const uint64_t remote[2],
                                         uint16_t remote_port, uint8_t protocol)
{
    return (struct nat_key){{0, 0},
                            {remote[0], remote[1]},
                            key_meta(KEY_INBOUND, remote_port, translated_port, address, protocol)};
}

static inline struct nat_key key_endpoint(const uint64_t inside[2], uint16_t inside_port, uint16_t interface,
                                          uint8_t protocol)
{
    return (struct nat_key){
        {inside[0], inside[1]}, {0, 0}, key_meta(KEY_ENDPOINT, inside_port, 0, interface, protocol)};
}

static inline uint8_t key_protocol(const struct nat_key *key)
{
    return (uint8_t)(key->meta >> 48);
}
static inline uint16_t key_second_port(const struct nat_key *key)
{
    return (uint16_t)(key->meta >> 16);
}

static inline uint64_t fold_multiply(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Keyed by the process, so that nobody can aim at a bucket. */
static inline uint64_t nat_hash(const struct nat *nat, const struct nat_key *key)
{
    const uint64_t *seed = nat->seed;
    uint64_t low = fold_multiply(key->a[0] ^ seed[0], key->b[0] ^ seed[1]);
    uint64_t high = fold_multiply(key->a[1] ^ seed[2], key->b[1] ^ seed[3]);
    return fold_multiply(low ^ high ^ seed[4], key->meta ^ high ^ seed[5]);
}
