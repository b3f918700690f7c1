/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * A virtual CPU: its thread runs the guest, and carries its exits to the machine. The state that KVM keeps is
 * read and written as one plain struct, which is how a reset works (the state of the start is put back).
 *
 * Threads: vcpu_run is the thread's own; the rest only before the threads start, or while all vCPUs are
 * parked.
 */
#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define VCPU_MSRS_MAX 24u

struct machine;

struct vcpu_state {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_fpu fpu;
    struct kvm_lapic_state lapic;
    struct kvm_mp_state mp_state;
    struct kvm_vcpu_events events;
    unsigned msr_count;
    struct kvm_msr_entry msrs[VCPU_MSRS_MAX];
};

struct vcpu {
    struct machine *machine;
    unsigned index;
    int fd;
    int pin; /* host CPU, -1: any */
    struct kvm_run *run;
    uint32_t run_size; /* bytes */
    pthread_t thread;
    bool has_thread;
    bool parked;             /* machine lock */
    struct vcpu_state start; /* as KVM made it */
};

/* Where the boot processor begins. */
struct vcpu_boot {
    bool long_mode; /* 64-bit with the boot page tables, else 32-bit without paging */
    uint64_t rip, rbx, rsi;
};

/* 0 or -errno; *what: which step failed. */
int vcpu_init(struct vcpu *vcpu, struct machine *machine, unsigned index, const struct kvm_cpuid2 *cpuid,
              const char **what);
void vcpu_free(struct vcpu *vcpu);
int vcpu_save(const struct vcpu *vcpu, struct vcpu_state *state);
int vcpu_restore(const struct vcpu *vcpu, const struct vcpu_state *state);
/* Back to the start; the boot processor with `boot`. */
int vcpu_reset(struct vcpu *vcpu, const struct vcpu_boot *boot);
/* Starts the thread. 0 or -errno. */
int vcpu_start(struct vcpu *vcpu);
/* Makes KVM_RUN return soon. Any thread. */
void vcpu_kick(struct vcpu *vcpu);
/* Once a process: the signal that kicks. */
void vcpu_process_init(void);
