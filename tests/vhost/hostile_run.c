/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "hostile.h"

const struct pattern *hostile_pattern(unsigned index)
{
    const struct {
        const struct pattern *list;
        unsigned count;
    } lists[] = {
        {hostile_message_patterns, hostile_message_count}, {hostile_state_patterns, hostile_state_count},
        {hostile_memory_patterns, hostile_memory_count},   {hostile_ring_patterns, hostile_ring_count},
        {hostile_abuse_patterns, hostile_abuse_count},
    };
    for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        if (index < lists[i].count)
            return &lists[i].list[index];
        index -= lists[i].count;
    }
    return NULL;
}

static bool ring_reported(const struct hostile *h, int timeout_ms)
{
    struct pollfd items[2] = {{.fd = h->rings[0].error_fd, .events = POLLIN},
                              {.fd = h->rings[1].error_fd, .events = POLLIN}};
    return poll(items, 2, timeout_ms) > 0;
}

static bool answers(struct hostile *h)
{
    uint64_t value;
    return hostile_query(h, VHOST_GET_FEATURES, &value);
}

static bool check_broken(struct hostile *h)
{
    uint64_t status;
    if (!ring_reported(h, HOSTILE_TIMEOUT_MS))
        return hostile_fail(h, "no ring was reported as broken");
    if (!hostile_query(h, VHOST_GET_STATUS, &status))
        return false;
    return (status & VIRTIO_CONFIG_S_NEEDS_RESET) || hostile_fail(h, "the device does not ask for a reset");
}

static bool check_alive(struct hostile *h)
{
    uint64_t status;
    if (!hostile_frame_taken(h) || !hostile_query(h, VHOST_GET_STATUS, &status))
        return false;
    if (ring_reported(h, 0) || (status & VIRTIO_CONFIG_S_NEEDS_RESET))
        return hostile_fail(h, "a ring was broken");
    return true;
}

static bool check(struct hostile *h, enum outcome expected)
{
    switch (expected) {
    case CLOSED:
        return hostile_closed(h, HOSTILE_TIMEOUT_MS) || hostile_fail(h, "the connection was not closed");
    case BROKEN:
        return check_broken(h);
    case ALIVE:
        return check_alive(h);
    case ANSWERED:
        return answers(h);
    default:
        return true;
    }
}

/* A proper guest on the same port sends frames, which are taken. The switch may need a moment to see that we
 * left. */
static bool recovers(struct hostile *h)
{
    struct driver_config config = {.path = h->path,
                                   .queue_pairs = 1,
                                   .ring_size = 64,
                                   .buffer_size = 2048,
                                   .features = 1ull << VIRTIO_F_VERSION_1,
                                   .timeout_ms = HOSTILE_TIMEOUT_MS};
    struct virtio_net_header header = {0};
    uint8_t frame[60];
    time_t end = time(NULL) + HOSTILE_TIMEOUT_MS / 1000;
    struct driver_device *device;
    while (!(device = driver_open(&config))) {
        if (time(NULL) > end)
            return hostile_fail(h, "a good guest cannot connect any more: %s", strerror(errno));
        sched_yield();
    }
    struct driver_queue *queue = driver_tx_queue(device, 0);
    hostile_fill_frame(frame, sizeof(frame));
    bool sent = true;
    for (unsigned i = 0; i < 10; i++)
        sent = driver_transmit(queue, &header, frame, sizeof(frame)) == 0 && sent;
    while (driver_in_flight(queue) > 0 && time(NULL) <= end + HOSTILE_TIMEOUT_MS / 1000) {
        driver_kick(queue);
        sched_yield();
    }
    bool taken = sent && driver_in_flight(queue) == 0;
    driver_close(device);
    return taken || hostile_fail(h, "a good guest's frames are not taken any more");
}

int hostile_run(struct hostile *h, const struct pattern *pattern)
{
    if (pattern->fed && !h->echo && !h->peer) {
        hostile_fail(h, "needs a peer that sends frames");
        return 2;
    }
    bool right = hostile_connect(h) && pattern->run(h, pattern->argument) && check(h, pattern->expected);
    hostile_disconnect(h);
    return right && recovers(h) ? 0 : 1;
}
