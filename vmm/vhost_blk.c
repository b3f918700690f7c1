/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include "vhost_blk.h"

#define QUEUE_SIZE 128
#define FEATURES_PASSED                                                                                      \
    (1ull << VIRTIO_BLK_F_SIZE_MAX | 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_RO |                \
     1ull << VIRTIO_BLK_F_BLK_SIZE | 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_TOPOLOGY |            \
     1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES |                                      \
     1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_F_VERSION_1)

struct vhost_blk {
    struct virtio virtio;
    struct vhost *vhost;
};

/* The backend's configuration (a resized disk) is shown as it is. */
static void changed(struct virtio *virtio)
{
    struct vhost_blk *blk = (struct vhost_blk *)virtio;
    struct vhost_info info;
    vhost_info(blk->vhost, &info);
    if (info.stale)
        virtio_needs_reset(virtio, "the backend went away with requests in flight");
    if (memcmp(virtio->config, info.config, virtio->config_size) == 0)
        return;
    memcpy(virtio->config, info.config, virtio->config_size);
    virtio_config_changed(virtio);
}

static void start(struct virtio *virtio)
{
    vhost_start(((struct vhost_blk *)virtio)->vhost, 1, 1);
}

static bool stop(struct virtio *virtio)
{
    vhost_stop(((struct vhost_blk *)virtio)->vhost);
    return false;
}

static const struct virtio_ops ops = {
    .name = "vhost-blk", .type = VIRTIO_ID_BLOCK, .pci_class = 0x018000, .start = start, .stop = stop};

struct vhost_blk *vhost_blk_new(const struct virtio_host *host, unsigned index, const char *path,
                                unsigned wait_ms, const char **what)
{
    struct vhost_blk *blk = calloc(1, sizeof(*blk));
    if (!blk)
        return NULL;
    struct vhost_config config = {.virtio = &blk->virtio,
                                  .path = path,
                                  .wait_ms = wait_ms,
                                  .features_wanted = FEATURES_PASSED,
                                  .config_size = offsetof(struct virtio_blk_config, unused1) + 3,
                                  .unordered = true,
                                  .mandatory_config = true};
    blk->vhost = vhost_open(&config, what);
    if (!blk->vhost) {
        free(blk);
        return NULL;
    }
    struct vhost_info info;
    vhost_info(blk->vhost, &info);
    blk->virtio.config_size = config.config_size;
    memcpy(blk->virtio.config, info.config, config.config_size);
    blk->virtio.features_offered = info.features;
    *what = "put it on the PCI bus";
    int error = virtio_init(&blk->virtio, host, &ops, index, 1, QUEUE_SIZE);
    if (error) {
        vhost_free(blk->vhost);
        free(blk);
        errno = -error;
        return NULL;
    }
    return blk;
}

int vhost_blk_run(struct vhost_blk *blk, void (*enter)(void))
{
    return vhost_run(blk->vhost, blk->virtio.loop, enter, changed);
}

void vhost_blk_free(struct vhost_blk *blk)
{
    if (!blk)
        return;
    vhost_free(blk->vhost);
    virtio_free(&blk->virtio);
    free(blk);
}

struct virtio *vhost_blk_virtio(struct vhost_blk *blk)
{
    return &blk->virtio;
}

struct vhost *vhost_blk_vhost(struct vhost_blk *blk)
{
    return blk->vhost;
}
