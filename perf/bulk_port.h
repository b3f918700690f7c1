/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The NIC of weft-bulk, with segmentation and checksum offload: on a vhost-user socket, or a tap
 * interface that it reads and writes itself, as a machine without a switch would have it.
 *
 * Threads: one. Errors: 0 or -errno, NULL and errno.
 */
#include <stdbool.h>
#include <stdint.h>
#include "packet.h"

#define BULK_FRAME_MAX 65550u /* bytes, without the virtio header */

struct bulk_port;

/* `name`: a path of a vhost-user socket (with a slash), or a tap interface that exists. */
struct bulk_port *bulk_port_open(const char *name);
void bulk_port_close(struct bulk_port *port); /* NULL: nothing */

/* A single frame, copied. 0 or -errno; not after bulk_port_prepare. */
int bulk_port_send(struct bulk_port *port, const struct virtio_net_header *header, const uint8_t *frame,
                   uint32_t size);
/* Bulk: every buffer of the sending ring becomes this frame. */
int bulk_port_prepare(struct bulk_port *port, const struct virtio_net_header *header, const uint8_t *frame,
                      uint32_t size);
uint8_t *bulk_port_next(struct bulk_port *port); /* the frame that goes next; NULL: the ring is full */
void bulk_port_publish(struct bulk_port *port);  /* sends it; a tap may lose it */
void bulk_port_kick(struct bulk_port *port);     /* tells the device of what was published */
/* Waits until something may have arrived or the ring may have room. */
void bulk_port_wait(struct bulk_port *port, int timeout_ms);

/* The next frame that has arrived: its size, and its first bytes (at most `capacity`), the rest unread.
 * 0: none. */
uint32_t bulk_port_receive(struct bulk_port *port, uint8_t *frame, uint32_t capacity);
