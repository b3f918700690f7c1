/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * A device's memory and rings live from open to close, whatever happens to the connection; a connection is
 * made and set up (connect_device) at open and again at each reconnect, from the positions that the rings
 * themselves tell.
 *
 * Each queue has as many buffers as descriptors. A receive queue gives all of them at once; what is collected
 * is given again in the same order. A transmit queue is used in one of two ways: frame by frame
 * (driver_transmit, buffers taken in a circle), or prepared (buffer i belongs to descriptor i for good,
 * publishing is moving an index).
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "driver_private.h"

#define FEATURE(bit)  (1ull << (bit))
#define RX_PIECES_MAX 1024u
#define LAYOUT(queue, function, ...)                                                                         \
    ((queue)->packed ? driver_packed_##function(queue, ##__VA_ARGS__)                                        \
                     : driver_split_##function(queue, ##__VA_ARGS__))

static const uint64_t protocol_wanted = FEATURE(VHOST_PROTOCOL_F_MQ) | FEATURE(VHOST_PROTOCOL_F_REPLY_ACK) |
                                        FEATURE(VHOST_PROTOCOL_F_STATUS) | FEATURE(VHOST_PROTOCOL_F_CONFIG) |
                                        FEATURE(VHOST_PROTOCOL_F_RARP) | FEATURE(VHOST_PROTOCOL_F_NET_MTU);

static int listen_socket(const char *path)
{
    struct sockaddr_un address;
    int result = vhost_socket_address(&address, path);
    if (result < 0)
        return result;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    unlink(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0) {
        result = -errno;
        close(fd);
        return result;
    }
    return fd;
}

static struct vhost_frontend *accept_frontend(const struct driver_device *device)
{
    struct pollfd item = {.fd = device->listen_fd, .events = POLLIN};
    if (poll(&item, 1, device->config.timeout_ms) <= 0) {
        errno = ETIMEDOUT;
        return NULL;
    }
    int fd = accept4(device->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    return fd < 0 ? NULL : vhost_frontend_adopt(fd, device->config.timeout_ms);
}

static int set_up_ring(struct driver_queue *queue)
{
    struct driver_device *device = queue->device;
    struct vhost_frontend_ring ring = {
        .size = queue->size,
        .desc = queue->desc,
        .driver = queue->avail,
        .device = queue->used,
        .kick_fd = queue->kick_fd,
        .call_fd = queue->call_fd,
    };
    LAYOUT(queue, position, &ring);
    int result = vhost_frontend_set_ring(device->frontend, queue->index, &ring);
    return result < 0 ? result : vhost_frontend_enable_ring(device->frontend, queue->index, true);
}

static int set_status(struct driver_device *device, uint8_t status)
{
    int result = vhost_frontend_set_status(device->frontend, status);
    return result == -EOPNOTSUPP ? 0 : result;
}

/* Negotiates; on the first connection decides on the features, later insists on the same ones. */
static int negotiate(struct driver_device *device)
{
    uint64_t offered;
    unsigned pairs;
    int result = vhost_frontend_negotiate(device->frontend, protocol_wanted, &offered, &pairs);
    if (result < 0)
        return result;
    uint64_t features = device->queues ? device->features : device->config.features & offered;
    if (pairs < device->config.queue_pairs || (features & ~offered))
        return -EINVAL;
    device->features = features;
    set_status(device, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    result = vhost_frontend_set_features(device->frontend, features);
    if (result < 0)
        return result;
    return set_status(device,
                      VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
}

static int connect_frontend(struct driver_device *device)
{
    device->frontend = device->config.listen
                           ? accept_frontend(device)
                           : vhost_frontend_connect(device->config.path, device->config.timeout_ms);
    if (!device->frontend)
        return -errno;
    return negotiate(device);
}

static int start_device(struct driver_device *device)
{
    struct vhost_frontend_region region = {
        .guest_address = DRIVER_GUEST_BASE,
        .size = device->memory_size,
        .host_address = device->memory,
        .fd = device->memory_fd,
    };
    int result = vhost_frontend_set_memory(device->frontend, &region, 1);
    for (unsigned i = 0; i < device->queue_count && result == 0; i++)
        result = set_up_ring(&device->queues[i]);
    if (result < 0)
        return result;
    return set_status(device, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                                  VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
}

static int init_queue(struct driver_device *device, unsigned index)
{
    struct driver_queue *queue = &device->queues[index];
    const struct driver_config *config = &device->config;
    uint64_t features = device->features;
    queue->device = device;
    queue->index = index;
    queue->receives = index % 2 == 0;
    queue->packed = features & FEATURE(VIRTIO_F_RING_PACKED);
    queue->event_idx = features & FEATURE(VIRTIO_RING_F_EVENT_IDX);
    queue->in_order = features & FEATURE(VIRTIO_F_IN_ORDER);
    queue->mergeable = features & FEATURE(VIRTIO_NET_F_MRG_RXBUF);
    queue->size = config->ring_size;
    queue->buffer_size = config->buffer_size;
    unsigned entries = DRIVER_FRAME_MAX / config->buffer_size + 1;
    if (!queue->receives && (features & FEATURE(VIRTIO_RING_F_INDIRECT_DESC)) && entries > 1)
        queue->indirect_entries = (uint16_t)(entries < queue->size ? entries : queue->size);
    queue->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    queue->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return queue->kick_fd < 0 || queue->call_fd < 0 ? -errno : 0;
}

static int open_queues(struct driver_device *device)
{
    unsigned count = 2 * device->config.queue_pairs;
    device->queues = calloc(count, sizeof(*device->queues));
    if (!device->queues)
        return -ENOMEM;
    device->queue_count = count;
    for (unsigned i = 0; i < count; i++)
        device->queues[i].kick_fd = device->queues[i].call_fd = -1;
    for (unsigned i = 0; i < count; i++) {
        int result = init_queue(device, i);
        if (result < 0)
            return result;
    }
    int result = driver_memory_open(device);
    if (result < 0)
        return result;
    for (unsigned i = 0; i < count; i++) {
        struct driver_queue *queue = &device->queues[i];
        LAYOUT(queue, reset);
        if (queue->receives)
            LAYOUT(queue, prepare, NULL);
    }
    return 0;
}

static bool config_valid(const struct driver_config *config)
{
    bool packed = config->features & FEATURE(VIRTIO_F_RING_PACKED);
    return config->queue_pairs > 0 && config->queue_pairs <= 0x8000 && config->ring_size > 0 &&
           (packed || (config->ring_size & (config->ring_size - 1)) == 0) &&
           config->buffer_size >= VIRTIO_NET_HEADER_SIZE + PACKET_SIZE_MIN;
}

struct driver_device *driver_open(const struct driver_config *config)
{
    struct driver_device *device = config_valid(config) ? calloc(1, sizeof(*device)) : NULL;
    char *path = device ? strdup(config->path) : NULL;
    if (!path) {
        errno = device ? ENOMEM : EINVAL;
        free(device);
        return NULL;
    }
    device->config = *config;
    device->config.path = path;
    device->listen_fd = device->memory_fd = -1;
    int result = 0;
    if (config->listen) {
        device->listen_fd = listen_socket(path);
        result = device->listen_fd < 0 ? device->listen_fd : 0;
    }
    if (result == 0)
        result = connect_frontend(device);
    /* A packed size is no split size, if the switch does not offer packed rings. */
    if (result == 0 && !(device->features & FEATURE(VIRTIO_F_RING_PACKED)) &&
        (config->ring_size & (config->ring_size - 1)))
        result = -EINVAL;
    if (result == 0)
        result = open_queues(device);
    if (result == 0)
        result = start_device(device);
    if (result < 0) {
        driver_close(device);
        errno = -result;
        return NULL;
    }
    return device;
}

void driver_close(struct driver_device *device)
{
    if (!device)
        return;
    vhost_frontend_close(device->frontend);
    driver_memory_close(device);
    for (unsigned i = 0; i < device->queue_count; i++) {
        if (device->queues[i].kick_fd >= 0)
            close(device->queues[i].kick_fd);
        if (device->queues[i].call_fd >= 0)
            close(device->queues[i].call_fd);
    }
    free(device->queues);
    if (device->listen_fd >= 0) {
        close(device->listen_fd);
        unlink(device->config.path);
    }
    free((char *)(uintptr_t)device->config.path);
    free(device);
}

static void signal_kick(const struct driver_queue *queue)
{
    uint64_t one = 1;
    if (write(queue->kick_fd, &one, sizeof(one)) < 0) {
        /* EAGAIN: the counter is full, so the kick is pending anyway. */
    }
}

int driver_reconnect(struct driver_device *device)
{
    vhost_frontend_close(device->frontend);
    device->frontend = NULL;
    int result = connect_frontend(device);
    if (result == 0)
        result = start_device(device);
    if (result < 0)
        return result;
    /* The new switch knows nothing of earlier kicks, and what it wants is not in the rings yet. */
    for (unsigned i = 0; i < device->queue_count; i++)
        signal_kick(&device->queues[i]);
    return 0;
}

uint64_t driver_features(const struct driver_device *device)
{
    return device->features;
}

struct vhost_frontend *driver_frontend(struct driver_device *device)
{
    return device->frontend;
}

struct driver_queue *driver_rx_queue(struct driver_device *device, unsigned pair)
{
    return pair < device->config.queue_pairs ? &device->queues[2 * pair] : NULL;
}

struct driver_queue *driver_tx_queue(struct driver_device *device, unsigned pair)
{
    return pair < device->config.queue_pairs ? &device->queues[2 * pair + 1] : NULL;
}

unsigned driver_buffer_count(const struct driver_queue *queue)
{
    return queue->size;
}

uint8_t *driver_buffer(struct driver_queue *queue, unsigned buffer)
{
    return queue->buffers + (size_t)buffer * queue->buffer_size;
}

uint32_t driver_buffer_size(const struct driver_queue *queue)
{
    return queue->buffer_size;
}

/* Copies the frame behind the header into as many buffers as it needs, described in list. */
static void gather(struct driver_queue *queue, const struct virtio_net_header *header, const uint8_t *frame,
                   uint32_t size, struct driver_piece *list, unsigned count)
{
    uint32_t used = VIRTIO_NET_HEADER_SIZE;
    for (unsigned i = 0; i < count; i++) {
        uint8_t *buffer = driver_buffer(queue, queue->next_buffer);
        uint32_t room = queue->buffer_size - used, part = size < room ? size : room;
        if (used > 0)
            memcpy(buffer, header, VIRTIO_NET_HEADER_SIZE);
        memcpy(buffer + used, frame, part);
        list[i] = (struct driver_piece){.address = driver_buffer_address(queue, queue->next_buffer),
                                        .size = used + part};
        frame += part;
        size -= part;
        used = 0;
        queue->next_buffer = driver_slot_after(queue, queue->next_buffer, 1);
    }
}

int driver_transmit(struct driver_queue *queue, const struct virtio_net_header *header, const void *frame,
                    uint32_t size)
{
    struct driver_piece list[DRIVER_FRAME_MAX / (VIRTIO_NET_HEADER_SIZE + PACKET_SIZE_MIN) + 1];
    if (queue->receives || queue->prepared)
        return -EINVAL;
    unsigned count = (VIRTIO_NET_HEADER_SIZE + size + queue->buffer_size - 1) / queue->buffer_size;
    if (size > PACKET_SIZE_MAX || count > queue->size)
        return -EMSGSIZE;
    unsigned slots = count <= queue->indirect_entries ? 1 : count;
    if (queue->free_slots < slots || queue->free_buffers < count)
        LAYOUT(queue, reclaim);
    if (queue->free_slots < slots || queue->free_buffers < count)
        return -EAGAIN;
    gather(queue, header, frame, size, list, count);
    LAYOUT(queue, post, list, count);
    return 0;
}

/* Collects the buffers of one frame and copies them out. */
static int scatter(struct driver_queue *queue, struct virtio_net_header *header, uint8_t *frame,
                   uint32_t capacity, unsigned count)
{
    uint32_t total = 0, skip = VIRTIO_NET_HEADER_SIZE;
    int result = 0;
    for (unsigned i = 0; i < count; i++) {
        uint16_t buffer;
        uint32_t size;
        if (LAYOUT(queue, collect, &buffer, &size, 1) != 1 || size < skip || size > queue->buffer_size) {
            result = -EPROTO;
            break;
        }
        const uint8_t *bytes = driver_buffer(queue, buffer);
        if (skip > 0)
            memcpy(header, bytes, skip);
        size -= skip;
        if (size > capacity - total)
            result = -EMSGSIZE;
        else
            memcpy(frame + total, bytes + skip, size);
        if (result == 0)
            total += size;
        skip = 0;
    }
    driver_recycle(queue, queue->free_slots);
    return result < 0 ? result : (int)total;
}

int driver_receive(struct driver_queue *queue, struct virtio_net_header *header, void *frame,
                   uint32_t capacity)
{
    struct driver_used used[RX_PIECES_MAX];
    uint16_t count = 1;
    if (!queue->receives || queue->free_slots > 0)
        return -EINVAL;
    if (LAYOUT(queue, peek, used, 1) == 0)
        return 0;
    if (used[0].id >= queue->size)
        return -EPROTO;
    if (queue->mergeable)
        memcpy(&count, driver_buffer(queue, used[0].id) + offsetof(struct virtio_net_header, num_buffers),
               sizeof(count));
    if (count == 0 || count > queue->size || count > RX_PIECES_MAX)
        return -EPROTO;
    if (LAYOUT(queue, peek, used, count) < count)
        return 0;
    return scatter(queue, header, frame, capacity, count);
}

int driver_prepare(struct driver_queue *queue, const uint32_t *sizes)
{
    if (queue->receives)
        return -EINVAL;
    LAYOUT(queue, reclaim);
    if (queue->in_flight > 0)
        return -EBUSY;
    for (unsigned i = 0; i < queue->size; i++) {
        if (sizes[i] > queue->buffer_size)
            return -EINVAL;
    }
    LAYOUT(queue, prepare, sizes);
    queue->prepared = true;
    return 0;
}

unsigned driver_publish(struct driver_queue *queue, unsigned count)
{
    if (!queue->prepared)
        return 0;
    if (queue->free_slots < count)
        LAYOUT(queue, reclaim);
    if (count > queue->free_slots)
        count = queue->free_slots;
    if (count == 0)
        return 0;
    LAYOUT(queue, publish, count);
    queue->free_slots -= count;
    queue->free_buffers -= count;
    queue->in_flight += count;
    return count;
}

unsigned driver_collect(struct driver_queue *queue, uint16_t *buffers, uint32_t *sizes, unsigned count)
{
    return queue->receives ? LAYOUT(queue, collect, buffers, sizes, count) : 0;
}

void driver_recycle(struct driver_queue *queue, unsigned count)
{
    if (!queue->receives)
        return;
    if (count > queue->free_slots)
        count = queue->free_slots;
    if (count > 0)
        LAYOUT(queue, recycle, count);
}

unsigned driver_skip(struct driver_queue *queue, unsigned count)
{
    return queue->receives && queue->free_slots == 0 ? LAYOUT(queue, skip, count) : 0;
}

unsigned driver_next_buffer(const struct driver_queue *queue)
{
    return LAYOUT(queue, next_buffer);
}

unsigned driver_in_flight(struct driver_queue *queue)
{
    if (queue->receives)
        return queue->size - queue->free_slots;
    LAYOUT(queue, reclaim);
    return queue->in_flight;
}

void driver_kick(struct driver_queue *queue)
{
    if (LAYOUT(queue, wants_kick))
        signal_kick(queue);
}

/* A call may be late, for a buffer that was already collected: only a buffer counts. */
int driver_wait(struct driver_queue *queue, int timeout_ms)
{
    struct timespec start, now;
    uint64_t count;
    bool pending;
    int left = timeout_ms;
    clock_gettime(CLOCK_MONOTONIC, &start);
    LAYOUT(queue, arm);
    while (!(pending = LAYOUT(queue, pending)) && left >= 0) {
        struct pollfd item = {.fd = queue->call_fd, .events = POLLIN};
        if (poll(&item, 1, left) == 1 && read(queue->call_fd, &count, sizeof(count)) == sizeof(count))
            LAYOUT(queue, arm);
        clock_gettime(CLOCK_MONOTONIC, &now);
        left =
            timeout_ms - (int)((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000);
        if (left == 0)
            left = -1;
    }
    LAYOUT(queue, disarm);
    return pending ? 0 : -ETIMEDOUT;
}
