/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation: the machine says what it wants (running or not, which rings, how many enabled) under
 * the lock and wakes the thread, which talks to the backend without holding any lock, since the backend may
 * be slow. What the thread did goes back under the lock, and loop_fd tells the loop.
 *
 * The ring positions belong to whom the rings belong: at the start of a run they are 0, after a connection
 * was lost they are the used index that stands in the ring: what a backend had taken and not given back is
 * then taken again by the next one. That is right for split rings used in order (RING_PACKED is not offered).
 * With a backend that works out of order (config.unordered: disks) it is right only when nothing was in
 * flight; else the device needs a reset.
 *
 * A lost backend is dialled again every 100 ms, for ever; the guest's rings stay as they are, and after
 * LINK_GRACE_MS the guest sees its link go down. The new one must offer what the driver accepted.
 *
 * Lock order: machine lock, then vhost->lock. The thread takes only vhost->lock.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "log.h"
#include "unix_socket.h"
#include "vhost_device.h"

#define TIMEOUT_MS    1000 /* of one answer of the backend */
#define REDIAL_MS     100
#define LINK_GRACE_MS 1000
#define STACK_SIZE    (128u << 10)
#define PROTOCOL_WANTED                                                                                      \
    (1ull << VHOST_PROTOCOL_F_MQ | 1ull << VHOST_PROTOCOL_F_REPLY_ACK | 1ull << VHOST_PROTOCOL_F_NET_MTU |   \
     1ull << VHOST_PROTOCOL_F_RARP | 1ull << VHOST_PROTOCOL_F_CONFIG | 1ull << VHOST_PROTOCOL_F_BACKEND_REQ)

/* What the machine wants of the backend. */
struct wanted {
    bool running, exit;
    unsigned run; /* counts the starts */
    unsigned count, enabled;
    uint64_t features;
    struct virtio_queue_state queues[VIRTIO_QUEUES_MAX];
};

struct vhost {
    struct vhost_config config;
    struct loop *loop;
    void (*changed)(struct virtio *virtio);
    void (*enter)(void);
    int directory_fd; /* of the socket: the thread's working directory */
    int listen_fd;    /* config.listen, else -1 */
    bool thread_running;
    pthread_t thread;
    int wake_fd; /* machine: w, thread: r */
    int loop_fd; /* thread: w, loop: r */

    pthread_mutex_t lock; /* protects these */
    struct wanted wanted;
    struct vhost_info info;
    bool stopped; /* the thread has let go after a vhost_stop */

    /* thread only (vhost_open before it runs) */
    struct vhost_frontend *frontend;
    bool applied; /* the rings are with the backend */
    unsigned applied_run, applied_enabled;
    unsigned stale_run; /* this run cannot be taken over */
    int64_t lost_at;
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void signal_fd(int fd)
{
    uint64_t one = 1;
    if (write(fd, &one, sizeof(one)) < 0)
        return; /* counter full: it is readable anyway */
}

/* Connection */

static void publish_connected(struct vhost *vhost, bool connected, const char *error)
{
    pthread_mutex_lock(&vhost->lock);
    vhost->info.connected = connected;
    vhost->info.connections += connected;
    if (error)
        snprintf(vhost->info.error, sizeof(vhost->info.error), "%s", error);
    pthread_mutex_unlock(&vhost->lock);
    signal_fd(vhost->loop_fd);
}

static int read_config(struct vhost *vhost)
{
    uint8_t config[VIRTIO_CONFIG_MAX] = {0};
    if (!vhost->config.config_size)
        return 0;
    int error = vhost_frontend_get_config(vhost->frontend, 0, config, vhost->config.config_size);
    if (error)
        return vhost->config.mandatory_config ? error : 0;
    pthread_mutex_lock(&vhost->lock);
    vhost->info.has_config = true;
    memcpy(vhost->info.config, config, sizeof(config));
    pthread_mutex_unlock(&vhost->lock);
    return 0;
}

/* A connection: dialled, or the one that waits on our own socket (-EAGAIN: none). */
static struct vhost_frontend *reach(struct vhost *vhost, const char *path)
{
    if (!vhost->config.listen)
        return vhost_frontend_connect(path, TIMEOUT_MS);
    int fd = accept4(vhost->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    return fd < 0 ? NULL : vhost_frontend_adopt(fd, TIMEOUT_MS);
}

/* Reaches the backend and asks it what it is. On failure there is no frontend. */
static int dial(struct vhost *vhost, const char *path, const char **what)
{
    uint64_t offered = 0;
    unsigned pairs = 1;
    *what = vhost->config.listen ? "be reached by the switch" : "connect";
    vhost->frontend = reach(vhost, path);
    if (!vhost->frontend)
        return -errno;
    *what = "negotiate features";
    int error = vhost_frontend_negotiate(vhost->frontend, PROTOCOL_WANTED, &offered, &pairs);
    if (!error) {
        *what = "read the device configuration";
        error = read_config(vhost);
    }
    if (!error && vhost->config.mtu) {
        *what = "set the MTU";
        error = vhost_frontend_set_mtu(vhost->frontend, vhost->config.mtu);
        error = error == -EOPNOTSUPP ? 0 : error;
    }
    if (error) {
        vhost_frontend_close(vhost->frontend);
        vhost->frontend = NULL;
        return error;
    }
    pthread_mutex_lock(&vhost->lock);
    vhost->info.features = offered & vhost->config.features_wanted;
    vhost->info.queue_pairs = pairs;
    pthread_mutex_unlock(&vhost->lock);
    return 0;
}

static void lose(struct vhost *vhost, const char *reason)
{
    log_guest("%s: %s: %s; dialling again", vhost->config.virtio->name, vhost->config.path, reason);
    vhost_frontend_close(vhost->frontend);
    vhost->frontend = NULL;
    vhost->applied = false;
    vhost->lost_at = now_ms();
    pthread_mutex_lock(&vhost->lock);
    snprintf(vhost->info.error, sizeof(vhost->info.error), "%s", reason);
    pthread_mutex_unlock(&vhost->lock);
}

/* Rings */

static int give_memory(struct vhost *vhost)
{
    const struct ram *ram = vhost->config.virtio->ram;
    struct vhost_frontend_region regions[RAM_RANGES_MAX];
    for (unsigned i = 0; i < ram->range_count; i++)
        regions[i] = (struct vhost_frontend_region){.guest_address = ram->ranges[i].guest_address,
                                                    .size = ram->ranges[i].size,
                                                    .host_address = ram->host + ram->ranges[i].offset,
                                                    .fd = ram->fd,
                                                    .offset = ram->ranges[i].offset};
    return vhost_frontend_set_memory(vhost->frontend, regions, ram->range_count);
}

static int give_ring(struct vhost *vhost, const struct wanted *wanted, unsigned index)
{
    const struct virtio_queue_state *state = &wanted->queues[index];
    const struct virtio *virtio = vhost->config.virtio;
    struct vhost_frontend_ring ring = {
        .size = state->size,
        .desc = ram_at(virtio->ram, state->desc, 16ull * state->size),
        .driver = ram_at(virtio->ram, state->driver, 6 + 2ull * state->size),
        .device = ram_at(virtio->ram, state->device, 6 + 8ull * state->size),
        .kick_fd = virtio->queues[index].kick_fd,
        .call_fd = virtio->queues[index].call_fd,
    };
    if (vhost->applied_run == wanted->run) { /* taken over from a lost backend */
        ring.base = __atomic_load_n((const uint16_t *)ring.device + 1, __ATOMIC_ACQUIRE);
        uint16_t available = __atomic_load_n((const uint16_t *)ring.driver + 1, __ATOMIC_ACQUIRE);
        if (vhost->config.unordered && available != ring.base)
            return -ESTALE;
    }
    return vhost_frontend_set_ring(vhost->frontend, index, &ring);
}

static int enable_rings(struct vhost *vhost, const struct wanted *wanted)
{
    for (unsigned i = 0; i < wanted->count; i++) {
        int error = wanted->queues[i].enabled
                        ? vhost_frontend_enable_ring(vhost->frontend, i, i < wanted->enabled)
                        : 0;
        if (error && error != -EOPNOTSUPP)
            return error;
    }
    vhost->applied_enabled = wanted->enabled;
    return 0;
}

static int apply(struct vhost *vhost, const struct wanted *wanted)
{
    bool resumed = vhost->applied_run == wanted->run;
    if (wanted->features & ~(vhost->info.features) & vhost->config.features_wanted)
        return -ENOTSUP;
    int error = vhost_frontend_set_features(vhost->frontend, wanted->features & vhost->info.features);
    if (!error)
        error = give_memory(vhost);
    for (unsigned i = 0; !error && i < wanted->count; i++)
        if (wanted->queues[i].enabled)
            error = give_ring(vhost, wanted, i);
    if (!error)
        error = enable_rings(vhost, wanted);
    if (error)
        return error;
    vhost->applied = true;
    vhost->applied_run = wanted->run;
    /* Both sides look at their rings once: what was signalled to the lost backend, or by it, is not known. */
    for (unsigned i = 0; resumed && i < wanted->count; i++) {
        signal_fd(vhost->config.virtio->queues[i].kick_fd);
        signal_fd(vhost->config.virtio->queues[i].call_fd);
    }
    static const uint8_t no_mac[6];
    if (resumed && memcmp(vhost->config.mac, no_mac, sizeof(no_mac)) != 0)
        error = vhost_frontend_send_rarp(vhost->frontend, vhost->config.mac);
    return error == -EOPNOTSUPP ? 0 : error;
}

static int withdraw(struct vhost *vhost, const struct wanted *wanted)
{
    vhost->applied = false;
    for (unsigned i = 0; i < wanted->count; i++) {
        uint16_t base, base_used;
        int error =
            wanted->queues[i].enabled ? vhost_frontend_stop_ring(vhost->frontend, i, &base, &base_used) : 0;
        if (error)
            return error;
    }
    return 0;
}

/* Makes the backend what the machine wants. 0 or -errno: the connection is lost. */
static int reconcile(struct vhost *vhost, const struct wanted *wanted)
{
    int error = 0;
    if (vhost->applied && (!wanted->running || wanted->run != vhost->applied_run))
        error = withdraw(vhost, wanted);
    if (!error && wanted->running && !vhost->applied && vhost->stale_run != wanted->run) {
        error = apply(vhost, wanted);
        if (error == -ESTALE) {
            vhost->stale_run = wanted->run;
            pthread_mutex_lock(&vhost->lock);
            vhost->info.stale = true;
            pthread_mutex_unlock(&vhost->lock);
            signal_fd(vhost->loop_fd);
            error = 0;
        }
    }
    if (!error && vhost->applied && wanted->enabled != vhost->applied_enabled)
        error = enable_rings(vhost, wanted);
    return error;
}

/* The thread */

static void redial(struct vhost *vhost, const struct wanted *wanted)
{
    const char *what;
    if (dial(vhost, unix_socket_file(vhost->config.path), &what) == 0) {
        int error = reconcile(vhost, wanted);
        if (!error) {
            log_info("%s: connected again", vhost->config.virtio->name);
            vhost->lost_at = 0;
            publish_connected(vhost, true, NULL);
            return;
        }
        lose(vhost, error == -ENOTSUP ? "backend lacks features that the guest uses" : strerror(-error));
    }
    if (vhost->lost_at && now_ms() - vhost->lost_at >= LINK_GRACE_MS) {
        vhost->lost_at = 0;
        publish_connected(vhost, false, NULL);
    }
}

static void serve_connection(struct vhost *vhost, const struct wanted *wanted, short connection,
                             short channel)
{
    if (connection) {
        lose(vhost, "the backend closed the connection");
        return;
    }
    if (channel) {
        int changed = vhost_frontend_backend_event(vhost->frontend);
        if (changed < 0 || (changed > 0 && read_config(vhost))) {
            lose(vhost, "the backend's channel broke");
            return;
        }
        if (changed > 0)
            signal_fd(vhost->loop_fd);
    }
    int error = reconcile(vhost, wanted);
    if (error)
        lose(vhost, strerror(-error));
}

static void *thread_main(void *context)
{
    struct vhost *vhost = context;
    if (unshare(CLONE_FS) || fchdir(vhost->directory_fd))
        log_error("%s: %s: %s", vhost->config.virtio->name, vhost->config.path, strerror(errno));
    vhost->enter();
    for (;;) {
        struct pollfd fds[3] = {
            {.fd = vhost->wake_fd, .events = POLLIN},
            {.fd = vhost->frontend ? vhost_frontend_fd(vhost->frontend) : -1, .events = POLLIN | POLLRDHUP},
            {.fd = vhost->frontend ? vhost_frontend_backend_channel(vhost->frontend) : -1, .events = POLLIN}};
        poll(fds, 3, vhost->frontend ? -1 : REDIAL_MS);
        uint64_t count;
        if (fds[0].revents && read(vhost->wake_fd, &count, sizeof(count)) < 0)
            continue;
        pthread_mutex_lock(&vhost->lock);
        struct wanted wanted = vhost->wanted;
        pthread_mutex_unlock(&vhost->lock);
        if (wanted.exit)
            return NULL;
        if (vhost->frontend)
            serve_connection(vhost, &wanted, fds[1].revents, fds[2].revents);
        else
            redial(vhost, &wanted);
        pthread_mutex_lock(&vhost->lock);
        vhost->stopped = !vhost->applied && !wanted.running && !vhost->wanted.running;
        pthread_mutex_unlock(&vhost->lock);
        if (!wanted.running)
            signal_fd(vhost->loop_fd);
    }
}

/* In the loop, machine lock held. */
static void loop_event(void *context, uint32_t events)
{
    (void)events;
    struct vhost *vhost = context;
    uint64_t count;
    if (read(vhost->loop_fd, &count, sizeof(count)) < 0)
        return;
    pthread_mutex_lock(&vhost->lock);
    bool stopped = vhost->stopped;
    vhost->stopped = false;
    pthread_mutex_unlock(&vhost->lock);
    if (stopped && vhost->config.virtio->stopping)
        virtio_stopped(vhost->config.virtio);
    vhost->changed(vhost->config.virtio);
}

/* For the machine */

/* The socket's directory is all of the file system that remains; our own socket is there from now on. */
static int open_socket(struct vhost *vhost, const char **what)
{
    *what = "open the directory of the socket";
    vhost->directory_fd = unix_socket_directory(vhost->config.path);
    if (vhost->directory_fd < 0 || !vhost->config.listen)
        return vhost->directory_fd < 0 ? vhost->directory_fd : 0;
    *what = "listen";
    vhost->listen_fd = unix_socket_listen(vhost->config.path);
    return vhost->listen_fd < 0 ? vhost->listen_fd : 0;
}

struct vhost *vhost_open(const struct vhost_config *config, const char **what)
{
    struct vhost *vhost = calloc(1, sizeof(*vhost));
    if (!vhost)
        return NULL;
    vhost->config = *config;
    pthread_mutex_init(&vhost->lock, NULL);
    vhost->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    vhost->loop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    vhost->directory_fd = vhost->listen_fd = -1;
    *what = "make its eventfds";
    int error = vhost->wake_fd < 0 || vhost->loop_fd < 0 ? -errno : open_socket(vhost, what);
    if (error)
        goto fail;
    int64_t deadline = now_ms() + config->wait_ms;
    while (!error && (error = dial(vhost, config->path, what)) != 0 && now_ms() < deadline) {
        poll(NULL, 0, REDIAL_MS);
        error = 0;
    }
    if (error)
        goto fail;
    vhost->info.connected = true;
    vhost->info.connections = 1;
    return vhost;
fail:
    vhost_free(vhost);
    errno = -error;
    return NULL;
}

int vhost_run(struct vhost *vhost, struct loop *loop, void (*enter)(void),
              void (*changed)(struct virtio *virtio))
{
    vhost->loop = loop;
    vhost->enter = enter;
    vhost->changed = changed;
    int error = loop_add(loop, vhost->loop_fd, EPOLLIN, loop_event, vhost);
    if (error)
        return error;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    error = -pthread_create(&vhost->thread, &attributes, thread_main, vhost);
    pthread_attr_destroy(&attributes);
    vhost->thread_running = !error;
    return error;
}

void vhost_free(struct vhost *vhost)
{
    if (!vhost)
        return;
    if (vhost->thread_running) {
        pthread_mutex_lock(&vhost->lock);
        vhost->wanted.exit = true;
        pthread_mutex_unlock(&vhost->lock);
        signal_fd(vhost->wake_fd);
        pthread_join(vhost->thread, NULL);
    }
    vhost_frontend_close(vhost->frontend);
    if (vhost->loop)
        loop_remove(vhost->loop, vhost->loop_fd);
    if (vhost->listen_fd >= 0) {
        close(vhost->listen_fd);
        unix_socket_remove(vhost->directory_fd, vhost->config.path);
    } else if (vhost->directory_fd >= 0)
        close(vhost->directory_fd);
    close(vhost->wake_fd);
    close(vhost->loop_fd);
    pthread_mutex_destroy(&vhost->lock);
    free(vhost);
}

void vhost_start(struct vhost *vhost, unsigned count, unsigned enabled)
{
    const struct virtio *virtio = vhost->config.virtio;
    pthread_mutex_lock(&vhost->lock);
    struct wanted *wanted = &vhost->wanted;
    wanted->running = true;
    wanted->run++;
    wanted->count = count;
    wanted->enabled = enabled;
    wanted->features = virtio->state.features;
    for (unsigned i = 0; i < count; i++)
        wanted->queues[i] = virtio->queues[i].state;
    vhost->stopped = false;
    vhost->info.stale = false;
    pthread_mutex_unlock(&vhost->lock);
    signal_fd(vhost->wake_fd);
}

void vhost_enable(struct vhost *vhost, unsigned enabled)
{
    pthread_mutex_lock(&vhost->lock);
    vhost->wanted.enabled = enabled;
    pthread_mutex_unlock(&vhost->lock);
    signal_fd(vhost->wake_fd);
}

void vhost_stop(struct vhost *vhost)
{
    pthread_mutex_lock(&vhost->lock);
    vhost->wanted.running = false;
    pthread_mutex_unlock(&vhost->lock);
    signal_fd(vhost->wake_fd);
}

void vhost_info(struct vhost *vhost, struct vhost_info *info)
{
    pthread_mutex_lock(&vhost->lock);
    *info = vhost->info;
    pthread_mutex_unlock(&vhost->lock);
}
