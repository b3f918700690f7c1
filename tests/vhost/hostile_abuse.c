/* SPDX-License-Identifier: BSD-3-Clause */
/* Nothing wrong with any single step: too much, too fast, or at the same time. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "hostile.h"

#define FETCH "double fetch"
#define EVENT "signalled without ever blocking a worker"
#define STORM "a slow or mad guest hurts itself"
#define DROPS "baseline after every disconnect"

#define FEATURE(bit) (1ull << (bit))
#define RACE_MS      1000

/* Another thread rewrites descriptors, indices and indirect tables while frames are given. */
struct racer {
    struct hostile *h;
    atomic_bool stop;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void *race(void *argument)
{
    struct racer *racer = argument;
    static const uint64_t addresses[] = {
        GUEST_BUFFER,  GUEST_TABLE, GUEST_WILD, 0, ~0ull - 20, GUEST_SECOND, GUEST_SECOND + REGION_SIZE - 30,
        GUEST_RINGS(1)};
    static const uint32_t sizes[] = {112, 0, 1, 12, 25, 2048, 0xffffffff, 65536};
    static const uint16_t flags[] = {0, 1, 2, 4, 5, 0x80, 0x8080, 0x8000};
    unsigned seed = 1;
    while (!atomic_load_explicit(&racer->stop, memory_order_relaxed)) {
        unsigned step = (unsigned)rand_r(&seed);
        for (unsigned ring = 0; ring < 2; ring++) {
            volatile uint8_t *desc = (volatile uint8_t *)racer->h->rings[ring].desc + step % 8 * 16;
            *(volatile uint64_t *)desc = addresses[step / 8 % 8];
            *(volatile uint32_t *)(desc + 8) = sizes[step / 64 % 8];
            *(volatile uint16_t *)(desc + 12) = flags[step / 512 % 8];
            *(volatile uint16_t *)(desc + 14) =
                racer->h->packed ? flags[step / 4096 % 8] : (uint16_t)(step % 9);
        }
    }
    return NULL;
}

/* Each round until the ring is broken, then again on a new connection, for a second. */
static bool fields_flip(struct hostile *h, const void *argument)
{
    const uint64_t *features = argument;
    struct racer racer = {.h = h};
    pthread_t thread;
    uint64_t end = now_ms() + RACE_MS, value;
    bool right = true;
    if (pthread_create(&thread, NULL, race, &racer) != 0)
        return hostile_fail(h, "no thread");
    while (now_ms() < end && right) {
        uint64_t round_end = now_ms() + 20;
        right = hostile_start(h, *features | FEATURE(VIRTIO_RING_F_INDIRECT_DESC) |
                                     FEATURE(VIRTIO_NET_F_MRG_RXBUF));
        while (right && now_ms() < round_end) {
            for (uint16_t i = 0; i < 8; i++) {
                hostile_give(h, HOSTILE_RX, i);
                hostile_give(h, HOSTILE_TX, i);
            }
        }
        right = right && hostile_query(h, VHOST_GET_FEATURES, &value) && hostile_connect(h);
    }
    atomic_store(&racer.stop, true);
    pthread_join(thread, NULL);
    return right;
}

static bool used_ring_overwritten(struct hostile *h, const void *argument)
{
    if (!hostile_start(h, 0) || !hostile_frame_taken(h))
        return false;
    memset((uint8_t *)h->rings[HOSTILE_TX].device + 4, 0xff, 2048);
    uint16_t *used = h->rings[HOSTILE_TX].device;
    __atomic_store_n(&used[1], 0x1234, __ATOMIC_RELEASE);
    return true;
}

static bool event_index_lies(struct hostile *h, const void *argument)
{
    if (!hostile_start(h, FEATURE(VIRTIO_RING_F_EVENT_IDX)))
        return false;
    uint16_t *used_event = (uint16_t *)h->rings[HOSTILE_TX].driver + 2 + HOSTILE_RING_SIZE;
    uint16_t *avail_event = (uint16_t *)h->rings[HOSTILE_TX].device + 2 + 4 * HOSTILE_RING_SIZE;
    for (unsigned i = 0; i < 300; i++) {
        *used_event = (uint16_t)(i * 7919);
        *avail_event = (uint16_t)(i * 104729);
        if (!hostile_frame_taken(h))
            return false;
    }
    return true;
}

static bool packed_events_lie(struct hostile *h, const void *argument)
{
    if (!hostile_start(h, FEATURE(VIRTIO_RING_F_EVENT_IDX) | FEATURE(VIRTIO_F_RING_PACKED)))
        return false;
    uint32_t *driver = h->rings[HOSTILE_TX].driver, *device = h->rings[HOSTILE_TX].device;
    for (unsigned i = 0; i < 100; i++) {
        *driver = i * 2654435761u;
        *device = i * 40503u;
        if (!hostile_frame_taken(h))
            return false;
    }
    return true;
}

static bool fill_eventfd(struct hostile *h, int fd)
{
    uint64_t most = 0xfffffffffffffffe, count;
    /* The switch may signal it between the two. */
    while (write(fd, &most, sizeof(most)) < 0) {
        if (errno != EAGAIN || read(fd, &count, sizeof(count)) < 0)
            return hostile_fail(h, "eventfd: %s", strerror(errno));
    }
    return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) == 0;
}

static void empty_eventfd(int fd)
{
    uint64_t count;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    while (read(fd, &count, sizeof(count)) > 0)
        continue;
}

/* The call eventfd is full and its writers would wait for ever. */
static bool call_filled(struct hostile *h, const void *argument)
{
    int call = h->rings[HOSTILE_TX].call_fd;
    bool right = hostile_start(h, 0) && fill_eventfd(h, call);
    for (unsigned i = 0; i < 50 && right; i++)
        right = hostile_frame_taken(h);
    empty_eventfd(call);
    return right;
}

static bool kick_filled(struct hostile *h, const void *argument)
{
    int kick = h->rings[HOSTILE_TX].kick_fd;
    bool right = hostile_start(h, 0) && fill_eventfd(h, kick);
    fcntl(kick, F_SETFL, fcntl(kick, F_GETFL) | O_NONBLOCK); /* so that we do not wait ourselves */
    for (unsigned i = 0; i < 50 && right; i++)
        right = hostile_frame_taken(h);
    empty_eventfd(kick);
    return right;
}

/* Told by the same way: the control thread must not wait either. */
static bool error_filled(struct hostile *h, const void *argument)
{
    int error = h->rings[HOSTILE_TX].error_fd;
    uint64_t status = 0;
    bool right = hostile_start(h, 0) && fill_eventfd(h, error);
    hostile_put(h, HOSTILE_TX, 0, GUEST_WILD, 112, 0, 0);
    hostile_give(h, HOSTILE_TX, 0);
    uint64_t end = now_ms() + HOSTILE_TIMEOUT_MS;
    while (right && !(status & VIRTIO_CONFIG_S_NEEDS_RESET) && now_ms() < end)
        right = hostile_query(h, VHOST_GET_STATUS, &status);
    empty_eventfd(error);
    return right &&
           ((status & VIRTIO_CONFIG_S_NEEDS_RESET) || hostile_fail(h, "the broken ring was not noticed"));
}

/* The same eventfd for everything. */
static bool one_eventfd(struct hostile *h, const void *argument)
{
    int fd = h->rings[HOSTILE_TX].kick_fd;
    bool right = hostile_start(h, 0);
    for (uint32_t i = 0; i < 2 && right; i++)
        right = hostile_send_fd(h, VHOST_SET_VRING_CALL, i, fd) &&
                hostile_send_fd(h, VHOST_SET_VRING_KICK, i, fd);
    for (unsigned i = 0; i < 50 && right; i++)
        right = hostile_frame_taken(h);
    return right;
}

static bool kick_storm(struct hostile *h, const void *argument)
{
    if (!hostile_start(h, 0))
        return false;
    uint64_t end = now_ms() + 500;
    while (now_ms() < end) {
        for (unsigned i = 0; i < 1000; i++)
            hostile_kick(h, i % 2);
    }
    return true;
}

static bool call_storm(struct hostile *h, const void *argument)
{
    if (!hostile_start(h, 0))
        return false;
    for (unsigned i = 0; i < 500; i++) {
        if (!hostile_send_fd(h, VHOST_SET_VRING_CALL, HOSTILE_TX, h->rings[1].call_fd) ||
            !hostile_send_state(h, VHOST_SET_VRING_ENABLE, HOSTILE_TX, i % 2))
            return false;
    }
    return true;
}

static bool stop_and_start(struct hostile *h, const void *argument)
{
    struct vhost_ring_state state;
    if (!hostile_start(h, 0))
        return false;
    for (unsigned i = 0; i < 200; i++) {
        if (!hostile_send_state(h, VHOST_GET_VRING_BASE, HOSTILE_TX, 0) ||
            hostile_reply(h, VHOST_GET_VRING_BASE, &state, sizeof(state), HOSTILE_TIMEOUT_MS) !=
                sizeof(state))
            return hostile_fail(h, "GET_VRING_BASE is not answered");
        if (state.num != (i & 0xffff))
            return hostile_fail(h, "the ring stopped at %u after %u frames", state.num, i);
        if (!hostile_send_fd(h, VHOST_SET_VRING_KICK, HOSTILE_TX, h->rings[1].kick_fd) ||
            !hostile_frame_taken(h))
            return false;
    }
    return true;
}

static bool reset_storm(struct hostile *h, const void *argument)
{
    uint64_t value;
    for (unsigned i = 0; i < 50; i++) {
        if (!hostile_start(h, i % 2 ? FEATURE(VIRTIO_F_RING_PACKED) : 0) || !hostile_frame_taken(h) ||
            !hostile_send(h, VHOST_RESET_DEVICE, 0, NULL, 0, NULL, 0) ||
            !hostile_query(h, VHOST_GET_FEATURES, &value))
            return false;
    }
    return hostile_start(h, 0);
}

static bool connect_storm(struct hostile *h, const void *argument)
{
    for (unsigned i = 0; i < 300; i++) {
        if (!hostile_connect(h))
            return false;
        if (i % 3 == 1)
            (void)hostile_send_u64(h, VHOST_SET_FEATURES, FEATURE(VIRTIO_F_VERSION_1));
        if (i % 3 == 2)
            (void)hostile_send(h, VHOST_GET_FEATURES, 0, NULL, 0, NULL, 0);
    }
    hostile_disconnect(h);
    return true;
}

/* Leaves in the middle of everything, rings full. */
static bool leave_running(struct hostile *h, const void *argument)
{
    for (unsigned i = 0; i < 50; i++) {
        /* The switch may still see the old connection's end. */
        uint64_t end = now_ms() + HOSTILE_TIMEOUT_MS;
        while (!hostile_start(h, 0)) {
            if (now_ms() > end || !hostile_connect(h))
                return false;
        }
        for (uint16_t slot = 0; slot < 200; slot++) {
            hostile_put(h, HOSTILE_TX, slot, GUEST_BUFFER, 112, 0, 0);
            hostile_give(h, HOSTILE_TX, slot);
        }
        if (!hostile_connect(h))
            return false;
    }
    hostile_disconnect(h);
    return true;
}

/* A channel that is never read, and asked for again and again. */
static bool channels(struct hostile *h, const void *argument)
{
    if (!hostile_start(h, 0))
        return false;
    for (unsigned i = 0; i < 100; i++) {
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
            return hostile_fail(h, "socketpair: %s", strerror(errno));
        bool sent = hostile_send(h, VHOST_SET_BACKEND_REQ_FD, 0, NULL, 0, &ends[0], 1);
        close(ends[0]);
        close(ends[1]);
        if (!sent)
            return false;
    }
    return true;
}

/* clang-format off */
const struct pattern hostile_abuse_patterns[] = {
    {"fields-flip", FETCH, SURVIVED, fields_flip, &(const uint64_t){0}, false},
    {"fields-flip-packed", FETCH, SURVIVED, fields_flip, &(const uint64_t){FEATURE(VIRTIO_F_RING_PACKED)}, false},
    {"used-ring-overwritten", FETCH, ANSWERED, used_ring_overwritten, NULL, false},
    {"event-index-lies", FETCH, ALIVE, event_index_lies, NULL, false},
    {"packed-events-lie", FETCH, ALIVE, packed_events_lie, NULL, false},
    {"call-filled-and-blocking", EVENT, ALIVE, call_filled, NULL, false},
    {"kick-filled-and-blocking", EVENT, ALIVE, kick_filled, NULL, false},
    {"error-filled-and-blocking", EVENT, ANSWERED, error_filled, NULL, false},
    {"one-eventfd-for-all", EVENT, ALIVE, one_eventfd, NULL, false},
    {"kick-storm", STORM, ALIVE, kick_storm, NULL, false},
    {"call-and-enable-storm", STORM, ALIVE, call_storm, NULL, false},
    {"stop-and-start", STORM, ALIVE, stop_and_start, NULL, false},
    {"reset-storm", STORM, ALIVE, reset_storm, NULL, false},
    {"channels-by-the-hundred", STORM, ALIVE, channels, NULL, false},
    {"connect-storm", DROPS, LEFT, connect_storm, NULL, false},
    {"leave-running", DROPS, LEFT, leave_running, NULL, false},
};
/* clang-format on */
const unsigned hostile_abuse_count = sizeof(hostile_abuse_patterns) / sizeof(hostile_abuse_patterns[0]);
