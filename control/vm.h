/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The machines of ports (`vm` in weft.yaml): keeps a weft-vmm running for each. Theory of operation in vm.c.
 * Every function takes NULL for a controller without machines (tests).
 *
 * Threads: weftd has one.
 */
#include <jansson.h>
#include <stdbool.h>
#include "model.h"

struct controller;
struct outcome;
struct vms;

/* Makes RUN-DIR/vm and adopts the machines that run there. */
struct vms *vms_new(struct controller *controller);
/* `kill`: those that still run are ended at once; else they run on. */
void vms_free(struct vms *vms, bool kill);

/* The configuration in force changed, or the dataplane holds it now: starts and stops what is to be. */
void vms_sync(struct vms *vms);
/* Powers all off; the event loop ends when the last one has ended. False: none runs. */
bool vms_end(struct vms *vms);

/* Lines for a person: what `candidate` would mean to machines that run. */
json_t *vms_notes(const struct vms *vms, const struct model *candidate);
/* The same of what is in force, appended to the warnings of `weft status`. */
void vms_warn(const struct vms *vms, json_t *warnings);

enum vm_action { VM_START, VM_STOP, VM_KILL, VM_RESTART, VM_RESET, VM_PAUSE, VM_RESUME };

/* Begins it; what becomes of it, the item's state says. *changed: something was begun. Outcome says why not.
 */
bool vms_act(struct vms *vms, const struct model_port *port, enum vm_action action, bool *changed,
             struct outcome *outcome);
/* The machine of a port as the API shows it (docs/api.md). */
json_t *vms_item(const struct vms *vms, const struct model_port *port);
/* Those that no port declares any more and that have not ended yet, appended to items. */
void vms_leaving(const struct vms *vms, json_t *items);
