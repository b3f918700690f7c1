/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "layout.h"
#include "log.h"
#include "machine.h"
#include "vcpu.h"

#define KICK_SIGNAL SIGUSR1
#define STACK_SIZE  (128u << 10)
#define CR0_PE      0x1u
#define CR0_ET      0x10u
#define CR0_PG      0x80000000u
#define CR4_PAE     0x20u
#define EFER_LONG   0x500u /* LME, LMA */

/* MSRs that a guest changes and a reset must put back; those that this KVM lacks are left out. */
static const uint32_t msr_indices[] = {
    0x10,                                           /* TSC */
    0x3a,                                           /* FEATURE_CONTROL */
    0x174,      0x175,      0x176,                  /* SYSENTER */
    0x1a0,                                          /* MISC_ENABLE */
    0x277,                                          /* PAT */
    0x2ff,                                          /* MTRR default type */
    0x6e0,                                          /* TSC deadline */
    0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, /* STAR, LSTAR, CSTAR, SFMASK */
    0xc0000102,                                     /* KERNEL_GS_BASE */
    0xc0000103,                                     /* TSC_AUX */
    0x4b564d00, 0x4b564d01,                         /* kvmclock: wall clock, system time */
    0x4b564d02,                                     /* asynchronous page faults */
    0x4b564d03,                                     /* steal time */
    0x4b564d04,                                     /* paravirtual EOI */
};
_Static_assert(sizeof(msr_indices) / sizeof(msr_indices[0]) <= VCPU_MSRS_MAX, "fits");

static __thread struct kvm_run *current_run;

static void kick_handler(int signal)
{
    (void)signal;
    if (current_run)
        current_run->immediate_exit = 1;
}

void vcpu_process_init(void)
{
    struct sigaction action = {.sa_handler = kick_handler};
    sigaction(KICK_SIGNAL, &action, NULL);
}

void vcpu_kick(struct vcpu *vcpu)
{
    if (vcpu->has_thread)
        pthread_kill(vcpu->thread, KICK_SIGNAL);
}

/* Room for KVM's header and its entries behind it. */
union msr_buffer {
    struct kvm_msrs header;
    uint8_t bytes[sizeof(struct kvm_msrs) + VCPU_MSRS_MAX * sizeof(struct kvm_msr_entry)];
};

static int get_msrs(const struct vcpu *vcpu, struct vcpu_state *state)
{
    union msr_buffer one;
    state->msr_count = 0;
    for (unsigned i = 0; i < sizeof(msr_indices) / sizeof(msr_indices[0]); i++) {
        memset(&one, 0, sizeof(one));
        one.header.nmsrs = 1;
        one.header.entries[0].index = msr_indices[i];
        if (ioctl(vcpu->fd, KVM_GET_MSRS, &one) == 1)
            state->msrs[state->msr_count++] = one.header.entries[0];
    }
    return 0;
}

static int set_msrs(const struct vcpu *vcpu, const struct vcpu_state *state)
{
    union msr_buffer all = {.header.nmsrs = state->msr_count};
    memcpy(all.header.entries, state->msrs, state->msr_count * sizeof(state->msrs[0]));
    return ioctl(vcpu->fd, KVM_SET_MSRS, &all) < 0 ? -errno : 0;
}

int vcpu_save(const struct vcpu *vcpu, struct vcpu_state *state)
{
    if (ioctl(vcpu->fd, KVM_GET_REGS, &state->regs) || ioctl(vcpu->fd, KVM_GET_SREGS, &state->sregs) ||
        ioctl(vcpu->fd, KVM_GET_FPU, &state->fpu) || ioctl(vcpu->fd, KVM_GET_LAPIC, &state->lapic) ||
        ioctl(vcpu->fd, KVM_GET_MP_STATE, &state->mp_state) ||
        ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &state->events))
        return -errno;
    return get_msrs(vcpu, state);
}

int vcpu_restore(const struct vcpu *vcpu, const struct vcpu_state *state)
{
    if (ioctl(vcpu->fd, KVM_SET_SREGS, &state->sregs) || ioctl(vcpu->fd, KVM_SET_REGS, &state->regs) ||
        ioctl(vcpu->fd, KVM_SET_FPU, &state->fpu))
        return -errno;
    int error = set_msrs(vcpu, state);
    if (error)
        return error;
    if (ioctl(vcpu->fd, KVM_SET_LAPIC, &state->lapic) ||
        ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &state->events) ||
        ioctl(vcpu->fd, KVM_SET_MP_STATE, &state->mp_state))
        return -errno;
    return 0;
}

static void set_boot(struct vcpu_state *state, const struct vcpu_boot *boot)
{
    struct kvm_segment code = {.limit = UINT32_MAX,
                               .selector = 0x10,
                               .type = 11,
                               .present = 1,
                               .s = 1,
                               .g = 1,
                               .db = !boot->long_mode,
                               .l = boot->long_mode};
    struct kvm_segment data = {
        .limit = UINT32_MAX, .selector = 0x18, .type = 3, .present = 1, .s = 1, .g = 1, .db = 1};
    struct kvm_sregs *sregs = &state->sregs;
    sregs->cs = code;
    sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
    sregs->tr = (struct kvm_segment){.limit = 0x67, .type = 11, .present = 1};
    sregs->gdt = (struct kvm_dtable){.base = LAYOUT_GDT, .limit = 31};
    sregs->idt = (struct kvm_dtable){0};
    sregs->cr0 = CR0_PE | CR0_ET;
    if (boot->long_mode) {
        sregs->cr0 |= CR0_PG;
        sregs->cr3 = LAYOUT_PAGE_TABLES;
        sregs->cr4 = CR4_PAE;
        sregs->efer = EFER_LONG;
    }
    state->regs = (struct kvm_regs){.rip = boot->rip, .rbx = boot->rbx, .rsi = boot->rsi, .rflags = 2};
}

int vcpu_reset(struct vcpu *vcpu, const struct vcpu_boot *boot)
{
    struct vcpu_state state = vcpu->start;
    if (vcpu->index == 0)
        set_boot(&state, boot);
    return vcpu_restore(vcpu, &state);
}

/* CPUID is the same for all but for the APIC id and the topology around it. */
static int set_cpuid(const struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid)
{
    size_t size = sizeof(*cpuid) + cpuid->nent * sizeof(cpuid->entries[0]);
    struct kvm_cpuid2 *own = malloc(size);
    if (!own)
        return -ENOMEM;
    memcpy(own, cpuid, size);
    for (unsigned i = 0; i < own->nent; i++) {
        struct kvm_cpuid_entry2 *entry = &own->entries[i];
        if (entry->function == 1)
            entry->ebx = (entry->ebx & 0x00ffffff) | vcpu->index << 24;
        if (entry->function == 0xb || entry->function == 0x1f)
            entry->edx = vcpu->index;
        if (entry->function == 0x8000001e)
            entry->eax = vcpu->index;
    }
    int error = ioctl(vcpu->fd, KVM_SET_CPUID2, own) ? -errno : 0;
    free(own);
    return error;
}

int vcpu_init(struct vcpu *vcpu, struct machine *machine, unsigned index, const struct kvm_cpuid2 *cpuid,
              const char **what)
{
    vcpu->machine = machine;
    vcpu->index = index;
    *what = "KVM_CREATE_VCPU";
    vcpu->fd = ioctl(machine->vm_fd, KVM_CREATE_VCPU, index);
    if (vcpu->fd < 0)
        return -errno;
    *what = "map the vCPU";
    vcpu->run_size = (uint32_t)ioctl(machine->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    vcpu->run = mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (vcpu->run == MAP_FAILED) {
        vcpu->run = NULL;
        return -errno;
    }
    *what = "KVM_SET_CPUID2";
    int error = set_cpuid(vcpu, cpuid);
    if (error)
        return error;
    *what = "read the vCPU's state";
    return vcpu_save(vcpu, &vcpu->start);
}

void vcpu_free(struct vcpu *vcpu)
{
    if (vcpu->run)
        munmap(vcpu->run, vcpu->run_size);
    if (vcpu->fd >= 0)
        close(vcpu->fd);
    vcpu->run = NULL;
    vcpu->fd = -1;
}

static void handle_io(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
        uint32_t value = 0;
        if (run->io.direction == KVM_EXIT_IO_OUT) {
            memcpy(&value, data, run->io.size);
            machine_port_write(vcpu->machine, run->io.port, value, run->io.size);
        } else {
            value = machine_port_read(vcpu->machine, run->io.port, run->io.size);
            memcpy(data, &value, run->io.size);
        }
    }
}

static void handle_mmio(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    unsigned size = run->mmio.len <= 8 ? run->mmio.len : 8;
    uint64_t value = 0;
    if (run->mmio.is_write) {
        memcpy(&value, run->mmio.data, size);
        machine_mmio_write(vcpu->machine, run->mmio.phys_addr, value, size);
    } else {
        value = machine_mmio_read(vcpu->machine, run->mmio.phys_addr, size);
        memcpy(run->mmio.data, &value, size);
    }
}

static void report_failure(struct vcpu *vcpu, const char *what)
{
    struct kvm_regs regs;
    memset(&regs, 0, sizeof(regs));
    ioctl(vcpu->fd, KVM_GET_REGS, &regs);
    log_error("vCPU %u: %s at RIP %#llx, RSP %#llx, RFLAGS %#llx", vcpu->index, what, regs.rip, regs.rsp,
              regs.rflags);
    const struct kvm_run *run = vcpu->run;
    if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR && run->emulation_failure.ndata >= 3) {
        const uint8_t *code = run->emulation_failure.insn_bytes;
        log_error("vCPU %u: suberror %u, instruction %02x %02x %02x %02x %02x %02x %02x %02x", vcpu->index,
                  run->internal.suberror, code[0], code[1], code[2], code[3], code[4], code[5], code[6],
                  code[7]);
    }
}

static void handle_exit(struct vcpu *vcpu)
{
    switch (vcpu->run->exit_reason) {
    case KVM_EXIT_IO:
        handle_io(vcpu);
        break;
    case KVM_EXIT_MMIO:
        handle_mmio(vcpu);
        break;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        break;
    case KVM_EXIT_SHUTDOWN:
        report_failure(vcpu, "triple fault");
        machine_request(vcpu->machine, MACHINE_CRASHED);
        break;
    case KVM_EXIT_SYSTEM_EVENT:
        machine_request(vcpu->machine, vcpu->run->system_event.type == KVM_SYSTEM_EVENT_RESET ? MACHINE_RESET
                                       : vcpu->run->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN
                                           ? MACHINE_OFF
                                           : MACHINE_CRASHED);
        break;
    default:
        report_failure(vcpu, vcpu->run->exit_reason == KVM_EXIT_INTERNAL_ERROR
                                 ? "KVM could not emulate an instruction"
                                 : "KVM gave up");
        machine_request(vcpu->machine, MACHINE_CRASHED);
    }
}

static void *thread_main(void *context)
{
    struct vcpu *vcpu = context;
    struct machine *machine = vcpu->machine;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    if (vcpu->pin >= 0) {
        CPU_SET((unsigned)vcpu->pin, &cpus);
        if (sched_setaffinity(0, sizeof(cpus), &cpus))
            log_error("vCPU %u cannot be pinned to CPU %d: %s", vcpu->index, vcpu->pin, strerror(errno));
    }
    current_run = vcpu->run;
    machine->enter_vcpu();
    while (machine_may_run(machine, vcpu)) {
        int error = ioctl(vcpu->fd, KVM_RUN, 0) ? errno : 0;
        vcpu->run->immediate_exit = 0;
        if (error == 0) {
            pthread_mutex_lock(&machine->lock);
            handle_exit(vcpu);
            pthread_mutex_unlock(&machine->lock);
        } else if (error != EINTR && error != EAGAIN) {
            log_error("vCPU %u: KVM_RUN: %s", vcpu->index, strerror(error));
            pthread_mutex_lock(&machine->lock);
            machine_request(machine, MACHINE_CRASHED);
            pthread_mutex_unlock(&machine->lock);
        }
    }
    return NULL;
}

int vcpu_start(struct vcpu *vcpu)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    int error = -pthread_create(&vcpu->thread, &attributes, thread_main, vcpu);
    pthread_attr_destroy(&attributes);
    vcpu->has_thread = !error;
    return error;
}
