/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The device's side of a virtqueue (virtio 1.2, 2.7 split and 2.8 packed): what the switch does with a
 * guest's rings. Names follow the switch: "rx" takes frames that the guest transmits, "tx" gives frames to
 * the guest.
 *
 * Threads
 *   - One worker at a time calls vring_rx/vring_rx_done/vring_arm on a ring (the one that owns the queue).
 *   - Any worker may call vring_tx: a ring that several workers write takes its own lock for the batch.
 *   - The control thread (backend.c) configures a ring only while it is not usable and after quiesce(), that
 *     is, after every worker has passed the end of a round since vring_usable() turned false.
 *
 * Errors: what a guest does wrong breaks its ring (vring_broken() says why, nothing is read from or written
 * to it any more) or drops the frame with a named reason. No function here fails otherwise, blocks, allocates
 * or logs.
 */
#include <stdbool.h>
#include <stdint.h>
#include "packet.h"

struct vring;
struct notifier;

#define VRING_SIZE_MAX 4096u

/* Frames that the receive side takes from the guest but cannot hand on. One list: enum, counter, text. */
#define VRING_DROPS(X)                                                                                       \
    X(RX_RUNT, "rx_runt", "shorter than a virtio header and an Ethernet header")                             \
    X(RX_TOO_LONG, "rx_too_long", "longer than 64 KiB and headers")                                          \
    X(RX_FRAGMENTED, "rx_fragmented", "scattered over more than 256 pieces")
enum vring_drop {
#define X(symbol, name, text) VRING_DROP_##symbol,
    VRING_DROPS(X)
#undef X
        VRING_DROP_COUNT
};

/* Why a ring is broken. */
#define VRING_ERRORS(X)                                                                                      \
    X(NONE, "none")                                                                                          \
    X(HEAD_RANGE, "descriptor head beyond the ring")                                                         \
    X(INDEX_JUMP, "avail index ahead by more than the ring size")                                            \
    X(CHAIN_LOOP, "descriptor chain longer than the ring")                                                   \
    X(CHAIN_NEXT, "next descriptor beyond the ring")                                                         \
    X(ADDRESS, "descriptor address outside guest memory")                                                    \
    X(DIRECTION, "descriptor direction wrong for the queue")                                                 \
    X(INDIRECT, "indirect table nested, misaligned, empty or too long")                                      \
    X(BUFFER_RUNT, "receive buffer smaller than the virtio header")                                          \
    X(MEMORY_GONE, "guest memory was truncated")
enum vring_error {
#define X(symbol, text) VRING_ERROR_##symbol,
    VRING_ERRORS(X)
#undef X
        VRING_ERROR_COUNT
};
const char *vring_error_text(enum vring_error error);

struct vring_rx_counters {
    uint64_t drops[VRING_DROP_COUNT]; /* frames */
};

/* What became of the packets of one vring_tx call. sent + no_room + too_big == count. */
struct vring_tx_result {
    unsigned sent;       /* frames written */
    unsigned no_room;    /* frames: the ring had not enough buffers (or is not usable) */
    unsigned too_big;    /* frames: larger than what the guest's buffers can ever hold */
    uint64_t sent_bytes; /* bytes of the frames written, without virtio headers */
};

/* True while the ring is started, enabled and not broken. A worker looks once a round. */
bool vring_usable(const struct vring *ring);

/* Any thread: the error that broke the ring, VRING_ERROR_NONE while it is in order. */
enum vring_error vring_broken(const struct vring *ring);

/* Takes up to PACKET_VECTOR_MAX frames from the guest. The vector is reset first. Frames that must be dropped
 * here are consumed and counted in vring_rx_counters. Returns vector->count; consumed frames (with the
 * dropped ones) are given back by vring_rx_done, which must be called if vring_rx was called, even if it
 * returned 0. */
unsigned vring_rx(struct vring *ring, struct packet_vector *vector);

/* Returns the descriptors of the last vring_rx to the guest, in order, in one publication, and asks the
 * notifier to signal the guest if it wants to be. */
void vring_rx_done(struct vring *ring, struct notifier *notifier);

/* Copies the packets, in order, into the guest's buffers: virtio header, private bytes, spans. The packet's
 * offload fields are written to the virtio header as they are: the caller has made sure the guest negotiated
 * them. One publication for the batch. The packets are not changed, but for bytes in the headroom before
 * packet->data. */
void vring_tx(struct vring *ring, struct packet *const *packets, unsigned count, struct notifier *notifier,
              struct vring_tx_result *result);

/* Before sleeping: ask the guest to kick. True if there is work already (then do not sleep). */
bool vring_arm(struct vring *ring);
/* After sleeping: no kicks wanted while polling. */
void vring_disarm(struct vring *ring);

/* Counters of the receive side; worker: rw, others: ro. */
const struct vring_rx_counters *vring_rx_counters(const struct vring *ring);

/*
 * The notifier collects the rings whose guests want an interrupt and signals all of them with one system
 * call. It never blocks, even if a guest filled its eventfd and took O_NONBLOCK off: the eventfds are
 * signalled by the kernel on completion of an asynchronous write of nothing (io_submit(2) with
 * IOCB_FLAG_RESFD), and the kernel's eventfd_signal() saturates instead of waiting. One notifier a worker.
 */
struct notifier *notifier_new(void); /* NULL and errno: EAGAIN (fs.aio-max-nr), ENOMEM, EMFILE */
void notifier_free(struct notifier *notifier);
/* Once a round, and before anything that lets control touch the rings of earlier calls (quiescent state,
 * sleep). What vring_rx_done and vring_tx published since is asked about and signalled. Returns how many
 * eventfds were signalled. */
unsigned notifier_flush(struct notifier *notifier);
