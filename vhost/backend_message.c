/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * A connection is in one of four phases, which follow from what it has said so far:
 *   connected    features are not agreed
 *   negotiated   SET_FEATURES was seen
 *   ready        and there is guest memory
 *   running      and a ring was kicked (until GET_VRING_BASE stops the last one)
 * The table below says for each message in which phases it is legal, its exact sizes and number of
 * descriptors, and the protocol feature it needs. What is not in the table, or not as the table says, closes
 * the connection. SET_VRING_NUM, _ADDR and _BASE are legal for a stopped ring only, so nothing that was sized
 * by them changes while it is used.
 *
 * A handler returns 0, a positive errno (the frontend's wish cannot be met: it is told so if it asked, and
 * the connection goes on) or a violation.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>
#include "backend_private.h"

#define FEATURE(bit) (1ull << (bit))
#define MTU_MIN      68u

enum {
    CONNECTED = 1,
    NEGOTIATED = 2,
    READY = 4,
    RUNNING = 8,
    AGREED = NEGOTIATED | READY | RUNNING,
    ALWAYS = CONNECTED | AGREED,
};

static unsigned phase(const struct vhost_backend *backend)
{
    if (!backend->session.negotiated)
        return CONNECTED;
    if (backend_ring_kicked_any(backend))
        return RUNNING;
    return backend->session.memory && backend->session.memory->count > 0 ? READY : NEGOTIATED;
}

int backend_reply(struct vhost_backend *backend, const void *payload, uint32_t size)
{
    struct vhost_message message = {.request = backend->receiver.message.request,
                                    .flags = VHOST_FLAG_VERSION | VHOST_FLAG_REPLY,
                                    .size = size};
    if (size > 0)
        memcpy(&message.payload, payload, size);
    int result = vhost_send(backend->connection_fd, &message, NULL, 0);
    if (result == -EAGAIN)
        return backend_violation(backend, "replies are not read");
    return result < 0 ? backend_violation(backend, "a reply cannot be sent: %s", strerror(-result)) : 0;
}

static int reply_u64(struct vhost_backend *backend, uint64_t value)
{
    return backend_reply(backend, &value, sizeof(value));
}

static int get_features(struct vhost_backend *backend, const struct vhost_message *message)
{
    return reply_u64(backend, backend->features_offered);
}

static int refuse_legacy(struct vhost_backend *backend)
{
    backend_log(
        backend, LOG_ERR,
        "the guest's driver is older than virtio 1.0 and is refused: use a guest with a virtio 1.0 driver, "
        "and a device that is not forced to legacy (QEMU: disable-modern=off)");
    return ENOTSUP;
}

static int set_features(struct vhost_backend *backend, const struct vhost_message *message)
{
    struct backend_session *session = &backend->session;
    uint64_t features = message->payload.u64;
    if (features & ~backend->features_offered)
        return backend_violation(backend, "SET_FEATURES: bits that were not offered (%#llx)",
                                 (unsigned long long)(features & ~backend->features_offered));
    if (session->negotiated && features == session->features)
        return session->refused ? ENOTSUP : 0;
    if (backend_ring_kicked_any(backend))
        return backend_violation(backend, "SET_FEATURES: features change while rings run");
    session->features = features;
    session->negotiated = true;
    session->refused = !(features & FEATURE(VIRTIO_F_VERSION_1));
    for (unsigned i = 0; i < backend->ring_count; i++)
        backend_ring_apply_enabled(backend, i);
    backend_changed(backend);
    return session->refused ? refuse_legacy(backend) : 0;
}

static int set_owner(struct vhost_backend *backend, const struct vhost_message *message)
{
    return 0;
}

/* Deprecated; what the specification recommends: no more than disabling all rings. */
static int reset_owner(struct vhost_backend *backend, const struct vhost_message *message)
{
    for (unsigned i = 0; i < backend->ring_count; i++) {
        backend->rings[i].enabled = false;
        backend_ring_apply_enabled(backend, i);
    }
    return 0;
}

static void reset_rings(struct vhost_backend *backend)
{
    backend_rings_stop(backend, 0, backend->ring_count);
    reset_owner(backend, NULL);
}

static int reset_device(struct vhost_backend *backend, const struct vhost_message *message)
{
    struct backend_session *session = &backend->session;
    reset_rings(backend);
    for (unsigned i = 0; i < backend->ring_count; i++) {
        struct backend_ring *ring = &backend->rings[i];
        ring->size = ring->base = ring->base_used = 0;
        ring->addressed = false;
    }
    session->features = 0;
    session->negotiated = session->refused = false;
    session->status = 0;
    backend_changed(backend);
    return 0;
}

static int get_protocol_features(struct vhost_backend *backend, const struct vhost_message *message)
{
    return reply_u64(backend, backend->protocol_offered);
}

static int set_protocol_features(struct vhost_backend *backend, const struct vhost_message *message)
{
    struct backend_session *session = &backend->session;
    uint64_t features = message->payload.u64;
    if (features & ~backend->protocol_offered)
        return backend_violation(backend, "SET_PROTOCOL_FEATURES: bits that were not offered (%#llx)",
                                 (unsigned long long)(features & ~backend->protocol_offered));
    if (features != session->protocol_features && backend_ring_kicked_any(backend))
        return backend_violation(backend, "SET_PROTOCOL_FEATURES: features change while rings run");
    session->protocol_features = features;
    return 0;
}

static int get_queue_num(struct vhost_backend *backend, const struct vhost_message *message)
{
    return reply_u64(backend, backend->config.queue_pairs);
}

static int get_max_mem_slots(struct vhost_backend *backend, const struct vhost_message *message)
{
    return reply_u64(backend, MEMORY_REGIONS_MAX);
}

static int send_rarp(struct vhost_backend *backend, const struct vhost_message *message)
{
    uint8_t mac[6];
    memcpy(mac, &message->payload, sizeof(mac));
    backend->events.announce(backend->context, mac);
    return 0;
}

static int net_set_mtu(struct vhost_backend *backend, const struct vhost_message *message)
{
    uint64_t mtu = message->payload.u64;
    if (mtu >= MTU_MIN && mtu <= backend->config.mtu)
        return 0;
    backend_log(backend, LOG_WARNING, "the guest was given an MTU of %llu, the port's is %u",
                (unsigned long long)mtu, backend->config.mtu);
    return EINVAL;
}

static int set_backend_req_fd(struct vhost_backend *backend, const struct vhost_message *message)
{
    struct backend_session *session = &backend->session;
    int domain = 0, type = 0, fd = backend->receiver.fds[0];
    socklen_t size = sizeof(domain);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || domain != AF_UNIX || type != SOCK_STREAM)
        return backend_violation(backend, "SET_BACKEND_REQ_FD: the descriptor is not a unix stream socket");
    if (session->channel_fd >= 0)
        close(session->channel_fd);
    session->channel_fd = vhost_receiver_take_fd(&backend->receiver, 0);
    session->channel_pending = false;
    return 0;
}

static void fill_config(const struct vhost_backend *backend, uint8_t *data)
{
    struct virtio_net_config config = {
        .status = backend->link_up ? VIRTIO_NET_S_LINK_UP : 0,
        .max_virtqueue_pairs = (uint16_t)backend->config.queue_pairs,
        .mtu = backend->config.mtu,
    };
    memcpy(config.mac, backend->config.mac, sizeof(config.mac));
    memset(data, 0, VHOST_CONFIG_SIZE_MAX);
    memcpy(data, &config, sizeof(config));
}

/* False: the size of the message is not that of what it asks for. */
static bool config_range(const struct vhost_message *message, struct vhost_wire_config *config)
{
    memcpy(config, &message->payload.config, VHOST_CONFIG_HEADER_SIZE);
    return config->offset <= VHOST_CONFIG_SIZE_MAX &&
           config->size <= VHOST_CONFIG_SIZE_MAX - config->offset &&
           message->size == VHOST_CONFIG_HEADER_SIZE + config->size;
}

static int get_config(struct vhost_backend *backend, const struct vhost_message *message)
{
    struct vhost_wire_config config;
    uint8_t space[VHOST_CONFIG_SIZE_MAX];
    if (!config_range(message, &config))
        return backend_reply(backend, NULL, 0);
    fill_config(backend, space);
    memcpy(config.data, space + config.offset, config.size);
    return backend_reply(backend, &config, VHOST_CONFIG_HEADER_SIZE + config.size);
}

/* With VERSION_1 the network device has no field that the driver may write; virtio 1.2, 5.1.4. */
static int set_config(struct vhost_backend *backend, const struct vhost_message *message)
{
    struct vhost_wire_config config;
    return config_range(message, &config) ? EPERM : EINVAL;
}

static int set_status(struct vhost_backend *backend, const struct vhost_message *message)
{
    struct backend_session *session = &backend->session;
    uint64_t status = message->payload.u64;
    if (status > UINT8_MAX)
        return backend_violation(backend, "SET_STATUS: %#llx is no device status",
                                 (unsigned long long)status);
    if (status == 0)
        reset_rings(backend);
    session->status = (uint8_t)status;
    if (session->refused) {
        session->status &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
        return status & VIRTIO_CONFIG_S_FEATURES_OK ? ENOTSUP : 0;
    }
    return 0;
}

static int get_status(struct vhost_backend *backend, const struct vhost_message *message)
{
    return reply_u64(backend, backend->session.status);
}

#define ANY        0xff /* the handler counts */
#define NONE       0xff
#define U64        sizeof(uint64_t)
#define STATE      sizeof(struct vhost_ring_state)
#define ADDRESS    sizeof(struct vhost_ring_address)
#define SINGLE     sizeof(struct vhost_wire_single)
#define TABLE_MIN  (offsetof(struct vhost_wire_table, regions) + sizeof(struct vhost_wire_region))
#define TABLE_MAX  sizeof(struct vhost_wire_table)
#define CONFIG_MIN VHOST_CONFIG_HEADER_SIZE
#define CONFIG_MAX sizeof(struct vhost_wire_config)
#define SLOTS      VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS

struct rule {
    uint16_t size_min, size_max; /* bytes of payload */
    uint8_t fds_min, fds_max;    /* descriptors */
    uint8_t feature;             /* protocol feature that must have been agreed */
    uint8_t phases;              /* in which it is legal */
    bool answers;                /* has a reply of its own: no acknowledgement */
    int (*handle)(struct vhost_backend *backend, const struct vhost_message *message);
};

/* clang-format off */
static const struct rule rules[VHOST_REQUEST_COUNT] = {
    /* payload min, max; descriptors min, max; protocol feature; phases; replies; handler */
    [VHOST_GET_FEATURES]   = {0, 0, 0, 0, NONE, ALWAYS, true, get_features},
    [VHOST_SET_FEATURES]   = {U64, U64, 0, 0, NONE, ALWAYS, false, set_features},
    [VHOST_SET_OWNER]      = {0, 0, 0, 0, NONE, ALWAYS, false, set_owner},
    [VHOST_RESET_OWNER]    = {0, 0, 0, 0, NONE, ALWAYS, false, reset_owner},
    [VHOST_GET_PROTOCOL_FEATURES] = {0, 0, 0, 0, NONE, ALWAYS, true, get_protocol_features},
    [VHOST_SET_PROTOCOL_FEATURES] = {U64, U64, 0, 0, NONE, ALWAYS, false, set_protocol_features},
    [VHOST_GET_QUEUE_NUM]  = {0, 0, 0, 0, NONE, ALWAYS, true, get_queue_num},

    [VHOST_SET_MEM_TABLE]  = {TABLE_MIN, TABLE_MAX, ANY, ANY, NONE, AGREED, false, backend_set_mem_table},
    [VHOST_GET_MAX_MEM_SLOTS] = {0, 0, 0, 0, SLOTS, ALWAYS, true, get_max_mem_slots},
    [VHOST_ADD_MEM_REG]    = {SINGLE, SINGLE, 1, 1, SLOTS, AGREED, false, backend_add_mem_reg},
    [VHOST_REM_MEM_REG]    = {SINGLE, SINGLE, 0, 1, SLOTS, READY | RUNNING, false, backend_rem_mem_reg},

    [VHOST_SET_VRING_NUM]  = {STATE, STATE, 0, 0, NONE, AGREED, false, backend_set_vring_num},
    [VHOST_SET_VRING_ADDR] = {ADDRESS, ADDRESS, 0, 0, NONE, AGREED, false, backend_set_vring_addr},
    [VHOST_SET_VRING_BASE] = {STATE, STATE, 0, 0, NONE, AGREED, false, backend_set_vring_base},
    /* DPDK's virtio-user stops its rings first thing on a new connection. */
    [VHOST_GET_VRING_BASE] = {STATE, STATE, 0, 0, NONE, ALWAYS, true, backend_get_vring_base},
    [VHOST_SET_VRING_KICK] = {U64, U64, ANY, ANY, NONE, READY | RUNNING, false, backend_set_vring_kick},
    [VHOST_SET_VRING_CALL] = {U64, U64, ANY, ANY, NONE, ALWAYS, false, backend_set_vring_call},
    [VHOST_SET_VRING_ERR]  = {U64, U64, ANY, ANY, NONE, ALWAYS, false, backend_set_vring_err},
    /* QEMU enables the first pair before it agrees on features. */
    [VHOST_SET_VRING_ENABLE] = {STATE, STATE, 0, 0, NONE, ALWAYS, false, backend_set_vring_enable},

    [VHOST_SEND_RARP]      = {U64, U64, 0, 0, VHOST_PROTOCOL_F_RARP, AGREED, false, send_rarp},
    [VHOST_NET_SET_MTU]    = {U64, U64, 0, 0, VHOST_PROTOCOL_F_NET_MTU, ALWAYS, false, net_set_mtu},
    [VHOST_SET_BACKEND_REQ_FD] = {0, 0, 1, 1, VHOST_PROTOCOL_F_BACKEND_REQ, ALWAYS, false, set_backend_req_fd},
    [VHOST_GET_CONFIG]     = {CONFIG_MIN, CONFIG_MAX, 0, 0, VHOST_PROTOCOL_F_CONFIG, ALWAYS, true, get_config},
    [VHOST_SET_CONFIG]     = {CONFIG_MIN, CONFIG_MAX, 0, 0, VHOST_PROTOCOL_F_CONFIG, ALWAYS, false, set_config},
    [VHOST_RESET_DEVICE]   = {0, 0, 0, 0, VHOST_PROTOCOL_F_RESET_DEVICE, ALWAYS, false, reset_device},
    [VHOST_SET_STATUS]     = {U64, U64, 0, 0, VHOST_PROTOCOL_F_STATUS, ALWAYS, false, set_status},
    [VHOST_GET_STATUS]     = {0, 0, 0, 0, VHOST_PROTOCOL_F_STATUS, ALWAYS, true, get_status},
};
/* clang-format on */

static int check_rule(struct vhost_backend *backend, const struct vhost_message *message,
                      const struct rule *rule)
{
    const char *name = vhost_request_name(message->request);
    unsigned fd_count = backend->receiver.fd_count;
    if (message->flags & ~(VHOST_FLAG_VERSION_MASK | VHOST_FLAG_NEED_REPLY))
        return backend_violation(backend, "%s: flags %#x", name, message->flags);
    if (rule->feature != NONE && !(backend->session.protocol_features >> rule->feature & 1))
        return backend_violation(backend, "%s: its protocol feature was not negotiated", name);
    if (!(rule->phases & phase(backend)))
        return backend_violation(backend, "%s: not now", name);
    if (message->size < rule->size_min || message->size > rule->size_max)
        return backend_violation(backend, "%s: %u bytes", name, message->size);
    if (rule->fds_min != ANY && (fd_count < rule->fds_min || fd_count > rule->fds_max))
        return backend_violation(backend, "%s: %u descriptors", name, fd_count);
    return 0;
}

int backend_message(struct vhost_backend *backend)
{
    const struct vhost_message *message = &backend->receiver.message;
    uint32_t request = message->request;
    if (request >= VHOST_REQUEST_COUNT || !rules[request].handle)
        return backend_violation(backend, "%s %u is not offered", vhost_request_name(request), request);
    const struct rule *rule = &rules[request];
    int result = check_rule(backend, message, rule);
    if (result == 0)
        result = rule->handle(backend, message);
    if (result < 0 || rule->answers || !(message->flags & VHOST_FLAG_NEED_REPLY) ||
        !(backend->session.protocol_features & FEATURE(VHOST_PROTOCOL_F_REPLY_ACK)))
        return result < 0 ? result : 0;
    return reply_u64(backend, result != 0);
}
