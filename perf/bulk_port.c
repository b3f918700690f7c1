/* SPDX-License-Identifier: BSD-3-Clause */
#include "bulk_port.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>
#include "driver.h"
#include "host.h"

#define RING       256u
#define BATCH      64u
#define TIMEOUT_MS 60000
#define BUFFER     (BULK_FRAME_MAX + VIRTIO_NET_HEADER_SIZE) /* bytes */

struct bulk_port {
    struct driver_device *device; /* NULL: a tap */
    struct driver_queue *tx, *rx;
    uint16_t buffers[BATCH]; /* collected, from `at` on not yet seen */
    uint32_t sizes[BATCH];
    unsigned count, at;
    int fd;
    struct virtio_net_header header;
    uint32_t size;
    /* A tap's buffers: as many as a ring has, so that they are as far from the processor. */
    unsigned sending, receiving;
    uint8_t sent[RING][BUFFER], arrived[RING][BUFFER];
};

static int open_tap(struct bulk_port *port, const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int size = VIRTIO_NET_HEADER_SIZE;
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    port->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (port->fd < 0 || ioctl(port->fd, TUNSETIFF, &request) < 0 ||
        ioctl(port->fd, TUNSETVNETHDRSZ, &size) < 0 ||
        ioctl(port->fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) < 0)
        return -errno;
    return 0;
}

static int open_device(struct bulk_port *port, const char *path)
{
    struct driver_config config = {.path = path,
                                   .queue_pairs = 1,
                                   .ring_size = RING,
                                   .buffer_size = BUFFER,
                                   .features = FEATURES_PLAIN | FEATURES_OFFLOADS,
                                   .timeout_ms = TIMEOUT_MS,
                                   .hugepages = true};
    port->device = driver_open(&config);
    if (!port->device)
        return -errno;
    port->tx = driver_tx_queue(port->device, 0);
    port->rx = driver_rx_queue(port->device, 0);
    return 0;
}

struct bulk_port *bulk_port_open(const char *name)
{
    struct bulk_port *port = calloc(1, sizeof(*port));
    if (!port)
        return NULL;
    port->fd = -1;
    int status = strchr(name, '/') ? open_device(port, name) : open_tap(port, name);
    if (status == 0)
        return port;
    bulk_port_close(port);
    errno = -status;
    return NULL;
}

void bulk_port_close(struct bulk_port *port)
{
    if (!port)
        return;
    if (port->device)
        driver_close(port->device);
    if (port->fd >= 0)
        close(port->fd);
    free(port);
}

static int write_tap(const struct bulk_port *port, const struct virtio_net_header *header,
                     const uint8_t *frame, uint32_t size)
{
    struct iovec parts[2] = {{(void *)(uintptr_t)header, sizeof(*header)}, {(void *)(uintptr_t)frame, size}};
    return writev(port->fd, parts, 2) < 0 ? -errno : 0;
}

int bulk_port_send(struct bulk_port *port, const struct virtio_net_header *header, const uint8_t *frame,
                   uint32_t size)
{
    if (!port->device)
        return write_tap(port, header, frame, size);
    int status = driver_transmit(port->tx, header, frame, size);
    driver_kick(port->tx);
    return status;
}

int bulk_port_prepare(struct bulk_port *port, const struct virtio_net_header *header, const uint8_t *frame,
                      uint32_t size)
{
    uint32_t sizes[RING];
    port->header = *header;
    port->size = size;
    for (unsigned i = 0; i < RING && !port->device; i++)
        memcpy(port->sent[i], frame, size);
    if (!port->device)
        return 0;
    for (unsigned i = 0; i < driver_buffer_count(port->tx) && i < RING; i++) {
        uint8_t *buffer = driver_buffer(port->tx, i);
        memcpy(buffer, header, sizeof(*header));
        memcpy(buffer + VIRTIO_NET_HEADER_SIZE, frame, size);
        sizes[i] = VIRTIO_NET_HEADER_SIZE + size;
    }
    int status = driver_prepare(port->tx, sizes);
    for (unsigned waited = 0; status == -EBUSY && waited < TIMEOUT_MS; waited++) { /* a frame is still out */
        poll(NULL, 0, 1);
        status = driver_prepare(port->tx, sizes);
    }
    return status;
}

uint8_t *bulk_port_next(struct bulk_port *port)
{
    if (!port->device)
        return port->sent[port->sending];
    if (driver_in_flight(port->tx) == driver_buffer_count(port->tx))
        return NULL;
    return driver_buffer(port->tx, driver_next_buffer(port->tx)) + VIRTIO_NET_HEADER_SIZE;
}

void bulk_port_publish(struct bulk_port *port)
{
    if (port->device) {
        driver_publish(port->tx, 1);
        return;
    }
    write_tap(port, &port->header, port->sent[port->sending], port->size);
    port->sending = (port->sending + 1) % RING;
}

void bulk_port_kick(struct bulk_port *port)
{
    if (port->device)
        driver_kick(port->tx);
}

void bulk_port_wait(struct bulk_port *port, int timeout_ms)
{
    struct pollfd event = {.fd = port->fd, .events = POLLIN};
    if (port->device)
        driver_wait(port->rx, timeout_ms);
    else
        poll(&event, 1, timeout_ms);
}

static uint32_t receive_device(struct bulk_port *port, uint8_t *frame, uint32_t capacity)
{
    if (port->at == port->count) {
        driver_recycle(port->rx, port->count);
        driver_kick(port->rx);
        port->at = 0;
        port->count = driver_collect(port->rx, port->buffers, port->sizes, BATCH);
        if (port->count == 0)
            return 0;
    }
    const uint8_t *buffer = driver_buffer(port->rx, port->buffers[port->at]);
    uint32_t size = port->sizes[port->at++];
    size = size > VIRTIO_NET_HEADER_SIZE ? size - VIRTIO_NET_HEADER_SIZE : 0;
    memcpy(frame, buffer + VIRTIO_NET_HEADER_SIZE, size < capacity ? size : capacity);
    return size;
}

uint32_t bulk_port_receive(struct bulk_port *port, uint8_t *frame, uint32_t capacity)
{
    if (port->device)
        return receive_device(port, frame, capacity);
    const uint8_t *buffer = port->arrived[port->receiving];
    ssize_t size = read(port->fd, port->arrived[port->receiving], BUFFER);
    if (size <= (ssize_t)VIRTIO_NET_HEADER_SIZE)
        return 0;
    port->receiving = (port->receiving + 1) % RING;
    size -= VIRTIO_NET_HEADER_SIZE;
    memcpy(frame, buffer + VIRTIO_NET_HEADER_SIZE, (uint32_t)size < capacity ? (size_t)size : capacity);
    return (uint32_t)size;
}
