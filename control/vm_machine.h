/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * One machine: what the files vm*.c share.
 *
 * Threads: weftd has one.
 */
#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "model.h"

#define VM_CONTROL "control"    /* in a machine's directory: weft-vmm's control socket */
#define VM_LOG     "log"        /* what weft-vmm said */
#define VM_EXIT    "exit"       /* its exit code */
#define VM_STATE   "state.json" /* weftd's memory of it */

struct controller;

/* vm_process.c: the process. */
struct vm_process {
    pid_t pid;      /* 0: none */
    int pidfd;      /* -1: none */
    bool child;     /* of this weftd */
    uint64_t start; /* when it began: clock ticks since boot, as in /proc/PID/stat */
};

struct vm_end {
    bool orderly;   /* the guest powered off, or somebody had it ended */
    char text[160]; /* for a person */
};

/* Runs weft-vmm with these arguments (an array of texts), its output in `log`. `record` is called between the
 * two: the program begins only if it returns true, and not at all if weftd dies before. 0 or -errno. */
int vm_process_spawn(struct vm_process *process, json_t *arguments, const char *log,
                     bool (*record)(void *context), void *context);
/* The process that was recorded, if it still runs. */
bool vm_process_adopt(struct vm_process *process, pid_t pid, uint64_t start);
void vm_process_signal(const struct vm_process *process, int signal);
/* It ended: how. `exit_file`: its own word, `log`: what it said last. */
void vm_process_end(const struct vm_process *process, const char *exit_file, const char *log,
                    struct vm_end *end);
void vm_process_forget(struct vm_process *process);

struct vm {
    struct vm *next;
    struct vms *vms;
    char name[MODEL_FULL_NAME_SIZE]; /* acme/vm1 */
    char directory[MODEL_SOCKET_SIZE];
    bool declared;
    bool off;              /* not to be started until somebody asks */
    bool again;            /* to be stopped and started */
    bool stop_sent;        /* the power button was pressed */
    bool announced;        /* that it runs */
    bool silent;           /* weft-vmm does not answer */
    json_t *want;          /* arguments that the configuration means; NULL: not declared */
    json_t *have;          /* arguments of the process; NULL: none yet */
    uint32_t stop_timeout; /* seconds */
    struct vm_process process;
    struct event *process_event;
    struct event *timer; /* alive: its end is overdue; not alive: the next attempt */
    struct vm_link *link;
    json_t *status; /* weft-vmm's; NULL: it has not answered yet */
    int64_t started_ms;
    unsigned restarts, young;
    char reason[160]; /* why it does not run, or did not last time; "" */
};

struct vms {
    struct controller *controller;
    struct vm *first;
    char directory[MODEL_SOCKET_SIZE];
    bool ending;
};

static inline bool vm_alive(const struct vm *vm)
{
    return vm->process.pid != 0;
}

/* vm.c: one machine. */
#define VM_KILL_MS 2000 /* for a weft-vmm that was told to end at once */
struct vm *vm_new(struct vms *vms, const char *tenant, const char *port);
void vm_free(struct vm *vm);
void vm_step(struct vm *vm);  /* does what is next; may free it */
void vm_stop(struct vm *vm);  /* power button */
void vm_watch(struct vm *vm); /* the process that was adopted or started */
void vm_timer(struct vm *vm, int64_t ms);
bool vm_wanted(const struct vm *vm); /* to run */
bool vm_save(void *context);
void vm_learn_end(struct vm *vm, struct vm_end *end);
void vm_event(const struct vm *vm, const char *type, const char *text);
bool vms_any_alive(const struct vms *vms); /* vms.c */
const char *vm_state(
    const struct vm *vm);             /* off, starting, running, unresponsive, paused, stopping, failed */
bool vm_pending(const struct vm *vm); /* it runs otherwise than the configuration says */

/* vm_arguments.c: what the configuration means to weft-vmm; an array of texts. */
json_t *vm_arguments(const struct model_port *port);
/* The whole command line: with what is this host's and this start's matter. */
json_t *vm_command(json_t *arguments, const struct model_vm *vm, const char *directory);

/* vm_store.c: a machine's directory. */
struct vm_record {
    pid_t pid; /* 0: none */
    uint64_t start;
    bool off;          /* not to be started until somebody asks */
    json_t *arguments; /* of the process; the reader's; NULL: none */
    unsigned restarts;
};
int vm_store_make(const char *directory); /* 0 or -errno */
int vm_store_save(const char *directory, const struct vm_record *record);
bool vm_store_load(const char *directory, struct vm_record *record);
/* Before a start: no socket, no exit code, the console's log is console.log.1 now. */
void vm_store_prepare(const char *directory);
void vm_store_sockets(const char *directory); /* removes them */
void vm_store_remove(const char *directory);

/* vm_link.c: the connection to a machine's control socket. Keeps asking for its status; `silent` is called
 * once when it has not answered for VM_SILENT_MS, until it answers again. */
#define VM_SILENT_MS 15000
struct vm_link;
struct vm_link *vm_link_new(struct event_base *base, const char *directory,
                            void (*status)(void *context, json_t *status), void (*silent)(void *context),
                            void *context);
void vm_link_free(struct vm_link *link);
bool vm_link_send(struct vm_link *link, const char *method); /* false: not connected */
