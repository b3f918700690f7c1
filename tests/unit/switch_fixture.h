/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * A switch in memory: ports whose frames come from and go to arrays, a snapshot that points to them, and one
 * program as a worker would have it. Used by the unit tests of the program and by perf/program_bench.c.
 */
#include <stdbool.h>
#include "fdb.h"
#include "program.h"

#define FAKE_FRAMES 256u
#define FAKE_BYTES  2048u /* kept of each frame */

struct fake_frame {
    uint32_t size; /* bytes of the frame */
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset;
    uint8_t bytes[FAKE_BYTES];
};

struct fake_port {
    struct port *port;
    unsigned sent; /* frames that tx took since fixture_clear */
    unsigned calls;
    unsigned room; /* frames that tx takes before it is full */
    bool keeps;    /* tx copies frames to `frames` */
    unsigned last_queue;
    struct fake_frame *frames; /* FAKE_FRAMES */
};

struct fixture {
    struct snapshot *snapshot;
    struct fdb *fdb;
    struct program *program;
    struct packet_vector *vector;
};

struct fixture *fixture_new(uint32_t addresses_max);
/* Checks every port's counters first. */
void fixture_free(struct fixture *fixture);
/* A port in the snapshot: mtu 1500, link up, no offloads. */
struct ingress *fixture_port(struct fixture *fixture, uint32_t id, uint32_t tenant, uint32_t flags);
/* A router port in the snapshot, open. */
struct ingress *fixture_router_port(struct fixture *fixture, uint32_t id, uint32_t tenant,
                                    const uint8_t mac[6], uint32_t mtu);
struct bridge *fixture_bridge(struct fixture *fixture, uint32_t id, uint32_t tenant);
/* Makes the port a member of the bridge; vid 0: untagged (native). */
void fixture_member(struct bridge *bridge, struct ingress *ingress, uint16_t vid);

/* Puts a frame into the vector as if received; payload beyond PACKET_HEADER_MAX goes to a span of `bytes`. */
struct packet *fixture_receive(struct fixture *fixture, const void *bytes, uint32_t size);
/* Runs the program on what was received. */
void fixture_run(struct fixture *fixture, struct ingress *from);
/* Both, for one frame. */
void fixture_send(struct fixture *fixture, struct ingress *from, const void *bytes, uint32_t size);
/* A minimal frame: last bytes of the addresses (02:00:00:00:00:xx; 0xff: broadcast), tags (tpid << 16 | tci),
 * their count. */
uint32_t fixture_frame(uint8_t *bytes, uint8_t to, uint8_t from, const uint32_t *tags, unsigned tag_count);
void fixture_unicast(struct fixture *fixture, struct ingress *from, uint8_t to, uint8_t source);

struct fake_port *fake_of(const struct ingress *ingress);
void fixture_clear(struct fixture *fixture);
bool fixture_consistent(const struct fixture *fixture);
uint64_t rx_drops(const struct ingress *ingress, enum dp_drop reason);
uint64_t tx_drops(const struct ingress *ingress, enum dp_drop reason);
uint64_t rx_forwarded(const struct ingress *ingress);
uint64_t rx_flooded(const struct ingress *ingress);
uint64_t tx_packets(const struct ingress *ingress);
