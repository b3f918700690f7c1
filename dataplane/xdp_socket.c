/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening AF_XDP sockets. Zero-copy is tried by the kernel itself if a bind asks for neither way, copying
 * comes next; XDP_OPTIONS tells which it was.
 *
 * The kernel gives a receive queue free a moment after the socket that had it is closed (xp_release_deferred
 * runs from a work queue), also when that was a dataplane that died: a bind waits for that.
 */
#include "xdp_socket.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif
#define BIND_WAIT_MS 2000

static int failed(const struct dp_port *config, const char *what, char *text)
{
    int error = -errno;
    snprintf(text, XDP_TEXT_SIZE, "interface %.15s: AF_XDP: %.32s: %.30s", config->device, what,
             strerror(-error));
    return error;
}

static int check_descriptor(const struct dp_port *config, int fd, char *text)
{
    int domain = 0;
    socklen_t size = sizeof(domain);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_XDP)
        return 0;
    snprintf(text, XDP_TEXT_SIZE, "interface %.15s: a descriptor is no AF_XDP socket", config->device);
    return -EINVAL;
}

static int register_memory(struct xdp_socket *xdp, const struct dp_port *config, int fd, char *text)
{
    const uint32_t rx = XDP_RX_CHUNKS, tx = XDP_TX_CHUNKS;
    void *umem = mmap(NULL, XDP_UMEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (umem == MAP_FAILED)
        return failed(config, "no memory for frames", text);
    xdp->umem = umem;
    struct xdp_umem_reg registration = {
        .addr = (uint64_t)(uintptr_t)umem, .len = XDP_UMEM_SIZE, .chunk_size = XDP_CHUNK_SIZE};
    if (setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &registration, sizeof(registration)) < 0)
        return failed(config, "memory refused (ulimit -l?)", text);
    if (setsockopt(fd, SOL_XDP, XDP_UMEM_FILL_RING, &rx, sizeof(rx)) < 0 ||
        setsockopt(fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &tx, sizeof(tx)) < 0 ||
        setsockopt(fd, SOL_XDP, XDP_RX_RING, &rx, sizeof(rx)) < 0 ||
        setsockopt(fd, SOL_XDP, XDP_TX_RING, &tx, sizeof(tx)) < 0)
        return failed(config, "rings refused", text);
    return 0;
}

static bool map_ring(struct xdp_ring *ring, int fd, off_t page_offset, const struct xdp_ring_offset *offset,
                     uint32_t size, size_t entry_size)
{
    ring->map_size = offset->desc + size * entry_size;
    void *map =
        mmap(NULL, ring->map_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, page_offset);
    if (map == MAP_FAILED)
        return false;
    uint8_t *bytes = ring->map = map;
    ring->producer = (uint32_t *)(void *)(bytes + offset->producer);
    ring->consumer = (uint32_t *)(void *)(bytes + offset->consumer);
    ring->flags = (const uint32_t *)(void *)(bytes + offset->flags);
    ring->entries = bytes + offset->desc;
    ring->size = size;
    return true;
}

static int map_rings(struct xdp_socket *xdp, const struct dp_port *config, int fd, char *text)
{
    struct xdp_mmap_offsets offsets;
    socklen_t size = sizeof(offsets);
    if (getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &size) < 0 || size != sizeof(offsets) ||
        !map_ring(&xdp->rx, fd, XDP_PGOFF_RX_RING, &offsets.rx, XDP_RX_CHUNKS, sizeof(struct xdp_desc)) ||
        !map_ring(&xdp->tx, fd, XDP_PGOFF_TX_RING, &offsets.tx, XDP_TX_CHUNKS, sizeof(struct xdp_desc)) ||
        !map_ring(&xdp->fill, fd, (off_t)XDP_UMEM_PGOFF_FILL_RING, &offsets.fr, XDP_RX_CHUNKS,
                  sizeof(uint64_t)) ||
        !map_ring(&xdp->completion, fd, (off_t)XDP_UMEM_PGOFF_COMPLETION_RING, &offsets.cr, XDP_TX_CHUNKS,
                  sizeof(uint64_t)))
        return failed(config, "rings cannot be mapped", text);
    return 0;
}

/* All receive chunks to the kernel, all transmit chunks to us. */
static void hand_out_chunks(struct xdp_socket *xdp)
{
    uint64_t *fill = xdp->fill.entries;
    for (uint32_t i = 0; i < XDP_RX_CHUNKS; i++)
        fill[i] = (uint64_t)i * XDP_CHUNK_SIZE;
    xdp->fill.own = XDP_RX_CHUNKS;
    __atomic_store_n(xdp->fill.producer, xdp->fill.own, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < XDP_TX_CHUNKS; i++)
        xdp->free[i] = (uint64_t)(XDP_RX_CHUNKS + i) * XDP_CHUNK_SIZE;
    xdp->free_count = XDP_TX_CHUNKS;
}

static int bind_queue(const struct dp_port *config, int fd, uint32_t queue, char *text)
{
    const struct sockaddr_xdp address = {.sxdp_family = AF_XDP,
                                         .sxdp_flags = XDP_USE_NEED_WAKEUP,
                                         .sxdp_ifindex = config->ifindex,
                                         .sxdp_queue_id = queue};
    for (int waited = 0; bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0; waited++) {
        if (errno != EBUSY || waited == BIND_WAIT_MS)
            return failed(config, errno == EBUSY ? "a receive queue is another program's" : "bind", text);
        poll(NULL, 0, 1);
    }
    return 0;
}

int xdp_socket_open(struct xdp_socket *xdp, const struct dp_port *config, int fd, uint32_t queue, char *text)
{
    struct xdp_options options = {0};
    socklen_t size = sizeof(options);
    int error = check_descriptor(config, fd, text);
    if (!error)
        error = register_memory(xdp, config, fd, text);
    if (!error)
        error = map_rings(xdp, config, fd, text);
    if (error)
        return error;
    hand_out_chunks(xdp);
    error = bind_queue(config, fd, queue, text);
    if (error)
        return error;
    xdp->zero_copy = getsockopt(fd, SOL_XDP, XDP_OPTIONS, &options, &size) == 0 &&
                     (options.flags & XDP_OPTIONS_ZEROCOPY) != 0;
    xdp->fd = fd;
    return 0;
}

void xdp_socket_close(struct xdp_socket *xdp)
{
    struct xdp_ring *rings[] = {&xdp->rx, &xdp->tx, &xdp->fill, &xdp->completion};
    for (unsigned i = 0; i < 4; i++)
        if (rings[i]->map)
            munmap(rings[i]->map, rings[i]->map_size);
    if (xdp->fd >= 0)
        close(xdp->fd);
    if (xdp->umem)
        munmap(xdp->umem, XDP_UMEM_SIZE);
    memset(xdp, 0, sizeof(*xdp));
    xdp->fd = -1;
}
