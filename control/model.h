/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The configuration with its defaults filled in and its references resolved: what the rest of weftd works
 * with. Built from the typed tree (schema.h), which it keeps a reference to and borrows its strings from;
 * immutable but for ids and what the kernel says of uplinks' interfaces.
 *
 * Threads: weftd has one.
 */
#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include "diagnostics.h"
#include "document.h"
#include "link.h"

#define MODEL_FULL_NAME_SIZE 64u
#define MODEL_SOCKET_SIZE    108u /* sockaddr_un's */

struct model_tenant {
    const char *name;
    uint32_t id;
    int64_t limit_ports; /* -1: none */
    int64_t limit_macs;  /* 0: none */
    struct model_segment *segments;
    unsigned segment_count;
    struct model_port *ports;
    unsigned port_count;
};

struct model_uplink {
    const char *name;
    uint32_t id; /* of its port in the dataplane */
    const char *device;
    uint32_t mtu;           /* as configured; 0: the interface's */
    bool looked;            /* link is known */
    struct link_facts link; /* of its interface, as last looked at (uplink.h); all zero: not there */
};

struct model_segment {
    struct model_tenant *tenant;
    const char *name;
    char full_name[MODEL_FULL_NAME_SIZE]; /* acme/web */
    uint32_t id;
    const char *mode;
    struct model_uplink *uplink; /* bridged */
    uint32_t vlan;               /* 0: none */
    uint32_t ageing;             /* seconds; 0: never */
    bool isolate_ports;
    bool follow_uplink; /* guests are shown the uplink's link */
    uint32_t macs;      /* 0: none */
    json_t *statics;    /* MAC: port; NULL: none */
};

struct model_address {
    uint8_t family; /* 4, 6 */
    uint8_t bytes[16];
};

struct model_port {
    struct model_tenant *tenant;
    const char *name;
    char full_name[MODEL_FULL_NAME_SIZE]; /* acme/vm1 */
    uint32_t id;
    struct model_segment *segment; /* access port */
    struct model_segment **trunk;
    unsigned trunk_count;
    struct model_segment *native; /* of the trunk; NULL: none */
    bool has_mac;
    uint8_t mac[6];
    struct model_address *addresses;
    unsigned address_count;
    uint32_t queues;
    uint32_t mtu;
    bool client;
    char socket[MODEL_SOCKET_SIZE];
    const char *tap; /* NULL: vhost-user */
    bool spoof_allowed;
    bool isolated_set, isolated;
    uint32_t storm_limit;
    uint32_t macs;
    bool enabled;
};

struct model {
    json_t *config;
    struct model_tenant *tenants;
    unsigned tenant_count;
    struct model_uplink *uplinks;
    unsigned uplink_count;
    struct model_segment *segments; /* those of a tenant next to each other */
    unsigned segment_count;
    struct model_port *ports; /* the same */
    unsigned port_count;
};

/* NULL if something is wrong; diagnostics has it all. `root` gives positions and may be NULL. */
struct model *model_build(json_t *config, const char *run_dir, const struct document_node *root,
                          struct diagnostics *diagnostics);
void model_free(struct model *model);

/* Typed tree and model of a document in one go. */
struct model *model_from_document(const struct document *document, const char *run_dir,
                                  struct diagnostics *diagnostics);

struct model_tenant *model_tenant(const struct model *model, const char *name);
struct model_uplink *model_uplink(const struct model *model, const char *name);
struct model_segment *model_segment(const struct model_tenant *tenant, const char *name);
struct model_port *model_port(const struct model_tenant *tenant, const char *name);
bool model_port_in(const struct model_port *port, const struct model_segment *segment);

/* validate.c: what can be wrong between objects. */
struct model_check {
    struct model *model;
    const struct document_node *root;
    struct diagnostics *diagnostics;
};
void model_mistake(const struct model_check *check, enum weft_code code, const char *path, const char *format,
                   ...) __attribute__((format(printf, 4, 5)));
void model_validate(const struct model_check *check);
