/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* virtio network device (virtio 1.2, 5.1) served by a vhost-user backend: weft-dataplane, or any other. */
#include "virtio.h"
#include "vhost_device.h"

struct net;

struct net_config {
    const char *path;
    uint8_t mac[6];       /* zero: the backend's, else a random one */
    unsigned queue_pairs; /* at most; the backend may serve fewer */
    uint16_t mtu;         /* 0: the backend's */
    unsigned wait_ms;
    bool listen; /* the backend dials us */
};

/* NULL and errno; *what: which step failed. */
struct net *net_new(const struct virtio_host *host, unsigned index, const struct net_config *config,
                    const char **what);
int net_run(struct net *net, void (*enter)(void)); /* after the sandbox; 0 or -errno */
void net_free(struct net *net);
struct virtio *net_virtio(struct net *net);
struct vhost *net_vhost(struct net *net);
const uint8_t *net_mac(const struct net *net);
bool net_link(const struct net *net);
