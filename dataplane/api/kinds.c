/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdbool.h>
#include "kinds.h"

/* Bytes of the key that an object starts with. */
enum {
    KEY_GLOBAL = 0,
    KEY_SEGMENT = offsetof(struct dp_segment, tenant),
    KEY_PORT = offsetof(struct dp_port, tenant),
    KEY_MEMBER = offsetof(struct dp_member, segment),
    KEY_STATIC = offsetof(struct dp_static, pad),
    KEY_ALLOWED = sizeof(struct dp_allowed),
    KEY_ROUTER = offsetof(struct dp_router, session_limit),
    KEY_INTERFACE = offsetof(struct dp_interface, router),
    KEY_ROUTE = offsetof(struct dp_route, pad),
    KEY_NEIGHBOUR = offsetof(struct dp_neighbour, mac),
    KEY_NAT_ADDRESS = offsetof(struct dp_nat_address, port_first),
    KEY_NAT_SOURCE = offsetof(struct dp_nat_source, flags),
    KEY_NAT_ONE_TO_ONE = offsetof(struct dp_nat_one_to_one, port),
    KEY_NAT_FORWARD = offsetof(struct dp_nat_forward, last),
    KEY_PORT_STATE = offsetof(struct dp_port_state, link),
    KEY_PORT_COUNTERS = offsetof(struct dp_port_counters, pad),
    KEY_QUEUE_STATE = offsetof(struct dp_queue_state, worker),
    KEY_WORKER_STATE = offsetof(struct dp_worker_state, core),
    KEY_FDB_ENTRY = offsetof(struct dp_fdb_entry, is_static),
    KEY_ROUTER_STATE = offsetof(struct dp_router_state, sessions),
    KEY_NAT_ADDRESS_STATE = offsetof(struct dp_nat_address_state, ports),
    KEY_NEIGHBOUR_STATE = offsetof(struct dp_neighbour_state, mac),
    KEY_SESSION = sizeof(struct dp_session),
};

static const struct {
    size_t size, key_size;
    const char *name;
} kinds[DP_KIND_COUNT] = {
#define X(symbol, type) [DP_KIND_##symbol] = {sizeof(struct type), KEY_##symbol, #type},
    DP_KINDS(X)
#undef X
};

size_t dp_object_size(enum dp_kind kind)
{
    return (unsigned)kind < DP_KIND_COUNT ? kinds[kind].size : 0;
}

size_t dp_key_size(enum dp_kind kind)
{
    return (unsigned)kind < DP_KIND_COUNT ? kinds[kind].key_size : 0;
}

const char *dp_kind_name(enum dp_kind kind)
{
    bool known = (unsigned)kind < DP_KIND_COUNT && kinds[kind].name;
    return known ? kinds[kind].name + 3 : "?"; /* without "dp_" */
}

const char *dp_op_name(enum dp_op op)
{
    static const char *const names[DP_OP_COUNT] = {
#define X(symbol) [DP_OP_##symbol] = #symbol,
        DP_OPS(X)
#undef X
    };
    return (unsigned)op < DP_OP_COUNT && names[op] ? names[op] : "?";
}
