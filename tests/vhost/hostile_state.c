/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages that are well formed and come at the wrong time, or say what cannot be. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "hostile.h"

#define STATE   "table of state and message"
#define SIZES   "sizes never change while something sized by them lives"
#define ADDRESS "ring addresses inside guest memory"
#define AGREED  "only what was offered and agreed"

#define FEATURE(bit) (1ull << (bit))

enum stage { AT_CONNECT, AT_FEATURES, AT_MEMORY, AT_RINGS };

/* A message with a ring state (index, num) or one word. */
struct say {
    enum stage stage;
    uint32_t request;
    uint32_t index, num;
};

static bool reach(struct hostile *h, enum stage stage)
{
    if (stage == AT_CONNECT)
        return true;
    if (stage == AT_FEATURES)
        return hostile_negotiate(h, 0);
    return stage == AT_MEMORY ? hostile_to_memory(h, 0) : hostile_start(h, 0);
}

static bool say_state(struct hostile *h, const void *argument)
{
    const struct say *say = argument;
    return reach(h, say->stage) && hostile_send_state(h, say->request, say->index, say->num);
}

static bool say_nothing(struct hostile *h, const void *argument)
{
    const struct say *say = argument;
    return reach(h, say->stage) && hostile_send(h, say->request, 0, NULL, 0, NULL, 0);
}

static bool kick_at(struct hostile *h, const void *argument)
{
    const struct say *say = argument;
    return reach(h, say->stage) && hostile_send_fd(h, VHOST_SET_VRING_KICK, say->index, h->rings[1].kick_fd);
}

static bool kick_sized_only(struct hostile *h, const void *argument)
{
    return hostile_to_memory(h, 0) &&
           hostile_send_state(h, VHOST_SET_VRING_NUM, HOSTILE_TX, HOSTILE_RING_SIZE) &&
           hostile_send_fd(h, VHOST_SET_VRING_KICK, HOSTILE_TX, h->rings[1].kick_fd);
}

static bool table_before_features(struct hostile *h, const void *argument)
{
    return hostile_set_memory(h);
}

static bool features_are(struct hostile *h, const void *argument)
{
    const uint64_t *features = argument;
    return hostile_send_u64(h, VHOST_SET_FEATURES, *features);
}

static bool protocol_features_are(struct hostile *h, const void *argument)
{
    const uint64_t *features = argument;
    return hostile_send_u64(h, VHOST_SET_PROTOCOL_FEATURES, *features);
}

static bool features_change(struct hostile *h, const void *argument)
{
    return hostile_start(h, 0) &&
           hostile_send_u64(h, VHOST_SET_FEATURES,
                            FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_F_RING_PACKED));
}

static bool protocol_features_change(struct hostile *h, const void *argument)
{
    return hostile_start(h, 0) && hostile_send_u64(h, VHOST_SET_PROTOCOL_FEATURES, 0);
}

/* A packed ring's size, then features that make it a split one. */
static bool odd_size_becomes_split(struct hostile *h, const void *argument)
{
    if (!hostile_to_memory(h, FEATURE(VIRTIO_F_RING_PACKED)) ||
        !hostile_send_state(h, VHOST_SET_VRING_NUM, HOSTILE_TX, 300) ||
        !hostile_send_u64(h, VHOST_SET_FEATURES, FEATURE(VIRTIO_F_VERSION_1)))
        return false;
    return hostile_send_address(h, HOSTILE_TX, USER_BASE, USER_BASE + 0x8000, USER_BASE + 0x10000) &&
           hostile_send_fd(h, VHOST_SET_VRING_KICK, HOSTILE_TX, h->rings[1].kick_fd);
}

struct areas {
    uint64_t desc, avail, used;
    uint32_t size;
};

static bool areas_are(struct hostile *h, const void *argument)
{
    const struct areas *areas = argument;
    return hostile_to_memory(h, 0) && hostile_send_state(h, VHOST_SET_VRING_NUM, HOSTILE_TX, areas->size) &&
           hostile_send_address(h, HOSTILE_TX, areas->desc, areas->avail, areas->used) &&
           hostile_send_fd(h, VHOST_SET_VRING_KICK, HOSTILE_TX, h->rings[1].kick_fd);
}

static bool address_while_running(struct hostile *h, const void *argument)
{
    return hostile_start(h, 0) &&
           hostile_send_address(h, HOSTILE_TX, USER_BASE, USER_BASE + 0x8000, USER_BASE + 0x10000);
}

static bool address_flags(struct hostile *h, const void *argument)
{
    struct vhost_ring_address address = {.index = HOSTILE_TX, .flags = 1, .desc = USER_BASE};
    return hostile_to_memory(h, 0) &&
           hostile_send(h, VHOST_SET_VRING_ADDR, 0, &address, sizeof(address), NULL, 0);
}

/* GET_CONFIG far behind the end: an empty answer. */
static bool config_offset(struct hostile *h, const void *argument)
{
    struct vhost_wire_config config = {.offset = 0xfffffff0, .size = 32};
    uint8_t reply[sizeof(config)];
    return hostile_start(h, 0) &&
           hostile_send(h, VHOST_GET_CONFIG, 0, &config, VHOST_CONFIG_HEADER_SIZE + 32, NULL, 0) &&
           (hostile_reply(h, VHOST_GET_CONFIG, reply, sizeof(reply), HOSTILE_TIMEOUT_MS) == 0 ||
            hostile_fail(h, "config space beyond its end was answered"));
}

static bool config_size_lie(struct hostile *h, const void *argument)
{
    struct vhost_wire_config config = {.offset = 0, .size = 256};
    uint8_t reply[sizeof(config)];
    return hostile_start(h, 0) &&
           hostile_send(h, VHOST_GET_CONFIG, 0, &config, VHOST_CONFIG_HEADER_SIZE + 4, NULL, 0) &&
           (hostile_reply(h, VHOST_GET_CONFIG, reply, sizeof(reply), HOSTILE_TIMEOUT_MS) == 0 ||
            hostile_fail(h, "a config request of another size than it says was answered"));
}

static bool config_written(struct hostile *h, const void *argument)
{
    struct vhost_wire_config config = {.offset = 0, .size = 6, .data = {1, 2, 3, 4, 5, 6}}, now = {.size = 6};
    if (!hostile_start(h, 0) ||
        !hostile_send(h, VHOST_SET_CONFIG, 0, &config, VHOST_CONFIG_HEADER_SIZE + 6, NULL, 0) ||
        !hostile_send(h, VHOST_GET_CONFIG, 0, &now, VHOST_CONFIG_HEADER_SIZE + 6, NULL, 0) ||
        hostile_reply(h, VHOST_GET_CONFIG, &now, sizeof(now), HOSTILE_TIMEOUT_MS) !=
            (int)(VHOST_CONFIG_HEADER_SIZE + 6))
        return false;
    return memcmp(now.data, config.data, 6) != 0 ||
           hostile_fail(h, "the MAC in the config space was overwritten");
}

/* A driver from before virtio 1.0: the device does not accept its features, its rings are not looked at. */
static bool legacy_driver(struct hostile *h, const void *argument)
{
    uint64_t status, ok = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK;
    if (!hostile_negotiate(h, 0) ||
        !hostile_send_u64(h, VHOST_SET_FEATURES, FEATURE(VHOST_USER_F_PROTOCOL_FEATURES)) ||
        !hostile_send_u64(h, VHOST_SET_STATUS, ok) || !hostile_query(h, VHOST_GET_STATUS, &status))
        return false;
    if (status & VIRTIO_CONFIG_S_FEATURES_OK)
        return hostile_fail(h, "features of a legacy driver were accepted");
    if (!hostile_set_memory(h) || !hostile_set_ring(h, HOSTILE_RX) || !hostile_set_ring(h, HOSTILE_TX))
        return false;
    hostile_put(h, HOSTILE_TX, 0, GUEST_BUFFER, 112, 0, 0);
    hostile_give(h, HOSTILE_TX, 0);
    for (unsigned i = 0; i < 100; i++) {
        if (!hostile_query(h, VHOST_GET_STATUS, &status))
            return false;
    }
    return hostile_outstanding(h, HOSTILE_TX) == 1 || hostile_fail(h, "a legacy ring was used");
}

static bool second_frontend(struct hostile *h, const void *argument)
{
    struct hostile other = {.path = h->path, .fd = -1};
    if (!hostile_start(h, 0) || !hostile_connect(&other))
        return false;
    bool refused = hostile_closed(&other, 60000);
    hostile_disconnect(&other);
    return refused || hostile_fail(h, "a second frontend was taken");
}

#define SAY(...)                                                                                             \
    &(const struct say)                                                                                      \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
#define WORD(...)                                                                                            \
    &(const uint64_t)                                                                                        \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
#define AREAS(...)                                                                                           \
    &(const struct areas)                                                                                    \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
#define U          USER_BASE
#define REGION_END (USER_BASE + REGION_SIZE)
/* clang-format off */
const struct pattern hostile_state_patterns[] = {
    {"table-before-features", STATE, CLOSED, table_before_features, NULL, false},
    {"size-before-features", STATE, CLOSED, say_state, SAY(AT_CONNECT, VHOST_SET_VRING_NUM, 1, 256), false},
    {"base-before-features", STATE, CLOSED, say_state, SAY(AT_CONNECT, VHOST_SET_VRING_BASE, 1, 0), false},
    {"kick-before-features", STATE, CLOSED, kick_at, SAY(AT_CONNECT, 0, 1, 0), false},
    {"kick-before-memory", STATE, CLOSED, kick_at, SAY(AT_FEATURES, 0, 1, 0), false},
    {"kick-before-size", STATE, CLOSED, kick_at, SAY(AT_MEMORY, 0, 1, 0), false},
    {"kick-before-addresses", STATE, CLOSED, kick_sized_only, NULL, false},
    {"remove-region-before-memory", STATE, CLOSED, say_nothing, SAY(AT_FEATURES, VHOST_REM_MEM_REG, 0, 0), false},
    {"ring-index-16", STATE, CLOSED, say_state, SAY(AT_MEMORY, VHOST_SET_VRING_NUM, 16, 256), false},
    {"ring-index-4-billion", STATE, CLOSED, say_state, SAY(AT_RINGS, VHOST_SET_VRING_ENABLE, 0xffffffff, 1), false},
    {"ring-index-kick-255", STATE, CLOSED, kick_at, SAY(AT_RINGS, 0, 255, 0), false},
    {"ring-index-stop-200", STATE, CLOSED, say_state, SAY(AT_RINGS, VHOST_GET_VRING_BASE, 200, 0), false},
    {"enable-two", STATE, CLOSED, say_state, SAY(AT_RINGS, VHOST_SET_VRING_ENABLE, 1, 2), false},
    {"status-not-a-byte", STATE, CLOSED, say_state, SAY(AT_RINGS, VHOST_SET_STATUS, 0, 1), false},
    {"second-frontend", STATE, ALIVE, second_frontend, NULL, false},

    {"features-not-offered", AGREED, CLOSED, features_are, WORD(~0ull), false},
    {"feature-log-all", AGREED, CLOSED, features_are, WORD(FEATURE(VIRTIO_F_VERSION_1) | FEATURE(26)), false},
    {"feature-iommu", AGREED, CLOSED, features_are, WORD(FEATURE(VIRTIO_F_VERSION_1) | FEATURE(33)), false},
    {"protocol-features-not-offered", AGREED, CLOSED, protocol_features_are, WORD(~0ull), false},
    {"rarp-not-agreed", AGREED, CLOSED, say_state, SAY(AT_RINGS, VHOST_SEND_RARP, 0, 0), false},
    {"mtu-not-agreed", AGREED, CLOSED, say_state, SAY(AT_RINGS, VHOST_NET_SET_MTU, 1500, 0), false},
    {"reset-not-agreed", AGREED, CLOSED, say_nothing, SAY(AT_CONNECT, VHOST_RESET_DEVICE, 0, 0), false},
    {"config-beyond-its-end", AGREED, ALIVE, config_offset, NULL, false},
    {"config-size-lie", AGREED, ALIVE, config_size_lie, NULL, false},
    {"config-written", AGREED, ALIVE, config_written, NULL, false},
    {"legacy-driver", AGREED, ANSWERED, legacy_driver, NULL, false},

    {"size-zero", SIZES, CLOSED, say_state, SAY(AT_MEMORY, VHOST_SET_VRING_NUM, 1, 0), false},
    {"size-three", SIZES, CLOSED, say_state, SAY(AT_MEMORY, VHOST_SET_VRING_NUM, 1, 3), false},
    {"size-8192", SIZES, CLOSED, say_state, SAY(AT_MEMORY, VHOST_SET_VRING_NUM, 1, 8192), false},
    {"size-65536", SIZES, CLOSED, say_state, SAY(AT_MEMORY, VHOST_SET_VRING_NUM, 1, 65536), false},
    {"size-2-to-the-31", SIZES, CLOSED, say_state, SAY(AT_MEMORY, VHOST_SET_VRING_NUM, 1, 0x80000000), false},
    {"base-beyond-16-bits", SIZES, CLOSED, say_state, SAY(AT_MEMORY, VHOST_SET_VRING_BASE, 1, 0x10000), false},
    {"resize-while-running", SIZES, CLOSED, say_state, SAY(AT_RINGS, VHOST_SET_VRING_NUM, 1, 4096), false},
    {"move-while-running", SIZES, CLOSED, address_while_running, NULL, false},
    {"rebase-while-running", SIZES, CLOSED, say_state, SAY(AT_RINGS, VHOST_SET_VRING_BASE, 1, 7), false},
    {"features-change-while-running", SIZES, CLOSED, features_change, NULL, false},
    {"protocol-features-change-while-running", SIZES, CLOSED, protocol_features_change, NULL, false},
    {"odd-size-becomes-split", SIZES, CLOSED, odd_size_becomes_split, NULL, false},

    {"ring-at-zero", ADDRESS, CLOSED, areas_are, AREAS(0, 0, 0, 256), false},
    {"ring-outside-memory", ADDRESS, CLOSED, areas_are, AREAS(0xdead0000, U + 0x8000, U + 0x10000, 256), false},
    {"ring-in-guest-addresses", ADDRESS, CLOSED, areas_are,
     AREAS(GUEST_BASE, GUEST_BASE + 0x8000, GUEST_BASE + 0x10000, 256), false},
    {"desc-over-the-region-edge", ADDRESS, CLOSED, areas_are,
     AREAS(REGION_END - 256 * 16 + 16, U + 0x8000, U + 0x10000, 256), false},
    {"avail-over-the-region-edge", ADDRESS, CLOSED, areas_are, AREAS(U, REGION_END - 4 - 512, U + 0x10000, 256), false},
    {"used-over-the-region-edge", ADDRESS, CLOSED, areas_are, AREAS(U, U + 0x8000, REGION_END - 4 - 2048, 256), false},
    {"ring-wraps-around", ADDRESS, CLOSED, areas_are, AREAS(~0ull - 15, U + 0x8000, U + 0x10000, 256), false},
    {"desc-misaligned", ADDRESS, CLOSED, areas_are, AREAS(U + 8, U + 0x8000, U + 0x10000, 256), false},
    {"avail-misaligned", ADDRESS, CLOSED, areas_are, AREAS(U, U + 0x8001, U + 0x10000, 256), false},
    {"used-misaligned", ADDRESS, CLOSED, areas_are, AREAS(U, U + 0x8000, U + 0x10002, 256), false},
    {"largest-ring-over-the-edge", ADDRESS, CLOSED, areas_are,
     AREAS(REGION_END - 4095 * 16, U + 0x8000, U + 0x10000, 4096), false},
    {"address-with-log-flag", ADDRESS, CLOSED, address_flags, NULL, false},
};
/* clang-format on */
const unsigned hostile_state_count = sizeof(hostile_state_patterns) / sizeof(hostile_state_patterns[0]);
