/* SPDX-License-Identifier: BSD-3-Clause */
#include "counters.h"

#include <stdlib.h>
#include <string.h>

static void *zeroed(size_t size)
{
    size_t rounded = (size + 63) / 64 * 64;
    void *memory = aligned_alloc(64, rounded);
    return memory ? memset(memory, 0, rounded) : NULL;
}

uint32_t port_max_frame(const struct dp_port *config)
{
    return config->mtu + ETHERNET_HEADER_SIZE + 2 * VLAN_TAG_SIZE;
}

struct port *port_new(const struct dp_port *config, const struct port_ops *ops, unsigned workers)
{
    struct port *port = zeroed(sizeof(*port));
    if (!port)
        return NULL;
    port->ops = ops;
    port->config = *config;
    port->queues = config->queues;
    port->max_frame = port_max_frame(config);
    for (unsigned i = 0; i < DP_QUEUES_MAX; i++)
        port->wake_fds[i] = -1;
    for (unsigned i = 0; i < workers && i < DP_WORKERS_MAX; i++) {
        port->counters[i] = zeroed(sizeof(*port->counters[i]));
        if (!port->counters[i]) {
            port_free(port);
            return NULL;
        }
    }
    return port;
}

void port_free(struct port *port)
{
    if (!port)
        return;
    for (unsigned i = 0; i < DP_WORKERS_MAX; i++)
        free(port->counters[i]);
    free(port);
}

void counters_port(const struct port *port, struct dp_port_counters *sum)
{
    memset(sum, 0, sizeof(*sum));
    sum->id = port->config.id;
    for (unsigned i = 0; i < DP_WORKERS_MAX; i++) {
        const struct port_counters *counters = port->counters[i];
        if (!counters)
            continue;
        sum->rx_packets += counter_read(&counters->rx_packets);
        sum->rx_bytes += counter_read(&counters->rx_bytes);
        sum->rx_forwarded += counter_read(&counters->rx_forwarded);
        sum->rx_flooded += counter_read(&counters->rx_flooded);
        sum->tx_offered += counter_read(&counters->tx_offered);
        sum->tx_packets += counter_read(&counters->tx_packets);
        sum->tx_bytes += counter_read(&counters->tx_bytes);
        sum->tx_segments += counter_read(&counters->tx_segments);
        for (unsigned drop = 0; drop < DP_DROP_COUNT; drop++) {
            sum->rx_drops[drop] += counter_read(&counters->rx_drops[drop]);
            sum->tx_drops[drop] += counter_read(&counters->tx_drops[drop]);
        }
    }
}

void counters_queue(const struct port *port, unsigned queue, struct dp_queue_state *state)
{
    state->rx_packets = state->rx_bytes = state->tx_packets = state->tx_bytes = 0;
    for (unsigned i = 0; i < DP_WORKERS_MAX; i++) {
        const struct port_counters *counters = port->counters[i];
        if (!counters)
            continue;
        state->rx_packets += counter_read(&counters->queues[queue].rx_packets);
        state->rx_bytes += counter_read(&counters->queues[queue].rx_bytes);
        state->tx_packets += counter_read(&counters->queues[queue].tx_packets);
        state->tx_bytes += counter_read(&counters->queues[queue].tx_bytes);
    }
}

bool counters_consistent(const struct dp_port_counters *sum)
{
    uint64_t rx_drops = 0, tx_drops = 0;
    for (unsigned drop = 0; drop < DP_DROP_COUNT; drop++) {
        rx_drops += sum->rx_drops[drop];
        tx_drops += sum->tx_drops[drop];
    }
    return sum->rx_packets == sum->rx_forwarded + sum->rx_flooded + rx_drops &&
           sum->tx_offered == sum->tx_packets + tx_drops;
}

void counters_drop(struct port *port, unsigned queue, unsigned worker, uint32_t size, enum dp_drop reason)
{
    struct port_counters *counters = port->counters[worker];
    counter_add(&counters->rx_packets, 1);
    counter_add(&counters->rx_bytes, size);
    counter_add(&counters->rx_drops[reason], 1);
    counter_add(&counters->queues[queue].rx_packets, 1);
    counter_add(&counters->queues[queue].rx_bytes, size);
}
