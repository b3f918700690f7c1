/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What weftd and its clients agree on (docs/api.md): numbers, names and limits. The messages are JSON lines
 * over the unix stream socket RUN-DIR/api.sock. Included by control/ and cli/; contains no code.
 */

#define WEFT_API_VERSION 1

#define WEFT_RUN_DIR_DEFAULT   "/run/weft"
#define WEFT_STATE_DIR_DEFAULT "/var/lib/weft"
#define WEFT_CONFIG_DEFAULT    "/etc/weft/weft.yaml"
#define WEFT_API_SOCKET        "api.sock"       /* under the run dir */
#define WEFT_DATAPLANE_SOCKET  "dataplane.sock" /* under the run dir */
#define WEFT_VHOST_DIR         "vhost"          /* under the run dir; TENANT.PORT, one socket a guest port */
#define WEFT_VM_DIR            "vm"             /* under the run dir; TENANT.PORT/, one directory a machine */
#define WEFT_VM_CONSOLE        "console"        /* in it: the serial port's socket */
#define WEFT_VM_CONSOLE_LOG    "console.log"    /* in it: what the guest said there */
#define WEFT_GROUP_ADMIN       "weft"
#define WEFT_GROUP_READ        "weft-ro"

#define WEFT_API_LINE_SIZE    (1u << 20) /* bytes of one request, newline included */
#define WEFT_API_CLIENTS_MAX  64u
#define WEFT_API_LINE_SECONDS 10    /* to finish a line that was begun */
#define WEFT_EVENTS_MAX       1000u /* events kept */
#define WEFT_HISTORY_MAX      50u   /* generations kept */
#define WEFT_NAME_LENGTH      31u   /* of a tenant, segment, port or uplink: [a-z0-9-]{1,31} */
#define WEFT_CONFIRM_SECONDS  86400 /* longest confirm_within */

/* error.code of an answer, and exit code of `weft`. */
enum weft_code {
    WEFT_OK = 0,            /* done, or unchanged */
    WEFT_FAILED = 1,        /* the message says what and where */
    WEFT_USAGE = 2,         /* unknown method, wrong parameter */
    WEFT_NOT_FOUND = 3,     /* no such object */
    WEFT_CONFLICT = 4,      /* exists with other values, still referenced, or not the expected generation */
    WEFT_UNREACHABLE = 5,   /* client side: no controller at the socket */
    WEFT_INVALID = 6,       /* configuration invalid; error.details lists everything that is wrong */
    WEFT_NOT_PERMITTED = 7, /* role */
    WEFT_NOT_CONVERGED = 8, /* accepted, not converged in time */
    WEFT_LIMIT = 9,         /* a limit is reached */
    WEFT_DIFFERENT = 10,    /* client side: `config diff` found differences */
};

#define WEFT_ROLE_ADMIN "admin"
#define WEFT_ROLE_READ  "read"

/* noun, its schema; what `list` and `show` know */
#define WEFT_NOUNS(X)                                                                                        \
    X(TENANT, "tenant", "weft.tenant.v1")                                                                    \
    X(SEGMENT, "segment", "weft.segment.v1")                                                                 \
    X(PORT, "port", "weft.port.v1")                                                                          \
    X(UPLINK, "uplink", "weft.uplink.v1")                                                                    \
    X(FDB, "fdb", "weft.fdb.v1")                                                                             \
    X(DROPS, "drops", "weft.drops.v1")                                                                       \
    X(VM, "vm", "weft.vm.v1")                                                                                \
    X(NAT, "nat", "weft.nat.v1")                                                                             \
    X(SESSIONS, "sessions", "weft.sessions.v1")                                                              \
    X(FORWARD, "forward", "weft.forward.v1")                                                                 \
    X(LEASE, "lease", "weft.lease.v1")                                                                       \
    X(NEIGHBOUR, "neighbour", "weft.neighbour.v1")                                                           \
    X(ROUTE, "route", "weft.route.v1")

#define WEFT_SESSIONS_SHOWN 1000 /* of a list, unless `limit` says otherwise */

#define WEFT_SCHEMA_STATUS  "weft.status.v1"
#define WEFT_SCHEMA_HISTORY "weft.history.v1"
#define WEFT_SCHEMA_EXPORT  "weft.export.v1"
#define WEFT_SCHEMA_DIFF    "weft.diff.v1"
#define WEFT_SCHEMA_SNIPPET "weft.snippet.v1"
#define WEFT_SCHEMA_DOCTOR  "weft.doctor.v1"
#define WEFT_SCHEMA_BENCH   "weft.bench.v1" /* made by the command line */
#define WEFT_SCHEMA_EVENT   "weft.event.v1"

/* `for` of port.snippet */
#define WEFT_SNIPPETS(X)                                                                                     \
    X("qemu")                                                                                                \
    X("libvirt")                                                                                             \
    X("cloud-hypervisor")                                                                                    \
    X("weft-vmm")                                                                                            \
    X("proxmox")

/* `type` of an event */
#define WEFT_EVENTS(X)                                                                                       \
    X("port-up")                                                                                             \
    X("port-down")                                                                                           \
    X("port-error")      /* rings of the port broke or its frontend violated the protocol; text says how */  \
    X("session-limit")   /* new sessions of a guest or tenant were refused at a limit */                     \
    X("nat-ports")       /* new sessions were refused since no port of the outside address was free */       \
    X("routes-left-out") /* the host has more routes by an uplink than guests can use, or no more */         \
    X("uplink-changed")  /* MTU of an uplink's interface, or the interface itself */                         \
    X("mac-limit") /* frames were dropped since the port or its segment reached its limit of addresses */    \
    X("dataplane-started")                                                                                   \
    X("dataplane-adopted")                                                                                   \
    X("dataplane-lost")                                                                                      \
    X("dataplane-restarted")                                                                                 \
    X("vm-started")                                                                                          \
    X("vm-adopted")      /* runs since before weftd was started */                                           \
    X("vm-off")          /* the guest powered off, or it was stopped */                                      \
    X("vm-failed")       /* it ended otherwise, or could not be started; text says when it is tried again */ \
    X("vm-unresponsive") /* weft-vmm does not answer; nothing is done about it */                            \
    X("vm-responsive")   /* it answers again */                                                              \
    X("vm-pending")      /* the configuration changed; the change is for the next start */                   \
    X("config-applied")                                                                                      \
    X("config-failed")                                                                                       \
    X("config-confirmed")                                                                                    \
    X("config-rolled-back")
