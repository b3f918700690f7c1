/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Uplinks that take a whole NIC from the host (pci:ADDR). Theory of operation in uplink_pci.c.
 *
 * Threads: weftd has one.
 */
#include <stddef.h>
#include "compile.h"
#include "model.h"

/* Why the NIC of the uplink (its device is pci:ADDR) cannot be taken, or should not be. 0 or -errno with the
 * reason, which does not name the uplink. */
int uplink_pci_check(const struct model_uplink *uplink, char *text, size_t size);
/* Before the dataplane is given these objects: their NICs are bound to vfio-pci. 0 or -errno with the
 * reason. */
int uplink_pci_prepare(const char *run_dir, const struct object_set *objects, char *text, size_t size);
/* The dataplane holds these objects (NULL: it is not there any more): other NICs go back to the host. */
void uplink_pci_settle(const char *run_dir, const struct object_set *objects);
