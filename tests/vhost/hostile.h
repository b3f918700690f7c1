/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * A frontend that lies: a vhost-user connection, guest memory and rings made by hand, so that each field of
 * each message and descriptor can be wrong, and a list of named patterns that are.
 *
 * A pattern says what must come of it. Whatever that is, the port must take a well-behaved guest afterwards.
 *
 * Threads: one.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "driver.h"
#include "proto.h"

#define HOSTILE_RING_SIZE 256u
#define HOSTILE_RX        0u /* the switch gives us frames */
#define HOSTILE_TX        1u /* we give the switch frames */

#define HOSTILE_TIMEOUT_MS 60000 /* for what a loaded machine does late: ends a hang, judges nothing */

/* Where things are, as guest addresses. The memory is two regions of one file. */
#define GUEST_BASE     0x100000000ull
#define REGION_SIZE    0x200000ull
#define GUEST_SECOND   0x300000000ull
#define USER_BASE      0x700000000000ull /* of the first region; the second: USER_SECOND */
#define USER_SECOND    0x710000000000ull
#define GUEST_BUFFER   (GUEST_BASE + 0x100000)
#define GUEST_TABLE    (GUEST_BASE + 0x80000) /* indirect descriptors */
#define GUEST_RINGS(i) (GUEST_BASE + (uint64_t)(i)*0x20000)
#define GUEST_WILD     0xdead00000000ull

enum outcome {
    CLOSED,   /* the switch closes the connection */
    BROKEN,   /* the ring is broken: error eventfd, NEEDS_RESET; the connection stays */
    ALIVE,    /* the connection stays, no ring is broken, and frames are taken */
    ANSWERED, /* the connection stays and answers; rings may be stopped or broken */
    LEFT,     /* the pattern itself ends the connection */
    SURVIVED, /* anything but a stuck or dead switch */
};

struct hostile_ring {
    void *desc, *driver, *device;
    int kick_fd, call_fd, error_fd;
    uint16_t given; /* split: avail index */
};

struct hostile {
    const char *path;
    bool echo;                  /* the switch returns our own frames to us */
    struct driver_device *peer; /* a guest in the same segment that can send us frames; NULL: none */
    int fd;                     /* -1: not connected */
    bool packed;
    int memory_fd;
    uint8_t *memory; /* both regions */
    struct hostile_ring rings[2];
    char reason[160]; /* why a pattern failed */
};

struct pattern {
    const char *name;
    const char *row; /* of SECURITY.md: sections 1 and 2 */
    enum outcome expected;
    /* True if it could do what it wanted; false: h->reason. */
    bool (*run)(struct hostile *h, const void *argument);
    const void *argument;
    bool fed; /* needs frames to us: echo or a peer */
};

/* hostile.c: the tools */
bool hostile_fail(struct hostile *h, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool hostile_open(struct hostile *h, const char *path); /* memory and eventfds; not connected */
void hostile_close(struct hostile *h);
bool hostile_connect(struct hostile *h);
void hostile_disconnect(struct hostile *h);
/* One message. flags: 0 for what is right. False: the switch has closed already, which the pattern may like.
 */
bool hostile_send(struct hostile *h, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
                  const int *fds, unsigned fd_count);
bool hostile_send_u64(struct hostile *h, uint32_t request, uint64_t value);
bool hostile_send_state(struct hostile *h, uint32_t request, uint32_t index, uint32_t num);
bool hostile_send_fd(struct hostile *h, uint32_t request, uint64_t value, int fd);
bool hostile_send_address(struct hostile *h, unsigned ring, uint64_t desc, uint64_t avail, uint64_t used);
/* The payload of the reply to `request`; -1: none. */
int hostile_reply(struct hostile *h, uint32_t request, void *payload, uint32_t capacity, int timeout_ms);
bool hostile_query(struct hostile *h, uint32_t request, uint64_t *value);
bool hostile_closed(const struct hostile *h, int timeout_ms);

/* Steps of a proper set-up; each includes the ones before it. features: besides VERSION_1. */
bool hostile_negotiate(struct hostile *h, uint64_t features);
bool hostile_set_memory(struct hostile *h);
bool hostile_to_memory(struct hostile *h, uint64_t features);
bool hostile_set_ring(struct hostile *h, unsigned ring);
bool hostile_start(struct hostile *h, uint64_t features);
void hostile_default_regions(struct vhost_wire_region regions[2]);
bool hostile_send_table(struct hostile *h, const struct vhost_wire_region *regions, unsigned count,
                        const int *fds, unsigned fd_count);

/* Host pointer of a guest address inside our memory. */
void *hostile_at(struct hostile *h, uint64_t guest);
/* Writes descriptor `slot` (packed: available in the first lap, its id the slot). */
void hostile_put(struct hostile *h, unsigned ring, unsigned slot, uint64_t address, uint32_t size,
                 uint16_t flags, uint16_t next);
/* Gives `head` (split) and kicks. */
void hostile_give(struct hostile *h, unsigned ring, uint16_t head);
void hostile_kick(const struct hostile *h, unsigned ring);
/* A good frame through the transmit ring is taken. */
bool hostile_frame_taken(struct hostile *h);
/* Split: buffers given and not used. */
unsigned hostile_outstanding(const struct hostile *h, unsigned ring);
/* Makes a frame come to us. */
bool hostile_feed(struct hostile *h);
void hostile_fill_frame(uint8_t *frame, uint32_t size);

/* The patterns, by what they lie about. */
extern const struct pattern hostile_message_patterns[];
extern const unsigned hostile_message_count;
extern const struct pattern hostile_state_patterns[];
extern const unsigned hostile_state_count;
extern const struct pattern hostile_memory_patterns[];
extern const unsigned hostile_memory_count;
extern const struct pattern hostile_ring_patterns[];
extern const unsigned hostile_ring_count;
extern const struct pattern hostile_abuse_patterns[];
extern const unsigned hostile_abuse_count;

/* hostile_run.c. All patterns, in order; NULL behind the last. */
const struct pattern *hostile_pattern(unsigned index);
/* Runs it and checks what came of it. 0: as it must be, 1: not (reason in h), 2: cannot be run (reason in h).
 */
int hostile_run(struct hostile *h, const struct pattern *pattern);
