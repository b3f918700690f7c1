/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The guest's end of a vhost-user connection: used by the VMM (whose guest drives the rings itself), and,
 * with the driver rings of driver.h, by the load generator and the tests.
 *
 * Threads: one thread per frontend. Calls block until the backend answered, at most `timeout_ms`.
 * Errors: 0 or -errno: -EINVAL (the backend said no, or an argument is wrong; the connection goes on),
 * -EOPNOTSUPP (its protocol feature was not negotiated; the connection goes on), -EPROTO (nonsense from the
 * backend), -ETIMEDOUT, -ECONNRESET. After one of the last three every call fails the same way: reconnect.
 */
#include <stdbool.h>
#include <stdint.h>
#include "proto.h"

struct vhost_frontend;

struct vhost_frontend_region {
    uint64_t guest_address; /* guest physical */
    uint64_t size;          /* bytes */
    void *host_address;     /* where this process has it mapped (the protocol's "user address") */
    int fd;                 /* memfd; stays the caller's */
    uint64_t offset;        /* of the region in fd, bytes */
};

struct vhost_frontend_ring {
    uint16_t size;      /* descriptors */
    uint16_t base;      /* split: next avail index. Packed: bits 0-14 avail, 15 wrap counter */
    uint16_t base_used; /* packed: the same for used; split: ignored */
    const void *desc;   /* in a region, by host address */
    const void *driver; /* avail ring / driver event suppression */
    const void *device; /* used ring / device event suppression */
    int kick_fd;        /* eventfd that we signal */
    int call_fd;        /* eventfd that the backend signals; -1: polling */
};

struct vhost_frontend *vhost_frontend_connect(const char *path, int timeout_ms); /* dials; NULL and errno */
struct vhost_frontend *vhost_frontend_adopt(int fd,
                                            int timeout_ms); /* an accepted socket; owns it. NULL and errno */
void vhost_frontend_close(struct vhost_frontend *frontend);
int vhost_frontend_fd(
    const struct vhost_frontend *frontend); /* polls POLLHUP/POLLRDHUP when the backend is gone */

/* GET_FEATURES, GET/SET_PROTOCOL_FEATURES (the intersection with `want_protocol`), SET_OWNER, GET_QUEUE_NUM.
 * *offered: the backend's virtio features. */
int vhost_frontend_negotiate(struct vhost_frontend *frontend, uint64_t want_protocol, uint64_t *offered,
                             unsigned *queue_pairs_max);
uint64_t vhost_frontend_protocol_features(const struct vhost_frontend *frontend);
int vhost_frontend_set_features(struct vhost_frontend *frontend, uint64_t features);
int vhost_frontend_set_memory(struct vhost_frontend *frontend, const struct vhost_frontend_region *regions,
                              unsigned count);
/* SET_VRING_NUM, _BASE, _ADDR, _CALL, _KICK. The ring starts disabled. */
int vhost_frontend_set_ring(struct vhost_frontend *frontend, unsigned index,
                            const struct vhost_frontend_ring *ring);
int vhost_frontend_enable_ring(struct vhost_frontend *frontend, unsigned index, bool enabled);
/* GET_VRING_BASE: stops the ring; *base as in vhost_frontend_ring, packed: used position in *base_used. */
int vhost_frontend_stop_ring(struct vhost_frontend *frontend, unsigned index, uint16_t *base,
                             uint16_t *base_used);
int vhost_frontend_get_config(struct vhost_frontend *frontend, uint32_t offset, void *data, uint32_t size);
int vhost_frontend_set_status(struct vhost_frontend *frontend, uint8_t status);
int vhost_frontend_get_status(struct vhost_frontend *frontend, uint8_t *status);
int vhost_frontend_reset_device(struct vhost_frontend *frontend);
int vhost_frontend_set_mtu(struct vhost_frontend *frontend, uint16_t mtu);
int vhost_frontend_send_rarp(struct vhost_frontend *frontend, const uint8_t mac[6]);
/* The channel on which the backend tells of config changes (protocol features BACKEND_REQ and CONFIG); polls
 * readable; -1 if not negotiated. */
int vhost_frontend_backend_channel(struct vhost_frontend *frontend);
/* Reads one message from that channel. 1: device config changed, 0: nothing (more) to read, or -errno. */
int vhost_frontend_backend_event(struct vhost_frontend *frontend);
