/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "hostile.h"

#define FEATURE(bit) (1ull << (bit))
#define PROTOCOL                                                                                             \
    (FEATURE(VHOST_PROTOCOL_F_MQ) | FEATURE(VHOST_PROTOCOL_F_CONFIG) | FEATURE(VHOST_PROTOCOL_F_STATUS) |    \
     FEATURE(VHOST_PROTOCOL_F_BACKEND_REQ) | FEATURE(VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS) |                 \
     FEATURE(VHOST_PROTOCOL_F_RESET_DEVICE))

struct descriptor {
    uint64_t address;
    uint32_t size;
    uint16_t third, fourth; /* split: flags, next; packed: id, flags */
};

bool hostile_fail(struct hostile *h, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(h->reason, sizeof(h->reason), format, arguments);
    va_end(arguments);
    return false;
}

bool hostile_open(struct hostile *h, const char *path)
{
    memset(h, 0, sizeof(*h));
    h->path = path;
    h->fd = -1;
    h->memory_fd = memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (h->memory_fd < 0 || ftruncate(h->memory_fd, 2 * REGION_SIZE) < 0)
        return hostile_fail(h, "memfd: %s", strerror(errno));
    h->memory = mmap(NULL, 2 * REGION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, h->memory_fd, 0);
    if (h->memory == MAP_FAILED)
        return hostile_fail(h, "mmap: %s", strerror(errno));
    for (unsigned i = 0; i < 2; i++) {
        struct hostile_ring *ring = &h->rings[i];
        ring->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        ring->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        ring->error_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        ring->desc = hostile_at(h, GUEST_RINGS(i));
        ring->driver = hostile_at(h, GUEST_RINGS(i) + 0x8000);
        ring->device = hostile_at(h, GUEST_RINGS(i) + 0x10000);
    }
    return true;
}

void hostile_close(struct hostile *h)
{
    hostile_disconnect(h);
    for (unsigned i = 0; i < 2; i++) {
        close(h->rings[i].kick_fd);
        close(h->rings[i].call_fd);
        close(h->rings[i].error_fd);
    }
    munmap(h->memory, 2 * REGION_SIZE);
    close(h->memory_fd);
}

bool hostile_connect(struct hostile *h)
{
    struct sockaddr_un address;
    hostile_disconnect(h);
    if (vhost_socket_address(&address, h->path) < 0)
        return hostile_fail(h, "%s is no socket address", h->path);
    h->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (h->fd < 0 || connect(h->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return hostile_fail(h, "%s: %s", h->path, strerror(errno));
    return true;
}

void hostile_disconnect(struct hostile *h)
{
    if (h->fd >= 0)
        close(h->fd);
    h->fd = -1;
}

bool hostile_send(struct hostile *h, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
                  const int *fds, unsigned fd_count)
{
    struct vhost_message message = {
        .request = request, .flags = flags ? flags : VHOST_FLAG_VERSION, .size = size};
    if (size > 0)
        memcpy(&message.payload, payload, size);
    int result;
    while ((result = vhost_send(h->fd, &message, fds, fd_count)) == -EAGAIN) {
        struct pollfd item = {.fd = h->fd, .events = POLLOUT};
        if (poll(&item, 1, HOSTILE_TIMEOUT_MS) <= 0)
            return hostile_fail(h, "the switch does not read");
    }
    return result == 0 ||
           hostile_fail(h, "%s cannot be sent: %s", vhost_request_name(request), strerror(-result));
}

bool hostile_send_u64(struct hostile *h, uint32_t request, uint64_t value)
{
    return hostile_send(h, request, 0, &value, sizeof(value), NULL, 0);
}

bool hostile_send_state(struct hostile *h, uint32_t request, uint32_t index, uint32_t num)
{
    struct vhost_ring_state state = {.index = index, .num = num};
    return hostile_send(h, request, 0, &state, sizeof(state), NULL, 0);
}

bool hostile_send_fd(struct hostile *h, uint32_t request, uint64_t value, int fd)
{
    return hostile_send(h, request, 0, &value, sizeof(value), &fd, fd >= 0 ? 1 : 0);
}

bool hostile_send_address(struct hostile *h, unsigned ring, uint64_t desc, uint64_t avail, uint64_t used)
{
    struct vhost_ring_address address = {.index = ring, .desc = desc, .avail = avail, .used = used};
    return hostile_send(h, VHOST_SET_VRING_ADDR, 0, &address, sizeof(address), NULL, 0);
}

int hostile_reply(struct hostile *h, uint32_t request, void *payload, uint32_t capacity, int timeout_ms)
{
    struct vhost_receiver receiver;
    const char *violation;
    int result;
    vhost_receiver_init(&receiver);
    while ((result = vhost_receive(&receiver, h->fd, &violation)) == 0) {
        struct pollfd item = {.fd = h->fd, .events = POLLIN};
        if (poll(&item, 1, timeout_ms) <= 0)
            return -1;
    }
    uint32_t size = receiver.message.size;
    bool right = result == 1 && receiver.message.request == request && size <= capacity;
    if (right)
        memcpy(payload, &receiver.message.payload, size);
    vhost_receiver_reset(&receiver);
    return right ? (int)size : -1;
}

bool hostile_query(struct hostile *h, uint32_t request, uint64_t *value)
{
    if (!hostile_send(h, request, 0, NULL, 0, NULL, 0))
        return false;
    if (hostile_reply(h, request, value, sizeof(*value), HOSTILE_TIMEOUT_MS) != sizeof(*value))
        return hostile_fail(h, "%s is not answered", vhost_request_name(request));
    return true;
}

bool hostile_closed(const struct hostile *h, int timeout_ms)
{
    struct pollfd item = {.fd = h->fd, .events = POLLRDHUP};
    return poll(&item, 1, timeout_ms) == 1 && (item.revents & (POLLHUP | POLLRDHUP | POLLERR));
}

bool hostile_negotiate(struct hostile *h, uint64_t features)
{
    uint64_t offered;
    h->packed = features & FEATURE(VIRTIO_F_RING_PACKED);
    memset(h->memory, 0, 2 * REGION_SIZE);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t count;
        h->rings[i].given = 0;
        while (read(h->rings[i].error_fd, &count, sizeof(count)) > 0)
            continue;
    }
    return hostile_query(h, VHOST_GET_FEATURES, &offered) &&
           hostile_send_u64(h, VHOST_SET_PROTOCOL_FEATURES, PROTOCOL) &&
           hostile_send(h, VHOST_SET_OWNER, 0, NULL, 0, NULL, 0) &&
           hostile_send_u64(h, VHOST_SET_FEATURES,
                            features | FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VHOST_USER_F_PROTOCOL_FEATURES));
}

void hostile_default_regions(struct vhost_wire_region regions[2])
{
    regions[0] = (struct vhost_wire_region){
        .guest_address = GUEST_BASE, .size = REGION_SIZE, .user_address = USER_BASE, .mmap_offset = 0};
    regions[1] = (struct vhost_wire_region){.guest_address = GUEST_SECOND,
                                            .size = REGION_SIZE,
                                            .user_address = USER_SECOND,
                                            .mmap_offset = REGION_SIZE};
}

bool hostile_send_table(struct hostile *h, const struct vhost_wire_region *regions, unsigned count,
                        const int *fds, unsigned fd_count)
{
    struct vhost_wire_table table = {.count = count};
    memcpy(table.regions, regions, count * sizeof(*regions));
    return hostile_send(h, VHOST_SET_MEM_TABLE, 0, &table,
                        (uint32_t)(offsetof(struct vhost_wire_table, regions) + count * sizeof(*regions)),
                        fds, fd_count);
}

bool hostile_set_memory(struct hostile *h)
{
    struct vhost_wire_region regions[2];
    int fds[2] = {h->memory_fd, h->memory_fd};
    hostile_default_regions(regions);
    return hostile_send_table(h, regions, 2, fds, 2);
}

bool hostile_to_memory(struct hostile *h, uint64_t features)
{
    return hostile_negotiate(h, features) && hostile_set_memory(h);
}

bool hostile_set_ring(struct hostile *h, unsigned index)
{
    const struct hostile_ring *ring = &h->rings[index];
    uint64_t user = USER_BASE + GUEST_RINGS(index) - GUEST_BASE;
    return hostile_send_state(h, VHOST_SET_VRING_NUM, index, HOSTILE_RING_SIZE) &&
           hostile_send_state(h, VHOST_SET_VRING_BASE, index, h->packed ? 0x8000 : 0) &&
           hostile_send_address(h, index, user, user + 0x8000, user + 0x10000) &&
           hostile_send_fd(h, VHOST_SET_VRING_CALL, index, ring->call_fd) &&
           hostile_send_fd(h, VHOST_SET_VRING_ERR, index, ring->error_fd) &&
           hostile_send_fd(h, VHOST_SET_VRING_KICK, index, ring->kick_fd) &&
           hostile_send_state(h, VHOST_SET_VRING_ENABLE, index, 1);
}

bool hostile_start(struct hostile *h, uint64_t features)
{
    uint64_t status;
    /* The answer to the last question means that everything before it was done. */
    return hostile_to_memory(h, features) && hostile_set_ring(h, HOSTILE_RX) &&
           hostile_set_ring(h, HOSTILE_TX) && hostile_query(h, VHOST_GET_STATUS, &status);
}

void *hostile_at(struct hostile *h, uint64_t guest)
{
    return h->memory + (guest >= GUEST_SECOND ? guest - GUEST_SECOND + REGION_SIZE : guest - GUEST_BASE);
}

void hostile_put(struct hostile *h, unsigned ring, unsigned slot, uint64_t address, uint32_t size,
                 uint16_t flags, uint16_t next)
{
    struct descriptor *desc = h->rings[ring].desc;
    if (!h->packed) {
        desc[slot] = (struct descriptor){address, size, flags, next};
        return;
    }
    desc[slot].address = address;
    desc[slot].size = size;
    desc[slot].third = next ? next : (uint16_t)slot;
    __atomic_store_n(&desc[slot].fourth, flags | 0x80 /* AVAIL */, __ATOMIC_RELEASE);
}

void hostile_kick(const struct hostile *h, unsigned ring)
{
    uint64_t one = 1;
    if (write(h->rings[ring].kick_fd, &one, sizeof(one)) < 0) {
        /* Full: it is pending anyway. */
    }
}

void hostile_give(struct hostile *h, unsigned index, uint16_t head)
{
    struct hostile_ring *ring = &h->rings[index];
    if (!h->packed) {
        uint16_t *avail = ring->driver;
        avail[2 + ring->given % HOSTILE_RING_SIZE] = head;
        __atomic_store_n(&avail[1], ++ring->given, __ATOMIC_RELEASE);
    }
    hostile_kick(h, index);
}

unsigned hostile_outstanding(const struct hostile *h, unsigned ring)
{
    const uint16_t *used = h->rings[ring].device;
    return (uint16_t)(h->rings[ring].given - __atomic_load_n(&used[1], __ATOMIC_ACQUIRE));
}

void hostile_fill_frame(uint8_t *frame, uint32_t size)
{
    static const uint8_t addresses[12] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0xba, 0xad};
    memset(frame, 0x5a, size);
    memcpy(frame, addresses, sizeof(addresses));
    frame[12] = 0x88;
    frame[13] = 0xb5;
}

static bool slot_used(const struct hostile *h, unsigned ring, unsigned slot)
{
    const struct descriptor *desc = h->rings[ring].desc;
    return (__atomic_load_n(&desc[slot].fourth, __ATOMIC_ACQUIRE) & 0x8080) == 0x8080;
}

bool hostile_frame_taken(struct hostile *h)
{
    struct hostile_ring *ring = &h->rings[HOSTILE_TX];
    struct timespec pause = {.tv_nsec = 1000000};
    unsigned slot = 200;
    uint8_t *buffer = hostile_at(h, GUEST_BUFFER + 0x80000);
    memset(buffer, 0, VIRTIO_NET_HEADER_SIZE);
    hostile_fill_frame(buffer + VIRTIO_NET_HEADER_SIZE, 100);
    if (h->packed) {
        slot = 0;
        while (slot < HOSTILE_RING_SIZE && slot_used(h, HOSTILE_TX, slot))
            slot++;
    }
    hostile_put(h, HOSTILE_TX, slot, GUEST_BUFFER + 0x80000, VIRTIO_NET_HEADER_SIZE + 100, 0, 0);
    hostile_give(h, HOSTILE_TX, (uint16_t)slot);
    for (int waited = 0; waited < HOSTILE_TIMEOUT_MS; waited++) {
        if (h->packed ? slot_used(h, HOSTILE_TX, slot) : hostile_outstanding(h, HOSTILE_TX) == 0)
            return true;
        if (hostile_closed(h, 0))
            return hostile_fail(h, "the connection was closed");
        hostile_kick(h, HOSTILE_TX);
        nanosleep(&pause, NULL);
    }
    return hostile_fail(h, "a good frame is not taken (%u given)", ring->given);
}

bool hostile_feed(struct hostile *h)
{
    struct virtio_net_header header = {0};
    uint8_t frame[100];
    hostile_fill_frame(frame, sizeof(frame));
    if (h->peer) {
        if (driver_transmit(driver_tx_queue(h->peer, 0), &header, frame, sizeof(frame)) < 0)
            return hostile_fail(h, "the peer cannot send");
        driver_kick(driver_tx_queue(h->peer, 0));
    }
    return !h->echo || hostile_frame_taken(h);
}
