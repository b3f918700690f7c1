/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * weftd's state: what is in force, and the parts that keep it so. Theory of operation in apply.c.
 *
 * Threads: one, the event loop.
 */
#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "events.h"
#include "guests.h"
#include "model.h"
#include "outside.h"
#include "store.h"
#include "supervisor.h"
#include "tap.h"
#include "uplink.h"
#include "weft_api.h"

#define CONTROLLER_TEXT_SIZE 600u

struct controller_options {
    const char *config;
    bool config_given; /* by the user: it must exist */
    char run_dir[100];
    char state_dir[200];
    bool keep_dataplane;
    const char *dataplane_unit; /* of systemd's; NULL: a child */
};

struct controller {
    struct controller_options options;
    struct event_base *base;
    struct store *store;
    struct taps *taps;
    struct netlink *netlink;          /* NULL: none to be had */
    struct outside_follower *outside; /* NULL: no netlink */
    struct guests *guests;            /* NULL: in tests that have no loop */
    uint64_t programmed_hash;         /* of what the dataplane was last programmed with; 0: not known */
    struct uplinks *uplinks;
    struct supervisor *supervisor;
    struct events *events;
    struct api_server *api;
    struct monitor *monitor;
    struct bench *bench;
    struct vms *vms;       /* NULL: not opened yet */
    uint64_t started_ns;   /* CLOCK_REALTIME */
    uint32_t socket_group; /* of vhost-user sockets; UINT32_MAX: unchanged */

    uint64_t generation;                     /* in force; 0: none was ever applied */
    struct model *model;                     /* of that generation */
    json_t *ids;                             /* ids.h */
    bool file_pending;                       /* the file is to be applied as soon as the dataplane is there */
    bool ending;                             /* the machines are being powered off */
    bool converged;                          /* the dataplane holds what is in force */
    char trouble[CONTROLLER_TEXT_SIZE];      /* why it does not; "" */
    char file_trouble[CONTROLLER_TEXT_SIZE]; /* why the file was not applied; "" */

    uint64_t confirm_generation; /* goes back to confirm_previous unless confirmed; 0: none */
    uint64_t confirm_previous;
    uint64_t confirm_deadline_ns; /* CLOCK_REALTIME */
    struct event *confirm_timer;
};

/* The answer to a changing request. */
struct outcome {
    enum weft_code code;
    char message[CONTROLLER_TEXT_SIZE]; /* unless WEFT_OK */
    json_t *details;                    /* diagnostics, or NULL */
    json_t *changes;                    /* plan.h, or NULL */
    json_t *notes;                      /* array of texts beside them, or NULL */
    bool changed;
};

void outcome_clear(struct outcome *outcome);
enum weft_code outcome_fail(struct outcome *outcome, enum weft_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Takes over what diagnostics say; clears them. */
enum weft_code outcome_invalid(struct outcome *outcome, struct diagnostics *diagnostics,
                               const char *filename);

struct change {
    uid_t by;
    bool dry_run;
    int64_t confirm_within; /* seconds; 0: for good */
    int64_t expected;       /* generation that must be in force; -1: any */
    const char *summary;    /* for the history; NULL: made from the changes */
    bool ends_confirmation; /* a rollback: allowed while a generation waits to be confirmed */
};

/* apply.c. Makes `candidate` (which it takes) the configuration in force, or changes nothing. */
enum weft_code apply(struct controller *controller, struct model *candidate, const struct change *change,
                     struct outcome *outcome);
/* The candidate that a document says; NULL: diagnostics has what is wrong. */
struct model *apply_candidate(struct controller *controller, const struct document *document,
                              struct diagnostics *diagnostics);
/* Text of a file, YAML or JSON. */
enum weft_code apply_text(struct controller *controller, const char *text, size_t size, const char *filename,
                          const struct change *change, struct outcome *outcome);
/* An edited typed tree. */
enum weft_code apply_tree(struct controller *controller, json_t *tree, const struct change *change,
                          struct outcome *outcome);
/* `generation` 0: the one before. */
enum weft_code apply_rollback(struct controller *controller, uint64_t generation, const struct change *change,
                              struct outcome *outcome);
enum weft_code apply_confirm(struct controller *controller, struct outcome *outcome);
void apply_confirm_expired(struct controller *controller); /* the timer's */
void apply_confirm_load(struct controller *controller);    /* after a start */
/* Makes the dataplane hold what is in force. */
int apply_reconcile(struct controller *controller);
/* The same, if that became something else since the last time: the kernel's interfaces changed. */
void apply_follow(struct controller *controller);

/* startup.c: what was in force before, and what the file says now. Not WEFT_OK: weftd cannot start; said why.
 */
enum weft_code startup_load(struct controller *controller);
/* Once the dataplane is there: the file, if it differs from what was last applied from it. */
void startup_apply_file(struct controller *controller);
/* A client applied this text: if it is the file's, the next start need not apply it again. */
void startup_applied_text(struct controller *controller, const char *text, size_t size);
