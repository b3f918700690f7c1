/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Uplinks that share an interface with the host (af_packet:IF, af_xdp:IF): their sockets and programs, and
 * what the kernel says of the interface. Theory of operation in uplink.c; of pci:ADDR in uplink_pci.c.
 *
 * Threads: weftd has one.
 */
#include <stddef.h>
#include "compile.h"
#include "events.h"
#include "model.h"
#include "steer.h"

struct uplinks;

/* `run_dir` tells this weftd's programs from another's. NULL: no memory. */
struct uplinks *uplinks_new(const char *run_dir);
void uplinks_free(struct uplinks *uplinks);

/* Bytes of IP packet that it carries: what is configured, but not more than the interface does. */
uint32_t uplink_mtu(const struct model_uplink *uplink);
/* Fills in model->uplinks[].link and nic_usable: what the interfaces and NICs are like now. True: something
 * is not as it was; `events` (NULL: nobody) hear of it, but for the link, which the port's state tells. */
bool uplinks_look(struct model *model, struct events *events);
/* What an uplink that `current` (NULL: none) does not have cannot work on. 0 or -errno with the reason. */
int uplinks_check(const struct model *candidate, const struct model *current, char *text, size_t size);
/* Descriptors for the put of a port of type DP_PORT_PACKET or DP_PORT_XDP. How many (the caller closes
 * them), or -errno with the reason in `text`. */
int uplinks_open(struct uplinks *uplinks, const struct dp_port *port, int fds[DP_PORT_FDS_MAX], char *text,
                 size_t size);
/* The host's MAC addresses may be others now. */
void uplinks_refresh(const struct uplinks *uplinks);
/* The dataplane holds these objects: the sockets of uplinks are served, the steering programs know the host's
 * addresses and what is translated; what other uplinks had is forgotten. */
void uplinks_settle(struct uplinks *uplinks, const struct object_set *objects);

/* A frame and the 256 bytes that XDP wants in front share a page (dataplane/port_xdp.c). */
#define UPLINK_XDP_MTU_MAX 3498u

enum uplink_kind { UPLINK_VDEV, UPLINK_PACKET, UPLINK_XDP, UPLINK_PCI, UPLINK_VLAN };
/* Of "vdev:...", "af_packet:...", "af_xdp:...", "pci:...", "vlan:...". */
enum uplink_kind uplink_kind(const char *device);
bool uplink_is_shared(const char *device); /* with the host's kernel: af_packet, af_xdp */
/* What the dataplane said of devices that both models have. */
void uplinks_inherit(struct model *candidate, const struct model *current);
/* The part behind the colon. */
const char *uplink_argument(const char *device);
