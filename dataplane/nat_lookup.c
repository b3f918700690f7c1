/* SPDX-License-Identifier: BSD-3-Clause */
/* What workers look up in a configuration (nat_config.c). Forwards, 1:1 addresses and pools are asked for by
 * new sessions only. */
#include "nat_private.h"

/* Both halves of the product: the last byte of an address, in which those of a pool differ, is the highest
 * one of the word and does not reach the middle of the lower half. */
static uint32_t address_mix(uint32_t outside, const uint64_t address[2])
{
    return (uint32_t)fold_multiply(address[0] ^ address[1] ^ outside, UINT64_C(0x9e3779b97f4a7c15));
}

/* The slot of the address, or the free one where it would be. */
struct nat_config_address *nat_config_slot(const struct nat_config *config, uint32_t outside,
                                           const uint64_t address[2])
{
    uint32_t i = address_mix(outside, address) & config->address_mask;
    while (config->addresses[i].outside &&
           (config->addresses[i].outside != outside || !address_equal(config->addresses[i].address, address)))
        i = (i + 1) & config->address_mask;
    return &config->addresses[i];
}

const struct nat_config_address *nat_config_find(const struct nat_config *config, uint32_t outside,
                                                 const uint64_t address[2])
{
    const struct nat_config_address *slot = nat_config_slot(config, outside, address);
    return slot->outside ? slot : NULL;
}

const struct nat_one_to_one *nat_config_inside(const struct nat_interface *interface,
                                               const uint64_t inside[2])
{
    unsigned from = 0, to = interface->one_to_one_count;
    while (from < to) {
        unsigned middle = (from + to) / 2;
        int order = memcmp(interface->one_to_ones[middle]->inside, inside, 16);
        if (order == 0)
            return interface->one_to_ones[middle];
        if (order < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return NULL;
}

const struct nat_forward *nat_config_forward(const struct nat_config_address *address, uint8_t protocol,
                                             uint16_t port)
{
    unsigned from = 0, to = address->forward_count;
    while (from < to) {
        unsigned middle = (from + to) / 2;
        const struct nat_forward *forward = &address->forwards[middle];
        if (forward->protocol < protocol || (forward->protocol == protocol && forward->last < port))
            from = middle + 1;
        else if (forward->protocol > protocol || forward->first > port)
            to = middle;
        else
            return forward;
    }
    return NULL;
}

/* The last one that begins at or before the port, if it reaches it. Of forwards to one guest that overlap
 * inside, one whose range ends early may hide another: then the guest's own sessions get a port of the pool.
 */
const struct nat_forward *nat_config_forward_of(const struct nat_interface *interface, uint8_t protocol,
                                                const uint64_t inside[2], uint16_t port)
{
    const struct nat_forward *found = NULL;
    unsigned from = 0, to = interface->forward_count;
    while (from < to) {
        unsigned middle = (from + to) / 2;
        const struct nat_forward *forward = interface->forwards[middle];
        int order = forward->protocol != protocol ? forward->protocol - protocol
                                                  : memcmp(forward->inside, inside, 16);
        if (order < 0 || (order == 0 && forward->to_first <= port)) {
            if (order == 0)
                found = forward;
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return found && port - found->to_first <= found->last - found->first ? found : NULL;
}

bool nat_serves(const struct nat_config *config, uint32_t port)
{
    return port < DP_PORTS_MAX && config->interfaces[port] && config->interfaces[port]->serves;
}

bool nat_grows(const struct nat *nat)
{
    return __atomic_load_n(&nat->session_pool.capacity, __ATOMIC_RELAXED) < nat->session_pool.limit;
}

bool nat_has_address(const struct nat_config *config, uint32_t outside, const uint8_t address[16],
                     bool *answer)
{
    uint64_t words[2];
    memcpy(words, address, 16);
    const struct nat_config_address *found = nat_config_find(config, outside, words);
    if (found)
        *answer = found->answer;
    return found != NULL;
}

bool nat_is_one_to_one(const struct nat_config *config, uint32_t outside, const uint8_t address[16])
{
    uint64_t words[2];
    memcpy(words, address, 16);
    const struct nat_config_address *found = nat_config_find(config, outside, words);
    return found && found->one_to_one;
}
