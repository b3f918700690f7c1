/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * A port: something that frames come from and go to. One struct port lives from the commit that adds it until
 * the grace period after the commit that removes it; what its configuration says about segments is in the
 * snapshot, not here.
 *
 * Threads: "control" is the dataplane's one control thread; "worker" a polling thread. A (port, queue) pair's
 * receive side belongs to one worker. tx may be called by every worker.
 */
#include <stdbool.h>
#include <stdint.h>
#include "dataplane_api.h"
#include "offload.h"
#include "packet.h"
#include "vring.h"

struct port;

#define PORT_TX_MAP 16u /* power of two, >= DP_QUEUES_MAX */

/* What a worker brings along; one a worker. */
struct worker_io {
    struct notifier *notifier;
    unsigned worker; /* 0..DP_WORKERS_MAX-1 */
    bool flooding;   /* what is transmitted now is a flood's: the headers are shared with other outputs */
    struct router_stage *router;
};

/* Per port and worker; worker: rw, control: ro (sums them). Its own cache lines. Invariants: dataplane_api.h.
 */
struct port_counters {
    uint64_t rx_packets, rx_bytes, rx_forwarded, rx_flooded;
    uint64_t tx_offered, tx_packets, tx_bytes, tx_segments;
    uint64_t rx_drops[DP_DROP_COUNT];
    uint64_t tx_drops[DP_DROP_COUNT];
    struct {
        uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
    } queues[DP_QUEUES_MAX];
} __attribute__((aligned(64)));

struct port_ops {
    /* worker: up to PACKET_VECTOR_MAX frames; the vector is reset first. Valid until rx_done. Frames it has
     * to drop itself are counted in the worker's port_counters: rx_packets (and rx_bytes) and the reason. */
    unsigned (*rx)(struct port *port, unsigned queue, struct packet_vector *vector, struct worker_io *io);
    /* worker: always after rx */
    void (*rx_done)(struct port *port, unsigned queue, struct worker_io *io);
    /* worker: all packets satisfy offload_fits(packet, port->offloads) and port->max_frame. result as in
     * vring.h */
    void (*tx)(struct port *port, unsigned queue, struct packet *const *packets, unsigned count,
               struct worker_io *io, struct vring_tx_result *result);
    /* worker: before sleeping, true if there is work (or if the port cannot wake a sleeper: poll on) */
    bool (*arm)(struct port *port, unsigned queue);
    void (*disarm)(struct port *port, unsigned queue);
    /* control: starts serving; fds (tap: one a queue) become the port's. 0 or -errno with *text filled (112
     * bytes) */
    int (*open)(struct port *port, const int *fds, unsigned fd_count, char *text);
    /* control: after the grace period */
    void (*close)(struct port *port);
    /* control */
    void (*state)(struct port *port, struct dp_port_state *state);
    void (*queue_state)(struct port *port, unsigned queue, struct dp_queue_state *state);
    /* control: about every 100 ms; link state, broken rings */
    void (*check)(struct port *port);
};

/* Allocated zeroed and 64-byte aligned (port_new in counters.h does it with the counters). */
struct port {
    const struct port_ops *ops;
    void *private;         /* the kind's own */
    struct dp_port config; /* as put; control: w before publication only */
    unsigned queues;       /* receive queues polled */
    uint32_t max_frame;    /* bytes of a frame without TSO that the port takes: mtu + 14 + 8 (two tags);
                              control: w, worker: r (relaxed) */
    uint32_t offloads;     /* OFFLOAD_* that the egress takes now; control: w, worker: r (relaxed) */
    bool link;             /* control: w, worker: r (relaxed) */
    struct port_counters *counters[DP_WORKERS_MAX]; /* allocated on the port's creation for each worker */
    int wake_fds[DP_QUEUES_MAX]; /* control: descriptor to watch (edge triggered) for a sleeping worker; -1:
                                    none */
    /* Transmit queue for (worker + receive queue) % PORT_TX_MAP; control: w (port_set_tx_queues), worker: r
     * (relaxed). All zero, everything leaves by queue 0. */
    uint8_t tx_map[PORT_TX_MAP];
    /* Storm limit (storm.h): TSC time up to which the port has used its flood budget; workers: rw (atomic).
     */
    uint64_t storm_time __attribute__((aligned(64)));
    uint64_t
        resolve_time; /* the same for packets that ask for a neighbour (router.c); workers: rw (atomic) */
} __attribute__((aligned(64)));

/* control: after the set of usable transmit queues changed. mask: bit i for queue i; 0: queue 0. A source
 * queue keeps its output queue as long as the mask is the same, so frames of one flow stay in order. */
static inline void port_set_tx_queues(struct port *port, uint32_t mask)
{
    uint8_t usable[DP_QUEUES_MAX] = {0};
    unsigned count = 0;
    for (uint8_t i = 0; i < DP_QUEUES_MAX; i++)
        if (mask & (1u << i))
            usable[count++] = i;
    for (unsigned i = 0; i < PORT_TX_MAP; i++)
        __atomic_store_n(&port->tx_map[i], count ? usable[i % count] : 0, __ATOMIC_RELAXED);
}

extern const struct port_ops port_vhost_ops;
extern const struct port_ops port_tap_ops;
extern const struct port_ops port_ethdev_ops;
extern const struct port_ops port_router_ops;
extern const struct port_ops port_packet_ops;
extern const struct port_ops port_xdp_ops;

/* control: services the port kinds need from the process (main.c implements them) */
struct event_base;
struct event_base *control_event_base(void);
void control_quiesce(void); /* returns after a grace period of all workers */
void control_wake_fd(struct port *port, unsigned queue,
                     int fd); /* the queue's wake descriptor changed; -1: none */
unsigned control_worker_count(void);
void control_log(int level, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* syslog priority */
/* Injects a frame into the port's segments as if it had come from the port (RARP announcement). */
void control_announce(struct port *port, const uint8_t mac[6]);
