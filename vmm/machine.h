/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The machine: everything of one VM, and what happens to it (run, pause, reset, off).
 *
 * Threads: the main thread runs the loop, each vCPU has a thread, each disk and each vhost-user connection
 * its own. One lock, machine->lock, covers the machine and its devices' registers; exits of the vCPUs and
 * handlers of the loop hold it. Packets and disk blocks do not pass through here, so nobody waits for it in
 * earnest.
 */
#include <pthread.h>
#include "balloon.h"
#include "blk.h"
#include "boot.h"
#include "console.h"
#include "irq.h"
#include "loop.h"
#include "net.h"
#include "options.h"
#include "pci.h"
#include "pm.h"
#include "ram.h"
#include "rng.h"
#include "serial.h"
#include "vcpu.h"
#include "vhost_blk.h"

/* What a vCPU, the user or a failure asks for. */
enum machine_event { MACHINE_NONE, MACHINE_OFF, MACHINE_RESET, MACHINE_CRASHED, MACHINE_KILLED };

/* Exit codes of weft-vmm; see its man page. */
enum machine_exit {
    EXIT_OFF = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_RESET = 16,
    EXIT_KILLED = 17,
    EXIT_CRASHED = 18
};

struct machine_irqchip {
    struct kvm_irqchip chips[3];
    struct kvm_pit_state2 pit;
};

struct machine {
    const struct options *options;
    pthread_mutex_t lock;
    pthread_cond_t parked; /* a vCPU parked */
    pthread_cond_t resume; /* the vCPUs may run, or must end */
    int kvm_fd, vm_fd;
    int kernel_fd, initrd_fd; /* kept for resets */
    struct ram ram;
    struct irq irq;
    struct loop *loop;
    struct pci_bus pci;
    struct serial serial;
    struct pm pm;
    struct console *console;
    struct console *console_log; /* a copy of the output; NULL: none */
    struct rng *rng;
    struct balloon *balloon;
    struct net *nets[OPTIONS_NETS_MAX];
    struct blk *disks[OPTIONS_DISKS_MAX + 1]; /* and the cloud-init seed */
    struct vhost_blk *vhost_disks[OPTIONS_DISKS_MAX];
    struct machine_irqchip start; /* interrupt controllers as KVM made them */
    struct boot_result boot;
    unsigned vcpu_count;
    struct vcpu vcpus[OPTIONS_CPUS_MAX];
    /* System call filters: the first thing that a vCPU's thread does, the last of the main thread's start. */
    void (*enter_vcpu)(void), (*enter_main)(void);

    bool paused;  /* by the user */
    bool holding; /* vCPUs park: paused, or an event is waiting */
    bool ending;  /* vCPUs end */
    enum machine_event event;
    int event_fd; /* wakes the loop for `event` */
    int stop_timer;
    uint64_t resets;
    int64_t start_us; /* CLOCK_MONOTONIC of the first entry into the guest, microseconds */
    int64_t process_start_us;
    enum machine_exit exit_code;
};

/* Opens and makes everything, in an order that touches nothing before it is known to work. 0, or -errno after
 * having told why on standard error. */
int machine_init(struct machine *machine, const struct options *options);
/* After the sandbox: starts all threads, runs the loop until the machine ends. Returns the exit code. */
enum machine_exit machine_run(struct machine *machine);
void machine_free(struct machine *machine);

/* With the lock held, from any thread. */
void machine_request(struct machine *machine, enum machine_event event);
void machine_pause(struct machine *machine);
void machine_resume(struct machine *machine);
/* The power button, and the end after options->stop_timeout; the second time at once. */
void machine_stop(struct machine *machine);

/* A vCPU's thread, before each entry: waits while the machine holds. False: end. */
bool machine_may_run(struct machine *machine, struct vcpu *vcpu);

/* The buses, with the lock held. */
uint32_t machine_port_read(struct machine *machine, uint16_t port, unsigned size);
void machine_port_write(struct machine *machine, uint16_t port, uint32_t value, unsigned size);
uint64_t machine_mmio_read(struct machine *machine, uint64_t address, unsigned size);
void machine_mmio_write(struct machine *machine, uint64_t address, uint64_t value, unsigned size);

/* machine_devices.c: the virtio devices. */
int machine_add_devices(struct machine *machine);
int machine_run_devices(struct machine *machine);
void machine_reset_devices(struct machine *machine);
void machine_free_devices(struct machine *machine);
