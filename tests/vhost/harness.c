/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include "harness.h"

#define CHECK_MS 20

struct harness {
    struct vhost_backend *backend;
    unsigned pairs;
    pthread_t control, worker;
    atomic_bool stop;        /* the control thread */
    atomic_bool stop_worker; /* later: a grace period needs it */
    bool worker_ended;       /* joined */
    atomic_ulong rounds;     /* worker: w; ended rounds, control: r */
    int wake_fd;             /* ends the control thread's poll */
    struct notifier *notifier;
    struct packet_vector *vector;
    pthread_mutex_t lock; /* the fields below */
    struct vhost_backend_state state;
    unsigned log_counts[LOG_DEBUG + 1];
    bool announced;
    uint8_t announced_mac[6];
    int link_wanted; /* -1: nothing asked */
};

/* --- worker */

static void forward(struct harness *harness, unsigned pair)
{
    struct vring *from = vhost_backend_ring(harness->backend, 2 * pair + 1);
    struct vring *to = vhost_backend_ring(harness->backend, 2 * pair);
    struct packet *packets[PACKET_VECTOR_MAX];
    struct vring_tx_result result;
    if (!vring_usable(from))
        return;
    vring_disarm(from);
    unsigned count = vring_rx(from, harness->vector);
    for (unsigned i = 0; i < count; i++)
        packets[i] = &harness->vector->packets[i];
    if (count > 0) {
        vring_tx(to, packets, count, harness->notifier, &result);
        if (result.sent < count && getenv("WEFT_TEST_LOG"))
            fprintf(stderr, "%u of %u sent, no room %u, too big %u\n", result.sent, count, result.no_room,
                    result.too_big);
    }
    vring_rx_done(from, harness->notifier);
    vring_arm(from);
}

static void *worker_main(void *argument)
{
    struct harness *harness = argument;
    while (!atomic_load_explicit(&harness->stop_worker, memory_order_relaxed)) {
        for (unsigned pair = 0; pair < harness->pairs; pair++)
            forward(harness, pair);
        notifier_flush(harness->notifier);
        atomic_fetch_add(&harness->rounds, 1);
        sched_yield();
    }
    return NULL;
}

/* --- control */

static void quiesce(void *context)
{
    struct harness *harness = context;
    /* The round that runs now may have begun before the call: the next one that ends has not. */
    unsigned long now = atomic_load(&harness->rounds);
    while (!harness->worker_ended && atomic_load(&harness->rounds) < now + 2)
        sched_yield();
}

static void changed(void *context)
{
}

static void kick_fd(void *context, unsigned ring, int fd)
{
    assert(ring % 2 == 1);
}

static void announce(void *context, const uint8_t mac[6])
{
    struct harness *harness = context;
    pthread_mutex_lock(&harness->lock);
    harness->announced = true;
    memcpy(harness->announced_mac, mac, 6);
    pthread_mutex_unlock(&harness->lock);
}

static void log_line(void *context, int level, const char *text)
{
    struct harness *harness = context;
    pthread_mutex_lock(&harness->lock);
    for (int i = level; i <= LOG_DEBUG; i++)
        harness->log_counts[i]++;
    pthread_mutex_unlock(&harness->lock);
    if (getenv("WEFT_TEST_LOG"))
        fprintf(stderr, "<%d> %s\n", level, text);
}

static void publish_state(struct harness *harness)
{
    struct vhost_backend_state state;
    vhost_backend_state(harness->backend, &state);
    pthread_mutex_lock(&harness->lock);
    harness->state = state;
    pthread_mutex_unlock(&harness->lock);
}

static void *control_main(void *argument)
{
    struct harness *harness = argument;
    while (!atomic_load(&harness->stop)) {
        struct pollfd items[2] = {{.fd = vhost_backend_fd(harness->backend), .events = POLLIN},
                                  {.fd = harness->wake_fd, .events = POLLIN}};
        uint64_t count;
        poll(items, 2, CHECK_MS);
        if (items[1].revents && read(harness->wake_fd, &count, sizeof(count)) < 0)
            continue;
        pthread_mutex_lock(&harness->lock);
        int link = harness->link_wanted;
        harness->link_wanted = -1;
        pthread_mutex_unlock(&harness->lock);
        if (link >= 0)
            vhost_backend_set_link(harness->backend, link);
        if (items[0].revents)
            vhost_backend_run(harness->backend);
        vhost_backend_check(harness->backend);
        publish_state(harness);
    }
    return NULL;
}

/* --- test */

struct harness *harness_start(const struct vhost_backend_config *config)
{
    static const struct vhost_backend_events events = {
        .quiesce = quiesce, .changed = changed, .kick_fd = kick_fd, .announce = announce, .log = log_line};
    struct harness *harness = calloc(1, sizeof(*harness));
    assert(harness);
    assert(vhost_backend_process_init() == 0);
    pthread_mutex_init(&harness->lock, NULL);
    harness->link_wanted = -1;
    harness->pairs = config->queue_pairs;
    harness->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    harness->notifier = notifier_new();
    harness->vector = aligned_alloc(64, (sizeof(*harness->vector) + 63) / 64 * 64);
    assert(harness->notifier && harness->vector);
    packet_vector_init(harness->vector);
    harness->backend = vhost_backend_new(config, &events, harness);
    if (!harness->backend) {
        fprintf(stderr, "%s: %s\n", config->path, strerror(errno));
        abort();
    }
    publish_state(harness);
    assert(pthread_create(&harness->worker, NULL, worker_main, harness) == 0);
    assert(pthread_create(&harness->control, NULL, control_main, harness) == 0);
    return harness;
}

static void wake(struct harness *harness)
{
    uint64_t one = 1;
    assert(write(harness->wake_fd, &one, sizeof(one)) == sizeof(one));
}

void harness_stop(struct harness *harness)
{
    atomic_store(&harness->stop, true);
    wake(harness);
    pthread_join(harness->control, NULL);
    atomic_store(&harness->stop_worker, true);
    pthread_join(harness->worker, NULL);
    harness->worker_ended = true;
    vhost_backend_free(harness->backend);
    notifier_free(harness->notifier);
    close(harness->wake_fd);
    free(harness->vector);
    pthread_mutex_destroy(&harness->lock);
    free(harness);
}

struct vhost_backend_state harness_state(struct harness *harness)
{
    pthread_mutex_lock(&harness->lock);
    struct vhost_backend_state state = harness->state;
    pthread_mutex_unlock(&harness->lock);
    return state;
}

bool harness_wait(struct harness *harness, bool (*condition)(const struct vhost_backend_state *state),
                  int timeout_ms)
{
    struct timespec pause = {.tv_nsec = 1000000};
    for (int waited = 0; waited <= timeout_ms; waited++) {
        struct vhost_backend_state state = harness_state(harness);
        if (condition(&state))
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

bool harness_connected(const struct vhost_backend_state *state)
{
    return state->connected;
}

bool harness_disconnected(const struct vhost_backend_state *state)
{
    return !state->connected;
}

void harness_set_link(struct harness *harness, bool up)
{
    pthread_mutex_lock(&harness->lock);
    harness->link_wanted = up;
    pthread_mutex_unlock(&harness->lock);
    wake(harness);
}

unsigned harness_log_count(struct harness *harness, int level)
{
    pthread_mutex_lock(&harness->lock);
    unsigned count = harness->log_counts[level];
    pthread_mutex_unlock(&harness->lock);
    return count;
}

bool harness_announced(struct harness *harness, uint8_t mac[6])
{
    pthread_mutex_lock(&harness->lock);
    bool announced = harness->announced;
    memcpy(mac, harness->announced_mac, 6);
    pthread_mutex_unlock(&harness->lock);
    return announced;
}

unsigned harness_fd_count(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

unsigned harness_map_count(void)
{
    char line[512];
    unsigned count = 0;
    FILE *file = fopen("/proc/self/maps", "re");
    assert(file);
    while (fgets(line, sizeof(line), file))
        count += strstr(line, "memfd:") != NULL;
    fclose(file);
    return count;
}

void harness_path(char *path, size_t size)
{
    static unsigned number;
    snprintf(path, size, "/tmp/weft-vhost-test.%d.%u", (int)getpid(), number++);
}
