/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * One end of a device that translates addresses, as weft-natload drives it: a guest's NIC on a
 * vhost-user socket, or a packet socket on an interface. Frames to be sent lie in a ring of buffers that
 * are written once and published again and again.
 *
 * Threads: a port belongs to one thread. Errors: 0 or -errno, NULL and errno.
 */
#include <stdbool.h>
#include <stdint.h>

#define NAT_PORT_BUFFERS 1024u /* of the sending ring */
#define NAT_PORT_BATCH   64u
#define NAT_PORT_FRAME   60u /* bytes of every frame sent, FCS left out */

struct nat_port;

/* `name`: a path of a vhost-user socket (with a slash), or an interface. */
struct nat_port *nat_port_open(const char *name);
void nat_port_close(struct nat_port *port); /* NULL: nothing */

/* The i-th buffer of the ring: NAT_PORT_FRAME bytes. Called for all of them before nat_port_prepare. */
uint8_t *nat_port_buffer(struct nat_port *port, unsigned i);
int nat_port_prepare(struct nat_port *port);         /* all buffers are written */
unsigned nat_port_next(const struct nat_port *port); /* buffer that the next publication begins with */
unsigned nat_port_room(struct nat_port *port);       /* buffers that can be published now */
/* Sends the next `count` buffers, no more than there is room for. How many left the ring; the device may
 * have lost some of a packet socket's. */
unsigned nat_port_publish(struct nat_port *port, unsigned count);

/* Up to NAT_PORT_BATCH received frames, which stay readable until nat_port_recycle gives them back. A
 * packet socket shows one of about a thousand once nat_port_sample was called. */
unsigned nat_port_collect(struct nat_port *port, const uint8_t *frames[NAT_PORT_BATCH],
                          uint32_t sizes[NAT_PORT_BATCH]);
void nat_port_recycle(struct nat_port *port);
int nat_port_sample(struct nat_port *port);
/* Received frames that nobody wants to read. How many; 0 for packet sockets, whose interface counts. */
unsigned nat_port_skip(struct nat_port *port);
uint64_t nat_port_received(struct nat_port *port);  /* frames since it was opened, seen or not */
unsigned nat_port_in_flight(struct nat_port *port); /* published frames that the device has not taken */
bool nat_port_drops(const struct nat_port *port);   /* what it has no room for is lost: there is no ring */
