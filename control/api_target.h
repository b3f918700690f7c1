/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What `add`, `set` and `del` change: the object that noun and name say, in a copy of the configuration in
 * force.
 *
 * Threads: weftd has one.
 */
#include "api_call.h"

enum target_kind { TARGET_TENANT, TARGET_SEGMENT, TARGET_PORT, TARGET_UPLINK, TARGET_NAT, TARGET_VM };

struct target {
    enum target_kind kind;
    const char *noun;
    const char *row;                   /* of the object in the schema */
    char tenant[WEFT_NAME_LENGTH + 1]; /* segment, port; else "" */
    char name[WEFT_NAME_LENGTH + 1];   /* of the object itself */
    char path[160];                    /* tenants.acme.ports.vm1 */
    json_t *tree;                      /* the copy */
    json_t *objects; /* where the object is or will be; NULL: there is no such tenant, port */
    const char *key; /* of the object in it */
    json_t *table;   /* the object; NULL: there is none */
};

/* False: outcome says why. */
bool target_open(struct api_call *call, struct target *target);
void target_close(struct target *target);
