/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * Each direction has a sending queue (the guest's transmit ring of one port) and a sink (the receive ring of
 * the other). Before a run each buffer of the sending queue holds a complete frame; publishing hands the next
 * buffers, in index order, to the switch again. With several flows or addresses (or `touch`, for comparison)
 * the few bytes that differ are rewritten just before publication; otherwise nothing is touched.
 *
 * A frame is Ethernet, an optional tag, IPv4, UDP and a payload: a magic number, the buffer's number, a stamp
 * (TSC, 0: none), and a pattern that the sink compares for one frame in a thousand. TSO frames are TCP
 * instead. The sink gives the others back without looking at them, unless stamps or sizes are to be read:
 * it must not cost what a guest's driver would cost.
 *
 * Loss is offered minus received after the drain: the run goes on, without sending, until nothing has arrived
 * for 20 ms. A frame still in the sending ring has not been offered.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <x86intrin.h>
#include "generator_private.h"
#include "wire.h"

double generator_tsc_hz(void)
{
    static double hz;
    if (hz == 0) {
        uint64_t start = now_ns(), tsc = __rdtsc();
        while (now_ns() - start < 20000000u)
            ;
        hz = (double)(__rdtsc() - tsc) * 1e9 / (double)(now_ns() - start);
    }
    return hz;
}

void generator_mac(const struct generator *generator, unsigned port, uint32_t i, uint8_t mac[6])
{
    const uint8_t *prefix = generator->config.mac_prefix[port];
    uint32_t low =
        ((uint32_t)prefix[2] << 24 | (uint32_t)prefix[3] << 16 | (uint32_t)prefix[4] << 8 | prefix[5]) + i;
    memcpy(mac, prefix, 2);
    write_be32(mac + 2, low);
}

/* Ethernet, tag, IPv4 and UDP (or TCP for TSO) headers of a frame of `size` bytes; the payload after them. */
static void build_frame(const struct generator *generator, const struct direction *direction, unsigned buffer,
                        uint8_t *at, uint32_t size)
{
    const struct generator_config *config = &generator->config;
    unsigned from = direction->index, to = 1 - from, l3 = generator->l3;
    bool tso = config->offload && size > 1518;
    struct virtio_net_header header = {0};
    uint8_t *frame = at + VIRTIO_NET_HEADER_SIZE, *ip = frame + l3, *l4 = ip + 20;

    memset(frame, 0, generator->payload + sizeof(struct payload));
    generator_mac(generator, to, 0, frame);
    generator_mac(generator, from, 0, frame + 6);
    if (config->vlan) {
        write_be16(frame + 12, 0x8100);
        write_be16(frame + 14, config->vlan);
    }
    write_be16(frame + l3 - 2, 0x0800);
    ip[0] = 0x45;
    write_be16(ip + 2, (uint16_t)(size - l3));
    ip[8] = 64;
    ip[9] = tso ? 6 : 17;
    write_be32(ip + 12, config->ip[from]);
    write_be32(ip + 16, config->ip[to]);
    write_be16(ip + 10, (uint16_t)~sum_fold(sum16(ip, 20)));
    write_be16(l4, 1024);
    write_be16(l4 + 2, 9);
    if (tso) {
        l4[12] = 0x50; /* data offset: 5 words */
        l4[13] = 0x10; /* ACK */
        header.flags = VNET_F_NEEDS_CSUM;
        header.gso_type = VNET_GSO_TCPV4;
        header.hdr_len = (uint16_t)(l3 + 40);
        header.gso_size = 1448;
        header.csum_start = (uint16_t)(l3 + 20);
        header.csum_offset = 16;
    } else {
        write_be16(l4 + 4, (uint16_t)(size - l3 - 20));
    }
    memcpy(at, &header, sizeof(header));
    struct payload payload = {.magic = PAYLOAD_MAGIC, .buffer = (uint16_t)buffer};
    memcpy(frame + generator->payload, &payload, sizeof(payload));
    for (uint32_t i = generator->payload + (uint32_t)sizeof(payload); i < size; i++)
        frame[i] = (uint8_t)(i * 7 + buffer);
}

static int open_devices(struct generator *generator, char error[256])
{
    const struct generator_config *config = &generator->config;
    uint64_t features = FEATURE(VIRTIO_F_VERSION_1);
    uint32_t largest = 0;
    for (unsigned i = 0; i < config->size_count; i++)
        largest = config->sizes[i] > largest ? config->sizes[i] : largest;
    if (config->packed)
        features |= FEATURE(VIRTIO_F_RING_PACKED);
    if (config->in_order)
        features |= FEATURE(VIRTIO_F_IN_ORDER);
    if (config->mergeable)
        features |= FEATURE(VIRTIO_NET_F_MRG_RXBUF);
    if (config->offload)
        features |= FEATURES_OFFLOADS;
    for (unsigned port = 0; port < 2; port++) {
        struct driver_config driver = {
            .path = config->paths[port],
            .listen = config->listen,
            .queue_pairs = 1,
            .ring_size = config->ring_size,
            .buffer_size =
                largest + VIRTIO_NET_HEADER_SIZE > config->buffer_size ? largest + 64 : config->buffer_size,
            .features = features,
            .timeout_ms = config->timeout_ms,
            .hugepages = true,
        };
        generator->devices[port] = driver_open(&driver);
        if (!generator->devices[port]) {
            int status = -errno;
            snprintf(error, 256, "%s: %s", config->paths[port], strerror(-status));
            return status;
        }
    }
    return 0;
}

/* Throws away what has arrived at either port. Returns how many frames. */
static unsigned discard(struct generator *generator)
{
    unsigned total = 0;
    for (unsigned port = 0; port < 2; port++) {
        struct driver_queue *queue = driver_rx_queue(generator->devices[port], 0);
        uint16_t buffers[GENERATOR_BATCH];
        uint32_t sizes[GENERATOR_BATCH];
        unsigned count = driver_collect(queue, buffers, sizes, GENERATOR_BATCH);
        if (count) {
            driver_recycle(queue, count);
            driver_kick(queue);
        }
        total += count;
    }
    return total;
}

/* Teaches the switch every address (one broadcast frame from each), so that a run measures forwarding, not
 * flooding. */
static int teach(struct generator *generator)
{
    uint8_t frame[64] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct virtio_net_header header = {0};
    unsigned tag = generator->config.vlan ? 4 : 0;
    if (tag) {
        write_be16(frame + 12, 0x8100);
        write_be16(frame + 14, generator->config.vlan);
    }
    write_be16(frame + 12 + tag, 0x88b5); /* IEEE 802 local experimental EtherType */
    for (unsigned port = 0; port < 2; port++) {
        struct driver_queue *queue = driver_tx_queue(generator->devices[port], 0);
        for (uint32_t i = 0; i < generator->config.macs; i++) {
            generator_mac(generator, port, i, frame + 6);
            uint64_t deadline = now_ns() + 2000000000u;
            int status;
            while ((status = driver_transmit(queue, &header, frame, sizeof(frame))) == -EAGAIN &&
                   now_ns() < deadline)
                discard(generator);
            if (status)
                return status == -EAGAIN ? -ETIMEDOUT : status;
            driver_kick(queue);
        }
        uint64_t deadline =
            now_ns() + 5000000000u; /* a switch may take a while to poll a new guest's rings */
        for (uint64_t last = now_ns(); now_ns() - last < DRAIN_NS || driver_in_flight(queue) > 0;) {
            if (discard(generator))
                last = now_ns();
            if (now_ns() > deadline)
                return -ETIMEDOUT;
        }
        discard(generator); /* the last one may have come between the last look and the ring's being empty */
    }
    return 0;
}

static int prepare(struct generator *generator, struct direction *direction)
{
    const struct generator_config *config = &generator->config;
    direction->buffers = direction->room = driver_buffer_count(direction->tx);
    direction->sizes = calloc(direction->buffers, sizeof(*direction->sizes));
    if (!direction->sizes)
        return -ENOMEM;
    for (unsigned i = 0; i < direction->buffers; i++) {
        uint32_t size = config->sizes[i % config->size_count];
        build_frame(generator, direction, i, driver_buffer(direction->tx, i), size);
        direction->sizes[i] = size + VIRTIO_NET_HEADER_SIZE;
    }
    return driver_prepare(direction->tx, direction->sizes);
}

struct generator *generator_new(const struct generator_config *config, char error[256])
{
    struct generator *generator = calloc(1, sizeof(*generator));
    int status = -ENOMEM;
    if (!generator)
        goto fail;
    generator->config = *config;
    generator->l3 = config->vlan ? 18 : 14;
    generator->payload = generator->l3 + 20 + (config->offload && config->sizes[0] > 1518 ? 20 : 8);
    generator->tsc_hz = generator_tsc_hz();
    generator->direction_count = config->both ? 2 : 1;
    status = -EINVAL;
    for (unsigned i = 0; i < config->size_count; i++) {
        if (config->sizes[i] < generator->payload + sizeof(struct payload)) {
            snprintf(error, 256, "frame size %u is less than the headers and the stamp (%zu bytes)",
                     config->sizes[i], generator->payload + sizeof(struct payload));
            goto fail;
        }
    }
    status = open_devices(generator, error);
    if (status)
        goto fail;
    status = teach(generator);
    if (status) {
        snprintf(error, 256, "the switch does not take frames from %s: %s", config->paths[0],
                 strerror(-status));
        goto fail;
    }
    for (unsigned i = 0; i < generator->direction_count; i++) {
        struct direction *direction = &generator->directions[i];
        direction->index = i;
        direction->tx = driver_tx_queue(generator->devices[i], 0);
        direction->rx = driver_rx_queue(generator->devices[1 - i], 0);
        status = prepare(generator, direction);
        if (status) {
            snprintf(error, 256, "%s: frames do not fit the ring's buffers", config->paths[i]);
            goto fail;
        }
    }
    return generator;
fail:
    if (status == -ENOMEM)
        snprintf(error, 256, "out of memory");
    generator_free(generator);
    errno = -status;
    return NULL;
}

void generator_free(struct generator *generator)
{
    if (!generator)
        return;
    for (unsigned i = 0; i < 2; i++) {
        if (generator->devices[i])
            driver_close(generator->devices[i]);
        free(generator->directions[i].sizes);
    }
    free(generator);
}
