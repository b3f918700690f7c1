/* SPDX-License-Identifier: BSD-3-Clause */
/* lint: syscalls allowed, a packet socket has no other way in or out */
/*
 * Theory of operation. A batch of frames costs one system call each way (recvmmsg, sendmmsg). Reception goes
 * straight to where a frame is wanted: virtio header and first bytes into the packet's private memory, the
 * rest into the socket's arena (one slot a frame, one span). Transmission names the private header and the
 * spans, so the kernel copies straight from guest memory, and a TSO frame or partial checksum stays what it
 * is: the kernel (or its NIC) completes it to the interface's MTU.
 *
 * The kernel takes the outer VLAN tag off received frames (skb_vlan_untag) and tells it beside the data
 * (PACKET_AUXDATA). It is put back into the headroom, which moves the checksum request by its four bytes.
 *
 * Sleeping: like a tap. The descriptor is watched edge triggered and a queue may sleep only after the kernel
 * said EAGAIN; while its worker is busy elsewhere an empty socket is looked at less and less often.
 */
#include "packet_socket.h"

#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "counters.h"
#include "parse.h"
#include "vnet_header.h"

#define RX_BATCH     32u             /* frames a reception: bounds the arena and the round */
#define SLOT_SIZE    PACKET_SIZE_MAX /* bytes: 1025 cache lines, so that slots start in different cache sets */
#define BACK_OFF_MAX 15u             /* receptions */
#define TEXT_SIZE    112u
#define HEADER_SIZE  10u /* bytes: struct virtio_net_hdr without num_buffers */
#define TX_PARTS     (PACKET_SPANS_MAX + 4 * PACKET_VECTOR_MAX) /* pieces of one sendmmsg */

_Static_assert(SLOT_SIZE % 128 == 64, "slots start in different cache sets");

union auxdata {
    char bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
    struct cmsghdr align;
};

struct packet_socket_batch {
    struct mmsghdr messages[RX_BATCH];
    struct iovec parts[RX_BATCH][2];
    union auxdata controls[RX_BATCH];
    uint8_t slots[RX_BATCH][SLOT_SIZE] __attribute__((aligned(64)));
};

/* Fills the messages for packets[0..RX_BATCH). */
static void prepare(struct packet_socket_batch *batch, struct packet_vector *vector)
{
    for (unsigned i = 0; i < RX_BATCH; i++) {
        struct packet *packet = &vector->packets[i];
        packet->data = packet->buffer + PACKET_HEADROOM;
        batch->parts[i][0] = (struct iovec){packet->data - HEADER_SIZE, HEADER_SIZE + PACKET_HEADER_MAX};
        batch->parts[i][1] = (struct iovec){batch->slots[i], SLOT_SIZE};
        batch->messages[i].msg_hdr = (struct msghdr){.msg_iov = batch->parts[i],
                                                     .msg_iovlen = 2,
                                                     .msg_control = batch->controls[i].bytes,
                                                     .msg_controllen = sizeof(batch->controls[i])};
    }
}

/* The tag that the kernel took off: true with TPID and TCI in host order. */
static bool tag_taken(struct msghdr *message, uint16_t *tpid, uint16_t *tci)
{
    const struct cmsghdr *header = CMSG_FIRSTHDR(message);
    struct tpacket_auxdata auxdata;
    if (!header || header->cmsg_level != SOL_PACKET || header->cmsg_type != PACKET_AUXDATA ||
        header->cmsg_len < CMSG_LEN(sizeof(auxdata)))
        return false;
    memcpy(&auxdata, CMSG_DATA(header), sizeof(auxdata));
    *tpid = auxdata.tp_status & TP_STATUS_VLAN_TPID_VALID ? auxdata.tp_vlan_tpid : ETHERTYPE_VLAN;
    *tci = auxdata.tp_vlan_tci;
    return (auxdata.tp_status & TP_STATUS_VLAN_VALID) != 0;
}

static void put_tag_back(struct packet *packet, uint16_t tpid, uint16_t tci)
{
    uint16_t tag[2] = {htobe16(tpid), htobe16(tci)};
    uint8_t *data = packet->data - VLAN_TAG_SIZE;
    memmove(data, packet->data, 12); /* both addresses */
    memcpy(data + 12, tag, sizeof(tag));
    packet->data = data;
    packet->size += VLAN_TAG_SIZE;
    packet->header_size += VLAN_TAG_SIZE;
    if (packet->flags & VNET_F_NEEDS_CSUM)
        packet->csum_start += VLAN_TAG_SIZE;
    if (packet->gso_type != VNET_GSO_NONE)
        packet->hdr_len += VLAN_TAG_SIZE;
}

/* The kernel's virtio header stands in the headroom right before the frame. */
/* A frame that is dropped leaves a hole in the vector, which the next one fills: private memory and packet
 * stay together. */
static void close_gap(struct packet_vector *vector, unsigned from)
{
    struct packet moved = vector->packets[from];
    if (from == vector->count)
        return;
    vector->packets[from] = vector->packets[vector->count];
    vector->packets[vector->count] = moved;
}

static void take_all(struct packet_socket *socket, struct port *port, unsigned queue,
                     struct packet_vector *vector, const struct worker_io *io, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct mmsghdr *message = &socket->batch->messages[i];
        struct packet *packet = &vector->packets[i];
        uint32_t size = message->msg_len < HEADER_SIZE ? 0 : message->msg_len - HEADER_SIZE;
        uint16_t tpid, tci;
        if (message->msg_hdr.msg_flags & MSG_TRUNC || size > PACKET_SIZE_MAX - VLAN_TAG_SIZE) {
            counters_drop(port, queue, io->worker, size, DP_DROP_RX_TOO_LONG);
        } else if (size < PACKET_SIZE_MIN) {
            counters_drop(port, queue, io->worker, size, DP_DROP_RX_RUNT);
        } else {
            vnet_header_take(vector, packet, HEADER_SIZE, socket->batch->slots[i], size);
            if (tag_taken(&message->msg_hdr, &tpid, &tci))
                put_tag_back(packet, tpid, tci);
            close_gap(vector, i);
            vector->count++;
        }
    }
}

static uint8_t more_back_off(uint8_t back_off)
{
    unsigned more = back_off * 2u + 1;
    return (uint8_t)(more < BACK_OFF_MAX ? more : BACK_OFF_MAX);
}

unsigned packet_socket_rx(struct packet_socket *socket, struct port *port, unsigned queue,
                          struct packet_vector *vector, const struct worker_io *io)
{
    packet_vector_reset(vector);
    if (socket->fd < 0)
        return 0;
    if (socket->skip > 0) {
        socket->skip--;
        return 0;
    }
    prepare(socket->batch, vector);
    int count = recvmmsg(socket->fd, socket->batch->messages, RX_BATCH, MSG_DONTWAIT, NULL);
    /* Another error (the interface went down) is told once; the next look says what is there. */
    socket->drained = count < 0 && errno == EAGAIN;
    if (count > 0)
        take_all(socket, port, queue, vector, io, (unsigned)count);
    socket->back_off = vector->count > 0 ? 0 : more_back_off(socket->back_off);
    socket->skip = socket->drained ? socket->back_off : 0;
    return vector->count;
}

static void describe(const struct packet *packet, struct msghdr *message, struct iovec *parts)
{
    unsigned count = vnet_header_put(packet, HEADER_SIZE, parts);
    *message = (struct msghdr){.msg_iov = parts, .msg_iovlen = count};
}

/* Sends messages[0..count). False: no room for more. */
static bool send_all(int fd, struct mmsghdr *messages, unsigned count, struct vring_tx_result *result)
{
    unsigned done = 0;
    while (done < count) {
        int sent = sendmmsg(fd, messages + done, count - done, MSG_DONTWAIT);
        for (int i = 0; i < sent; i++)
            result->sent_bytes += messages[done + (unsigned)i].msg_len - HEADER_SIZE;
        if (sent > 0) {
            result->sent += (unsigned)sent;
            done += (unsigned)sent;
        } else if (errno == EMSGSIZE) { /* that frame only */
            result->too_big++;
            done++;
        } else if (errno == EINVAL) {
            result->no_room++;
            done++;
        } else { /* full or down: so it is for the rest */
            result->no_room += count - done;
            return false;
        }
    }
    return true;
}

void packet_socket_tx(int fd, struct packet *const *packets, unsigned count, struct vring_tx_result *result)
{
    struct mmsghdr messages[PACKET_VECTOR_MAX];
    struct iovec parts[TX_PARTS];
    unsigned used = 0, made = 0;
    *result = (struct vring_tx_result){0};
    for (unsigned i = 0; i < count; i++) {
        unsigned pieces = 1u + packets[i]->span_count;
        if (pieces > PACKET_SPANS_MAX + 1) {
            result->too_big++;
            continue;
        }
        if (used + pieces > TX_PARTS || made == PACKET_VECTOR_MAX) {
            if (!send_all(fd, messages, made, result)) {
                result->no_room += count - i;
                return;
            }
            used = made = 0;
        }
        describe(packets[i], &messages[made++].msg_hdr, &parts[used]);
        used += pieces;
    }
    send_all(fd, messages, made, result);
}

bool packet_socket_arm(const struct packet_socket *socket)
{
    return socket->fd >= 0 && !socket->drained;
}

/* Woken or not slept: the next reception looks. */
void packet_socket_disarm(struct packet_socket *socket)
{
    socket->skip = 0;
}

/* Refuses what is not a socket as the controller makes it. */ /* lint: control path */
static int check_descriptor(const struct dp_port *config, int fd, char *text)
{
    struct sockaddr_ll address = {0};
    int domain = 0, type = 0, header = 0, auxdata = 0;
    socklen_t size = sizeof(int), address_size = sizeof(address);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || domain != AF_PACKET ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_RAW) {
        snprintf(text, TEXT_SIZE, "interface %.15s: a descriptor is no packet socket", config->device);
        return -EINVAL;
    }
    if (getsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &header, &size) < 0 || !header ||
        getsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &auxdata, &size) < 0 || !auxdata) {
        snprintf(text, TEXT_SIZE, "interface %.15s: a packet socket without PACKET_VNET_HDR, PACKET_AUXDATA",
                 config->device);
        return -EINVAL;
    }
    if (getsockname(fd, (struct sockaddr *)&address, &address_size) < 0 ||
        (uint32_t)address.sll_ifindex != config->ifindex || address.sll_hatype != ARPHRD_ETHER) {
        snprintf(text, TEXT_SIZE, "interface %.15s: a packet socket of another interface, or not Ethernet",
                 config->device);
        return -EINVAL;
    }
    return 0;
}

/* lint: control path */
int packet_socket_open(struct packet_socket *socket, const struct dp_port *config, int fd, char *text)
{
    int error = check_descriptor(config, fd, text);
    if (error)
        return error;
    socket->batch =
        mmap(NULL, sizeof(*socket->batch), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (socket->batch == MAP_FAILED) {
        socket->batch = NULL;
        snprintf(text, TEXT_SIZE, "interface %.15s: no memory for a queue's frames", config->device);
        return -ENOMEM;
    }
    socket->fd = fd;
    return 0;
}

/* lint: control path */
void packet_socket_close(struct packet_socket *socket)
{
    if (socket->fd >= 0)
        close(socket->fd);
    if (socket->batch)
        munmap(socket->batch, sizeof(*socket->batch));
    *socket = (struct packet_socket){.fd = -1};
}
