/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * A backend is a small event loop of its own, run by whoever polls its epoll descriptor: the listening
 * socket, the connection and a timer for deadlines. A frontend has one second from the first byte of a
 * message to its last; a reply that does not fit into the socket at once ends the connection, so nothing is
 * ever queued or waited for. Whatever a frontend does wrong ends in backend_disconnect(), which is also the
 * way of an orderly end: rings are stopped, a grace period passes, descriptors are closed and memory
 * unmapped. The rings themselves live as long as the backend.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include "backend_private.h"

#define MESSAGE_TIMEOUT_MS 1000
#define MESSAGES_A_RUN     32u
#define LOG_WINDOW_MS      10000
#define LOG_LINES_A_WINDOW 20u
#define FEATURE(bit)       (1ull << (bit))

static const uint64_t features_supported =
    FEATURE(VIRTIO_NET_F_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_TSO4) |
    FEATURE(VIRTIO_NET_F_GUEST_TSO6) | FEATURE(VIRTIO_NET_F_GUEST_ECN) | FEATURE(VIRTIO_NET_F_HOST_TSO4) |
    FEATURE(VIRTIO_NET_F_HOST_TSO6) | FEATURE(VIRTIO_NET_F_HOST_ECN) | FEATURE(VIRTIO_NET_F_MRG_RXBUF) |
    FEATURE(VIRTIO_NET_F_STATUS) | FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE) | FEATURE(VIRTIO_F_ANY_LAYOUT) |
    FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | FEATURE(VIRTIO_RING_F_EVENT_IDX) |
    FEATURE(VHOST_USER_F_PROTOCOL_FEATURES) | FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_F_RING_PACKED) |
    FEATURE(VIRTIO_F_IN_ORDER);

static const uint64_t protocol_supported =
    FEATURE(VHOST_PROTOCOL_F_MQ) | FEATURE(VHOST_PROTOCOL_F_RARP) | FEATURE(VHOST_PROTOCOL_F_REPLY_ACK) |
    FEATURE(VHOST_PROTOCOL_F_BACKEND_REQ) | FEATURE(VHOST_PROTOCOL_F_CONFIG) |
    FEATURE(VHOST_PROTOCOL_F_RESET_DEVICE) | FEATURE(VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS) |
    FEATURE(VHOST_PROTOCOL_F_STATUS);

int64_t backend_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A frontend that misbehaves in a loop does not fill the log. */
static bool log_allowed(struct vhost_backend *backend)
{
    int64_t now = backend_now_ms();
    if (now - backend->log_window >= LOG_WINDOW_MS) {
        unsigned lost = backend->log_count > LOG_LINES_A_WINDOW ? backend->log_count - LOG_LINES_A_WINDOW : 0;
        backend->log_window = now;
        backend->log_count = 0;
        if (lost > 0) {
            char text[64];
            snprintf(text, sizeof(text), "%u messages about this frontend were left out", lost);
            backend->events.log(backend->context, LOG_NOTICE, text);
        }
    }
    return backend->log_count++ < LOG_LINES_A_WINDOW;
}

void backend_log(struct vhost_backend *backend, int level, const char *format, ...)
{
    char text[256];
    va_list arguments;
    if (!log_allowed(backend))
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    backend->events.log(backend->context, level, text);
}

int backend_violation(struct vhost_backend *backend, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(backend->violation, sizeof(backend->violation), format, arguments);
    va_end(arguments);
    return -EPROTO;
}

void backend_changed(struct vhost_backend *backend)
{
    backend->events.changed(backend->context);
}

int backend_watch(struct vhost_backend *backend, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(backend->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void backend_arm_timer(struct vhost_backend *backend)
{
    int64_t deadline = backend->message_deadline;
    if (backend->retry_deadline && (!deadline || backend->retry_deadline < deadline))
        deadline = backend->retry_deadline;
    struct itimerspec timer = {.it_value = {.tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000}};
    timerfd_settime(backend->timer_fd, TFD_TIMER_ABSTIME, &timer, NULL);
}

static void session_init(struct backend_session *session)
{
    *session = (struct backend_session){.channel_fd = -1};
}

void backend_adopt(struct vhost_backend *backend, int fd)
{
    if (backend_watch(backend, fd) < 0) {
        backend_log(backend, LOG_ERR, "a connection cannot be watched: %s", strerror(errno));
        close(fd);
        return;
    }
    backend->connection_fd = fd;
    backend->connects++;
    backend_log(backend, LOG_INFO, "frontend connected");
    backend_changed(backend);
}

void backend_disconnect(struct vhost_backend *backend)
{
    if (backend->connection_fd < 0)
        return;
    close(backend->connection_fd);
    backend->connection_fd = -1;
    backend->message_deadline = 0;
    vhost_receiver_reset(&backend->receiver);
    backend_rings_forget(backend);
    if (backend->session.channel_fd >= 0)
        close(backend->session.channel_fd);
    session_init(&backend->session);
    if (backend->config.client)
        backend->retry_deadline = backend_now_ms() + 1000;
    backend_arm_timer(backend);
    backend_log(backend, LOG_INFO, "frontend disconnected");
    backend_changed(backend);
}

static void disconnect_violator(struct vhost_backend *backend)
{
    backend->protocol_errors++;
    memcpy(backend->last_error, backend->violation, sizeof(backend->last_error));
    backend_log(backend, LOG_WARNING, "connection closed: %s", backend->last_error);
    backend_disconnect(backend);
}

/* Receives and handles messages until there is none. */
static void serve_connection(struct vhost_backend *backend)
{
    for (unsigned i = 0; i < MESSAGES_A_RUN && backend->connection_fd >= 0; i++) {
        const char *violation = NULL;
        int result = vhost_receive(&backend->receiver, backend->connection_fd, &violation);
        if (result == 0) {
            if (backend->receiver.received > 0 && !backend->message_deadline) {
                backend->message_deadline = backend_now_ms() + MESSAGE_TIMEOUT_MS;
                backend_arm_timer(backend);
            }
            return;
        }
        if (result == -ECONNRESET) {
            backend_disconnect(backend);
            return;
        }
        if (result < 0)
            backend_violation(backend, "%s", violation);
        else
            result = backend_message(backend);
        if (result < 0) {
            disconnect_violator(backend);
            return;
        }
        vhost_receiver_reset(&backend->receiver);
        if (backend->message_deadline) {
            backend->message_deadline = 0;
            backend_arm_timer(backend);
        }
    }
}

static void resume_listening(struct vhost_backend *backend)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = backend->listen_fd};
    epoll_ctl(backend->epoll_fd, EPOLL_CTL_MOD, backend->listen_fd, &event);
    backend->listen_paused = false;
}

static void serve_timer(struct vhost_backend *backend)
{
    uint64_t expirations;
    if (read(backend->timer_fd, &expirations, sizeof(expirations)) < 0)
        return;
    int64_t now = backend_now_ms();
    if (backend->message_deadline && now >= backend->message_deadline) {
        backend_violation(backend, "a message was not finished within a second");
        disconnect_violator(backend);
    }
    if (backend->retry_deadline && now >= backend->retry_deadline) {
        backend->retry_deadline = 0;
        if (backend->listen_paused)
            resume_listening(backend);
        if (backend->config.client && backend->connection_fd < 0)
            backend_dial(backend);
    }
    backend_arm_timer(backend);
}

void vhost_backend_run(struct vhost_backend *backend)
{
    struct epoll_event events[3];
    int count = epoll_wait(backend->epoll_fd, events, 3, 0);
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;
        if (fd == backend->connection_fd)
            serve_connection(backend);
        else if (fd == backend->timer_fd)
            serve_timer(backend);
        else if (fd == backend->listen_fd)
            backend_accept(backend);
    }
}

void backend_push_config(struct vhost_backend *backend)
{
    struct backend_session *session = &backend->session;
    struct vhost_message message = {.request = VHOST_BACKEND_CONFIG_CHANGE, .flags = VHOST_FLAG_VERSION};
    if (session->channel_fd < 0 || !(session->protocol_features & FEATURE(VHOST_PROTOCOL_F_CONFIG)))
        return;
    int result = vhost_send(session->channel_fd, &message, NULL, 0);
    session->channel_pending = result == -EAGAIN;
    if (result < 0 && result != -EAGAIN) {
        close(session->channel_fd);
        session->channel_fd = -1;
    }
}

/* A ring that a worker found broken: the guest is told once. */
static void check_rings(struct vhost_backend *backend)
{
    bool broken = false;
    for (unsigned i = 0; i < backend->ring_count; i++) {
        struct backend_ring *ring = &backend->rings[i];
        enum vring_error error = vring_broken(ring->vring);
        if (ring->error_told || !vring_started(ring->vring) || error == VRING_ERROR_NONE)
            continue;
        ring->error_told = true;
        broken = true;
        backend_log(backend, LOG_WARNING, "ring %u broken: %s", i, vring_error_text(error));
        backend_signal(ring->error_fd);
    }
    if (broken) {
        backend->session.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
        backend_push_config(backend);
        backend_changed(backend);
    }
}

void vhost_backend_check(struct vhost_backend *backend)
{
    if (backend->connection_fd < 0)
        return;
    unsigned deaths = atomic_load_explicit(&memory_deaths, memory_order_acquire);
    if (deaths != backend->deaths_seen) {
        backend->deaths_seen = deaths;
        if (backend->session.memory && memory_dead(backend->session.memory)) {
            backend_violation(backend, "guest memory was truncated");
            disconnect_violator(backend);
            return;
        }
    }
    check_rings(backend);
    if (backend->session.channel_pending)
        backend_push_config(backend);
}

void vhost_backend_set_link(struct vhost_backend *backend, bool up)
{
    if (backend->link_up == up)
        return;
    backend->link_up = up;
    backend_push_config(backend);
}

static void set_offer(struct vhost_backend *backend)
{
    static const uint8_t no_mac[6];
    const struct vhost_backend_config *config = &backend->config;
    uint64_t features = features_supported;
    backend->protocol_offered = protocol_supported;
    if (config->queue_pairs > 1)
        features |= FEATURE(VIRTIO_NET_F_MQ);
    if (config->mtu) {
        features |= FEATURE(VIRTIO_NET_F_MTU);
        backend->protocol_offered |= FEATURE(VHOST_PROTOCOL_F_NET_MTU);
    }
    if (memcmp(config->mac, no_mac, sizeof(no_mac)) != 0)
        features |= FEATURE(VIRTIO_NET_F_MAC);
    backend->features_offered = features & ~config->features_off;
}

static int open_rings(struct vhost_backend *backend)
{
    backend->ring_count = 2 * backend->config.queue_pairs;
    for (unsigned i = 0; i < backend->ring_count; i++) {
        struct backend_ring *ring = &backend->rings[i];
        *ring = (struct backend_ring){.kick_fd = -1, .call_fd = -1, .error_fd = -1};
        ring->vring = vring_new(i & 1, backend->config.shared_tx);
        if (!ring->vring)
            return -errno;
    }
    return 0;
}

static int open_events(struct vhost_backend *backend)
{
    backend->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (backend->epoll_fd < 0)
        return -errno;
    backend->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (backend->timer_fd < 0)
        return -errno;
    int result = backend_watch(backend, backend->timer_fd);
    if (result < 0)
        return result;
    if (backend->config.client) {
        struct sockaddr_un address;
        result = vhost_socket_address(&address, backend->config.path);
        if (result == 0)
            backend_dial(backend);
        return result;
    }
    result = backend_listen(backend);
    return result < 0 ? result : backend_watch(backend, backend->listen_fd);
}

struct vhost_backend *vhost_backend_new(const struct vhost_backend_config *config,
                                        const struct vhost_backend_events *events, void *context)
{
    struct vhost_backend *backend = calloc(1, sizeof(*backend));
    char *path = strdup(config->path);
    if (!backend || !path) {
        free(backend);
        free(path);
        errno = ENOMEM;
        return NULL;
    }
    backend->config = *config;
    backend->config.path = path;
    if (!backend->config.socket_mode)
        backend->config.socket_mode = 0660;
    backend->events = *events;
    backend->context = context;
    backend->link_up = true;
    backend->epoll_fd = backend->timer_fd = backend->listen_fd = backend->connection_fd = -1;
    backend->deaths_seen = atomic_load(&memory_deaths);
    session_init(&backend->session);
    vhost_receiver_init(&backend->receiver);
    int result = config->queue_pairs == 0 || config->queue_pairs > VHOST_QUEUE_PAIRS_MAX ? -EINVAL : 0;
    if (result == 0) {
        set_offer(backend);
        result = open_rings(backend);
    }
    if (result == 0)
        result = open_events(backend);
    if (result < 0) {
        vhost_backend_free(backend);
        errno = -result;
        return NULL;
    }
    return backend;
}

void vhost_backend_free(struct vhost_backend *backend)
{
    if (!backend)
        return;
    backend_disconnect(backend);
    backend_unlisten(backend);
    if (backend->timer_fd >= 0)
        close(backend->timer_fd);
    if (backend->epoll_fd >= 0)
        close(backend->epoll_fd);
    for (unsigned i = 0; i < VHOST_RINGS_MAX; i++)
        vring_free(backend->rings[i].vring);
    free((char *)(uintptr_t)backend->config.path);
    free(backend);
}

int vhost_backend_fd(const struct vhost_backend *backend)
{
    return backend->epoll_fd;
}

struct vring *vhost_backend_ring(struct vhost_backend *backend, unsigned index)
{
    return index < backend->ring_count ? backend->rings[index].vring : NULL;
}

void vhost_backend_state(const struct vhost_backend *backend, struct vhost_backend_state *state)
{
    const struct backend_session *session = &backend->session;
    *state = (struct vhost_backend_state){
        .connected = backend->connection_fd >= 0,
        .negotiated = session->negotiated && !session->refused,
        .features = session->features,
        .protocol_features = session->protocol_features,
        .regions = session->memory ? session->memory->count : 0,
        .memory_bytes = session->memory ? memory_table_bytes(session->memory) : 0,
        .connects = backend->connects,
        .protocol_errors = backend->protocol_errors,
    };
    memcpy(state->last_error, backend->last_error, sizeof(state->last_error));
    for (unsigned i = 0; i < backend->ring_count; i++) {
        const struct backend_ring *ring = &backend->rings[i];
        state->ring_usable[i] = vring_usable(ring->vring);
        state->ring_size[i] = ring->size;
        state->ring_error[i] = vring_started(ring->vring) ? vring_broken(ring->vring) : ring->error;
        if ((i & 1) && state->ring_usable[i] && state->ring_usable[i - 1])
            state->pairs_enabled++;
    }
}

int vhost_backend_process_init(void)
{
    int result = backend_signal_init();
    return result < 0 ? result : memory_process_init();
}
