/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The vhost-user wire format (QEMU, docs/interop/vhost-user.rst) and the transport of one message with its
 * descriptors, shared by both ends. Numbers are in native byte order. What a message means and when it is
 * legal is not known here.
 *
 * Threads: a socket and its receiver belong to one thread. Nothing here blocks.
 * Errors: 0 or -errno.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

/* Feature bits that the system's headers may not have yet; virtio 1.2, 6 */
#ifndef VIRTIO_F_IN_ORDER
#define VIRTIO_F_IN_ORDER 35
#endif
#ifndef VIRTIO_F_ANY_LAYOUT
#define VIRTIO_F_ANY_LAYOUT 27
#endif

/* linux/virtio_ring.h has these too, but its struct vring is not ours. */
#define VIRTIO_RING_F_INDIRECT_DESC 28
#define VIRTIO_RING_F_EVENT_IDX     29

/* A virtio feature bit, out of the range of virtio, by which both ends say that they know protocol features.
 */
#define VHOST_USER_F_PROTOCOL_FEATURES 30

#define VHOST_PROTOCOL_F_MQ                  0
#define VHOST_PROTOCOL_F_RARP                2
#define VHOST_PROTOCOL_F_REPLY_ACK           3
#define VHOST_PROTOCOL_F_NET_MTU             4
#define VHOST_PROTOCOL_F_BACKEND_REQ         5
#define VHOST_PROTOCOL_F_CONFIG              9
#define VHOST_PROTOCOL_F_RESET_DEVICE        13
#define VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS 15
#define VHOST_PROTOCOL_F_STATUS              16

/* Requests of the frontend. Gaps are requests of features that weft does not know. */
#define VHOST_REQUESTS(X)                                                                                    \
    X(GET_FEATURES, 1)                                                                                       \
    X(SET_FEATURES, 2)                                                                                       \
    X(SET_OWNER, 3)                                                                                          \
    X(RESET_OWNER, 4)                                                                                        \
    X(SET_MEM_TABLE, 5)                                                                                      \
    X(SET_LOG_BASE, 6)                                                                                       \
    X(SET_LOG_FD, 7)                                                                                         \
    X(SET_VRING_NUM, 8)                                                                                      \
    X(SET_VRING_ADDR, 9)                                                                                     \
    X(SET_VRING_BASE, 10)                                                                                    \
    X(GET_VRING_BASE, 11)                                                                                    \
    X(SET_VRING_KICK, 12)                                                                                    \
    X(SET_VRING_CALL, 13)                                                                                    \
    X(SET_VRING_ERR, 14)                                                                                     \
    X(GET_PROTOCOL_FEATURES, 15)                                                                             \
    X(SET_PROTOCOL_FEATURES, 16)                                                                             \
    X(GET_QUEUE_NUM, 17)                                                                                     \
    X(SET_VRING_ENABLE, 18)                                                                                  \
    X(SEND_RARP, 19)                                                                                         \
    X(NET_SET_MTU, 20)                                                                                       \
    X(SET_BACKEND_REQ_FD, 21)                                                                                \
    X(IOTLB_MSG, 22)                                                                                         \
    X(SET_VRING_ENDIAN, 23)                                                                                  \
    X(GET_CONFIG, 24)                                                                                        \
    X(SET_CONFIG, 25)                                                                                        \
    X(POSTCOPY_ADVISE, 28)                                                                                   \
    X(POSTCOPY_LISTEN, 29)                                                                                   \
    X(POSTCOPY_END, 30)                                                                                      \
    X(GET_INFLIGHT_FD, 31)                                                                                   \
    X(SET_INFLIGHT_FD, 32)                                                                                   \
    X(RESET_DEVICE, 34)                                                                                      \
    X(VRING_KICK, 35)                                                                                        \
    X(GET_MAX_MEM_SLOTS, 36)                                                                                 \
    X(ADD_MEM_REG, 37)                                                                                       \
    X(REM_MEM_REG, 38)                                                                                       \
    X(SET_STATUS, 39)                                                                                        \
    X(GET_STATUS, 40)
enum vhost_request {
#define X(symbol, id) VHOST_##symbol = id,
    VHOST_REQUESTS(X)
#undef X
};
#define VHOST_REQUEST_COUNT 41u /* one more than the largest id */

/* Requests of the backend, on its own channel. */
#define VHOST_BACKEND_CONFIG_CHANGE 2u

/* "SET_VRING_NUM"; "request" for an id that nobody knows. */
const char *vhost_request_name(uint32_t request);

/* vhost_message.flags */
#define VHOST_FLAG_VERSION_MASK 0x3u
#define VHOST_FLAG_VERSION      0x1u
#define VHOST_FLAG_REPLY        0x4u
#define VHOST_FLAG_NEED_REPLY   0x8u

#define VHOST_TABLE_REGIONS_MAX 8u   /* regions of one SET_MEM_TABLE */
#define VHOST_CONFIG_SIZE_MAX   256u /* bytes of config space one message can carry */
#define VHOST_RING_INDEX_MASK   0xffull
#define VHOST_RING_NO_FD        0x100ull

struct vhost_ring_state {
    uint32_t index;
    uint32_t num;
};

struct vhost_ring_address {
    uint32_t index;
    uint32_t flags;
    uint64_t desc; /* user addresses: see vhost_wire_region.user_address */
    uint64_t used;
    uint64_t avail;
    uint64_t log;
};

struct vhost_wire_region {
    uint64_t guest_address;
    uint64_t size; /* bytes */
    uint64_t
        user_address; /* where the frontend has it mapped; names ring addresses, never dereferenced by us */
    uint64_t mmap_offset; /* bytes from the start of the file */
};

struct vhost_wire_table {
    uint32_t count;
    uint32_t padding;
    struct vhost_wire_region regions[VHOST_TABLE_REGIONS_MAX];
};

struct vhost_wire_single {
    uint64_t padding;
    struct vhost_wire_region region;
};

struct vhost_wire_config {
    uint32_t offset; /* bytes */
    uint32_t size;   /* bytes */
    uint32_t flags;
    uint8_t data[VHOST_CONFIG_SIZE_MAX];
} __attribute__((packed));
#define VHOST_CONFIG_HEADER_SIZE 12u /* bytes before data */

#define VHOST_HEADER_SIZE 12u /* bytes */

struct vhost_message {
    uint32_t request;
    uint32_t flags;
    uint32_t size; /* bytes of the payload */
    union {
        uint64_t u64;
        struct vhost_ring_state state;
        struct vhost_ring_address address;
        struct vhost_wire_table table;
        struct vhost_wire_single single;
        struct vhost_wire_config config;
    } payload;
} __attribute__((packed));
#define VHOST_PAYLOAD_SIZE_MAX (sizeof(((struct vhost_message *)0)->payload))

#define VHOST_MESSAGE_FDS_MAX VHOST_TABLE_REGIONS_MAX

/* One message on its way in. */
struct vhost_receiver {
    struct vhost_message message;
    uint32_t received; /* bytes of message that are there */
    unsigned fd_count;
    int fds[VHOST_MESSAGE_FDS_MAX]; /* ours; a taken one is set to -1 */
};

void vhost_receiver_init(struct vhost_receiver *receiver);
/* Takes what the socket has of the current message, never a byte of the next. 1: complete; 0: the rest is not
 * there yet; -ECONNRESET: the peer closed; -EPROTO: *violation says what (constant text). A complete message
 * stays until vhost_receiver_reset, which must be called after any result but 0. */
int vhost_receive(struct vhost_receiver *receiver, int socket, const char **violation);
/* Closes the descriptors that nobody took and begins the next message. */
void vhost_receiver_reset(struct vhost_receiver *receiver);
/* Descriptor `index` of the message becomes the caller's. */
int vhost_receiver_take_fd(struct vhost_receiver *receiver, unsigned index);

/* Sends a message with descriptors in one piece. -EAGAIN: nothing was sent; -EPIPE: a part was, the stream is
 * broken. */
int vhost_send(int socket, const struct vhost_message *message, const int *fds, unsigned fd_count);

/* Fills a socket address: -ENAMETOOLONG, -EINVAL (empty). */
int vhost_socket_address(struct sockaddr_un *address, const char *path);
/* True for an eventfd, which is the only thing that may be signalled or watched on a frontend's word. */
bool vhost_is_eventfd(int fd);
