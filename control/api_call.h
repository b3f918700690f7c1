/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * One request while it is answered, and what the files api_*.c share. docs/api.md says what the methods do.
 *
 * Threads: weftd has one.
 */
#include "controller.h"

struct api_call {
    struct controller *controller;
    json_t *params;    /* an object whose members are the method's, of the right types */
    const void *owner; /* the connection; NULL: none */
    uid_t uid;
    bool admin;
    json_t *result;         /* the answer, unless outcome.code says otherwise */
    struct outcome outcome; /* code, message, details */
    bool follow;            /* events: keep sending */
    json_t *items;          /* events: to be sent one by one before the result */
};

typedef void (*api_handler)(struct api_call *call);

struct api_method {
    const char *name;
    api_handler handler;
    bool admin;         /* changes something */
    bool waits;         /* for a dataplane that is just starting */
    const char *params; /* "noun:string name:string tenant:string?" */
};

const struct api_method *api_method_find(const char *name); /* NULL: none */
const char *api_method_nearest(const char *name);           /* NULL: none is like it */

/* api_params.c: what a method takes. False: outcome says why. */
bool api_params_check(struct api_call *call, const char *params);
/* Optional parameters; NULL, fallback if not given. */
const char *api_string(const struct api_call *call, const char *name);
int64_t api_integer(const struct api_call *call, const char *name, int64_t fallback);
bool api_bool(const struct api_call *call, const char *name);

/* What a change answers, from the outcome. */
void api_answer_change(struct api_call *call);

/* "acme/web" to its parts. False: no such thing; outcome says so, with what was probably meant. */
bool api_find_tenant(struct api_call *call, const char *name, struct model_tenant **tenant);
bool api_find_segment(struct api_call *call, const char *name, struct model_segment **segment);
bool api_find_port(struct api_call *call, const char *name, struct model_port **port);
bool api_find_uplink(struct api_call *call, const char *name, struct model_uplink **uplink);
/* A segment of mode nat. */
bool api_find_nat(struct api_call *call, const char *name, struct model_segment **segment);
/* A port with a machine. */
bool api_find_vm(struct api_call *call, const char *name, struct model_port **port);

void api_vm_run(struct api_call *call);
void api_vm_start(struct api_call *call);
void api_vm_stop(struct api_call *call);
void api_vm_restart(struct api_call *call);
void api_vm_reset(struct api_call *call);
void api_vm_pause(struct api_call *call);
void api_vm_resume(struct api_call *call);
void api_vm_console(struct api_call *call);

void api_add(struct api_call *call);
void api_set(struct api_call *call);
void api_del(struct api_call *call);
void api_list(struct api_call *call);
void api_show(struct api_call *call);
void api_status(struct api_call *call);
void api_flush(struct api_call *call);
void api_forward_add(struct api_call *call);
void api_forward_del(struct api_call *call);
void api_snippet(struct api_call *call);
void api_doctor(struct api_call *call);
