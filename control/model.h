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
#define MODEL_INTERFACE_SIZE 16u  /* IFNAMSIZ */

struct model_tenant {
    const char *name;
    uint32_t id;
    int64_t limit_ports;           /* -1: none */
    int64_t limit_macs;            /* 0: none */
    uint32_t limit_sessions;       /* 0: none */
    uint32_t limit_guest_sessions; /* never 0 */
    uint32_t router_id;            /* of its router: its own number */
    struct model_segment *segments;
    unsigned segment_count;
    struct model_port *ports;
    unsigned port_count;
};

struct model_address {
    uint8_t family; /* 4, 6 */
    uint8_t bytes[16];
};

/* An address in a network. */
struct model_prefix {
    uint8_t family; /* 0: none */
    uint8_t length;
    uint8_t network[16];
    uint8_t address[16];
};

struct model_uplink {
    const char *name;
    uint32_t id; /* of its port in the dataplane; 0: a VLAN has none of its own */
    const char *device;
    uint32_t mtu;           /* as configured; 0: the interface's */
    bool looked;            /* link is known */
    struct link_facts link; /* of its interface, as last looked at (uplink.h); all zero: not there */
    bool take_over;         /* pci: whatever the host uses the NIC for */
    bool nic_usable;        /* pci: as last looked at */
    bool no_link;           /* pci, vdev: so the dataplane says */
    char netdev[MODEL_INTERFACE_SIZE];        /* the kernel's interface that the device shares; "": none */
    struct model_prefix own[2];               /* its own addresses where the kernel has none: IPv4, IPv6 */
    struct model_address gateways[2];         /* the same: family 0: none */
    uint16_t port_first, port_last;           /* for address translation */
    bool is_outside;                          /* a segment of mode nat leaves by it */
    const struct model_uplink *parent;        /* of a VLAN: the uplink that carries it; else NULL */
    uint32_t vlan;                            /* of a VLAN: its tag there; else 0 */
    uint32_t outside_port;                    /* the router's port there */
    uint32_t outside_segment, outside_tenant; /* 0: a bridged segment is there already */
    size_t routes_left_out;                   /* of the kernel's: more than the dataplane takes */
};

/* Port forward of a segment of mode nat. */
struct model_forward {
    uint8_t protocol; /* 6, 17 */
    uint16_t first, last;
    uint16_t to_first;
    struct model_port *to;
    struct model_address address; /* family 0: the uplink's own */
};

/* A guest with an outside address of its own. */
struct model_pin {
    struct model_port *port;
    struct model_address address;
};

struct model_nat {
    struct model_address *addresses; /* none: the uplink's own */
    unsigned address_count;
    struct model_forward *forwards;
    unsigned forward_count;
    struct model_pin *pins;
    unsigned pin_count;
    bool endpoint_independent_filter;
};

struct model_dhcp {
    bool enabled;
    uint8_t first[4], last[4];
    uint32_t lease; /* seconds */
    uint8_t dns[3][4];
    unsigned dns_count;
    bool dns_set;
    char domain[MODEL_FULL_NAME_SIZE];
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
    /* host-only, nat */
    bool is_host_only, is_nat;
    struct model_prefix subnets[2]; /* IPv4, IPv6; the address: the gateway's or host's */
    char host_interface[MODEL_INTERFACE_SIZE];
    uint32_t mtu;
    struct model_dhcp dhcp;
    bool ipv6_nat;
    struct model_nat nat;
    uint32_t router_port; /* in the dataplane: of the gateway, or of what hears host-only guests ask */
    uint32_t host_port;   /* host-only: of the host's interface */
};

/* A machine that weftd keeps running at a port. Lists are arrays of paths, or NULL. */
struct model_vm {
    const char *kernel;                        /* NULL only while the configuration is being checked */
    const char *initrd, *cmdline, *cloud_init; /* NULL: none, weft-vmm's default, none */
    const char *hugepages;
    json_t *disks, *readonly_disks, *vhost_disks;
    uint32_t memory; /* MiB */
    uint32_t cpus;
    uint32_t stop_timeout; /* seconds */
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
    struct model_vm *vm; /* NULL: none */
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
bool model_has_routers(const struct model *model); /* a port of weft's own that hands frames up */
bool model_port_in(const struct model_port *port, const struct model_segment *segment);

struct model_check {
    struct model *model;
    const struct document_node *root;
    struct diagnostics *diagnostics;
    const char *run_dir;
};

/* model.c. Memory for `count` elements (also 0), never NULL. */
void *model_zeroed(size_t count, size_t size);

/* model_network.c: subnets, and what address translation names. */
void model_uplink_build(struct model_uplink *uplink, json_t *table);
void model_uplink_join(const struct model_check *check, struct model_uplink *uplink);
/* The uplink that has the device. */
const struct model_uplink *model_uplink_carrier(const struct model_uplink *uplink);
/* The bridged segment that is where segments of mode nat leave; NULL: weft makes one. */
const struct model_segment *model_uplink_bridged(const struct model *model,
                                                 const struct model_uplink *uplink);
void model_network_build(struct model_segment *segment, json_t *table);
/* Once the tenant's ports are there. */
void model_nat_build(const struct model_check *check, struct model_segment *segment, json_t *table);
void model_nat_free(struct model_segment *segment);
/* The port's own address of the family in the segment's subnet; NULL: it has none. */
const struct model_address *model_port_address(const struct model_port *port,
                                               const struct model_segment *segment, uint8_t family);
bool model_prefix_has(const struct model_prefix *prefix, uint8_t family, const uint8_t address[16]);
/* Not the first (network) or, with IPv4, the last (broadcast) address of the prefix. */
bool model_prefix_host(const struct model_prefix *prefix, const uint8_t address[16]);

/* validate.c: what can be wrong between objects. */
void model_mistake(const struct model_check *check, enum weft_code code, const char *path, const char *format,
                   ...) __attribute__((format(printf, 4, 5)));
void model_validate(const struct model_check *check);

/* model_vm.c: the machines of ports. */
void model_vm_build(const struct model_check *check, struct model_port *port, json_t *table);
void model_vm_validate(const struct model_check *check, json_t *claims);
/* Whether the files of machines exist on this host, but for those that are the same in `before`. */
void model_vm_files(const struct model_check *check, const struct model *before);
/* "RUN-DIR/vm/TENANT.PORT/NAME", without a slash if NAME is empty. False: it does not fit. */
bool model_vm_path(char *path, size_t size, const char *run_dir, const struct model_port *port,
                   const char *name);
/* Remembers who uses `what`; the one who did before, or NULL. */
const char *model_claim(json_t *claims, const char *what, const char *who);
/* validate_network.c: subnets, host-only and nat. */
void model_validate_network(const struct model_check *check, json_t *claims);
