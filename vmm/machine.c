/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation: machine_init makes the machine while the process may still open files. machine_run
 * starts the threads and runs the loop. What ends or resets the machine is an event: whoever meets it records
 * it, which makes all vCPUs park before their next entry, and wakes the loop. The loop acts when the last one
 * has parked, so that no vCPU ever sees half a reset.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "acpi.h"
#include "cpuid.h"
#include "layout.h"
#include "log.h"
#include "machine.h"

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Making one */

static int open_kvm(struct machine *machine)
{
    machine->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (machine->kvm_fd < 0) {
        int error = -errno;
        log_error("/dev/kvm: %s; %s", strerror(-error),
                  error == -ENOENT
                      ? "load the module kvm_intel or kvm_amd, or enable virtualisation in the firmware"
                  : error == -EACCES ? "the user must be in the group kvm"
                                     : "is this the KVM device?");
        return error;
    }
    if (ioctl(machine->kvm_fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
        log_error("/dev/kvm: not the KVM API version %d", KVM_API_VERSION);
        return -ENOTSUP;
    }
    static const struct {
        int number;
        const char *name;
    } needed[] = {{KVM_CAP_IRQCHIP, "IRQCHIP"},
                  {KVM_CAP_USER_MEMORY, "USER_MEMORY"},
                  {KVM_CAP_IRQFD, "IRQFD"},
                  {KVM_CAP_IOEVENTFD, "IOEVENTFD"},
                  {KVM_CAP_IRQ_ROUTING, "IRQ_ROUTING"},
                  {KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT"},
                  {KVM_CAP_EXT_CPUID, "EXT_CPUID"},
                  {KVM_CAP_MP_STATE, "MP_STATE"},
                  {KVM_CAP_VCPU_EVENTS, "VCPU_EVENTS"},
                  {KVM_CAP_IOEVENTFD_ANY_LENGTH, "IOEVENTFD_ANY_LENGTH"}};
    for (unsigned i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
        if (ioctl(machine->kvm_fd, KVM_CHECK_EXTENSION, needed[i].number) <= 0) {
            log_error("/dev/kvm: this kernel's KVM lacks KVM_CAP_%s, which weft-vmm needs", needed[i].name);
            return -ENOTSUP;
        }
    return 0;
}

static int make_vm(struct machine *machine)
{
    const char *what = "KVM_CREATE_VM";
    do
        machine->vm_fd = ioctl(machine->kvm_fd, KVM_CREATE_VM, 0);
    while (machine->vm_fd < 0 && errno == EINTR);
    if (machine->vm_fd < 0)
        goto fail;
    return 0;
fail:
    log_error("KVM: %s: %s", what, strerror(errno));
    return -errno;
}

static int make_irqchip(struct machine *machine)
{
    const char *what;
    uint64_t identity = LAYOUT_KVM_IDENTITY;
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
    what = "KVM_SET_TSS_ADDR";
    if (ioctl(machine->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) ||
        ioctl(machine->vm_fd, KVM_SET_TSS_ADDR, LAYOUT_KVM_TSS))
        goto fail;
    what = "KVM_CREATE_IRQCHIP";
    if (ioctl(machine->vm_fd, KVM_CREATE_IRQCHIP, 0))
        goto fail;
    what = "KVM_CREATE_PIT2";
    if (ioctl(machine->vm_fd, KVM_CREATE_PIT2, &pit))
        goto fail;
    what = "KVM_GET_IRQCHIP";
    for (unsigned i = 0; i < 3; i++) {
        machine->start.chips[i].chip_id = i;
        if (ioctl(machine->vm_fd, KVM_GET_IRQCHIP, &machine->start.chips[i]))
            goto fail;
    }
    if (ioctl(machine->vm_fd, KVM_GET_PIT2, &machine->start.pit))
        goto fail;
    return 0;
fail:
    log_error("KVM: %s: %s", what, strerror(errno));
    return -errno;
}

static int make_ram(struct machine *machine)
{
    const struct options *options = machine->options;
    int error = ram_init(&machine->ram, options->memory, options->hugepages, options->preallocate);
    if (error) {
        log_error("--memory: %llu MiB cannot be had: %s%s", (unsigned long long)(options->memory >> 20),
                  strerror(-error),
                  options->hugepages == RAM_HUGEPAGES_ON
                      ? " (--hugepages on: see HugePages_Free in /proc/meminfo)"
                      : "");
        return error;
    }
    for (unsigned i = 0; i < machine->ram.range_count; i++) {
        const struct ram_range *range = &machine->ram.ranges[i];
        struct kvm_userspace_memory_region region = {
            .slot = i,
            .guest_phys_addr = range->guest_address,
            .memory_size = range->size,
            .userspace_addr = (uintptr_t)machine->ram.host + range->offset,
        };
        if (ioctl(machine->vm_fd, KVM_SET_USER_MEMORY_REGION, &region)) {
            log_error("KVM: KVM_SET_USER_MEMORY_REGION: %s", strerror(errno));
            return -errno;
        }
    }
    return 0;
}

static int make_vcpus(struct machine *machine)
{
    const struct options *options = machine->options;
    const char *why;
    int most = ioctl(machine->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
    if (most > 0 && options->cpus > (unsigned)most) {
        log_error("--cpus: this KVM takes at most %d", most);
        return -EINVAL;
    }
    struct kvm_cpuid2 *cpuid = cpuid_make(machine->kvm_fd, options->cpus, options->cpu_mask, &why);
    if (!cpuid) {
        log_error("--cpu: %s", why);
        return -errno;
    }
    int error = 0;
    while (!error && machine->vcpu_count < options->cpus) {
        unsigned index = machine->vcpu_count++;
        machine->vcpus[index].pin = options->pins[index];
        error = vcpu_init(&machine->vcpus[index], machine, index, cpuid, &why);
    }
    free(cpuid);
    if (error)
        log_error("KVM: vCPU %u: %s: %s", machine->vcpu_count - 1, why, strerror(-error));
    return error;
}

static int open_file(const char *option, const char *path, int *fd)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (*fd >= 0)
        return 0;
    int error = -errno;
    log_error("--%s: %s: %s", option, path, strerror(-error));
    return error;
}

/* Kernel, initrd, ACPI tables into RAM, vCPUs to their start: at the start, and after a reset. */
static int load(struct machine *machine)
{
    struct boot_config config = {.kernel_fd = machine->kernel_fd,
                                 .initrd_fd = machine->initrd_fd,
                                 .command_line = machine->options->command_line};
    const char *why = "the ACPI tables do not fit";
    int error = acpi_write(&machine->ram, machine->vcpu_count, &config.rsdp);
    if (!error)
        error = boot_load(&machine->ram, &config, &machine->boot, &why);
    if (error) {
        log_error("%s: %s", machine->options->kernel, why);
        return error;
    }
    for (unsigned i = 0; !error && i < machine->vcpu_count; i++)
        error = vcpu_reset(&machine->vcpus[i], &machine->boot.vcpu);
    if (error)
        log_error("KVM: the vCPUs cannot be set: %s", strerror(-error));
    return error;
}

static void escape_pressed(void *context)
{
    machine_request(context, MACHINE_KILLED);
}

static void serial_room(void *context)
{
    console_resume_input(((struct machine *)context)->console);
}

static void serial_transmit(void *context, uint8_t byte)
{
    struct machine *machine = context;
    console_put(machine->console, byte);
    if (machine->console_log)
        console_put(machine->console_log, byte);
}

static int make_console_log(struct machine *machine)
{
    char spec[4200];
    const char *what, *path = machine->options->console_log;
    if (!path)
        return 0;
    snprintf(spec, sizeof(spec), "file:%s", path);
    machine->console_log = console_new(machine->loop, spec, escape_pressed, machine, &what);
    if (machine->console_log)
        return 0;
    int error = errno ? -errno : -EINVAL;
    log_error("--console-log %s: cannot %s: %s", path, what, strerror(-error));
    return error;
}

static int make_console(struct machine *machine)
{
    const char *what;
    serial_init(&machine->serial, &machine->irq, serial_transmit, serial_room, machine);
    pm_init(&machine->pm, &machine->irq);
    machine->console = console_new(machine->loop, machine->options->console, escape_pressed, machine, &what);
    if (!machine->console) {
        log_error("--console %s: cannot %s: %s", machine->options->console, what, strerror(errno));
        return -errno;
    }
    console_attach(machine->console, &machine->serial);
    return make_console_log(machine);
}

static void event_ready(void *context, uint32_t events);
static void stop_timeout(void *context, uint32_t events);

static int make_loop(struct machine *machine)
{
    machine->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    machine->loop = machine->event_fd < 0 ? NULL : loop_new(&machine->lock);
    if (!machine->loop)
        return -errno;
    int error = loop_add(machine->loop, machine->event_fd, EPOLLIN, event_ready, machine);
    machine->stop_timer = loop_timer_new(machine->loop, stop_timeout, machine);
    return error ? error : machine->stop_timer < 0 ? machine->stop_timer : 0;
}

int machine_init(struct machine *machine, const struct options *options)
{
    memset(machine, 0, sizeof(*machine));
    machine->options = options;
    machine->kvm_fd = machine->vm_fd = machine->kernel_fd = machine->initrd_fd = machine->event_fd = -1;
    machine->ram.fd = -1;
    machine->process_start_us = now_us();
    for (unsigned i = 0; i < OPTIONS_CPUS_MAX; i++)
        machine->vcpus[i].fd = -1;
    pthread_mutex_init(&machine->lock, NULL);
    pthread_cond_init(&machine->parked, NULL);
    pthread_cond_init(&machine->resume, NULL);
    int error = make_loop(machine);
    if (!error)
        error = open_kvm(machine);
    if (!error)
        error = open_file("kernel", options->kernel, &machine->kernel_fd);
    if (!error && options->initrd)
        error = open_file("initrd", options->initrd, &machine->initrd_fd);
    if (!error)
        error = make_vm(machine);
    /* RAM before the interrupt controllers: each of these waits for a grace period of SRCU in KVM, the first
     * ones for an expedited one of microseconds, later ones for a tick (4 ms with RAM last). */
    if (!error)
        error = make_ram(machine);
    if (!error)
        error = make_irqchip(machine);
    if (!error)
        error = irq_init(&machine->irq, machine->vm_fd);
    if (error)
        return error;
    pci_bus_init(&machine->pci, &machine->irq);
    error = make_vcpus(machine);
    if (!error)
        error = load(machine);
    if (!error)
        error = machine_add_devices(machine);
    return error ? error : make_console(machine);
}

void machine_free(struct machine *machine)
{
    machine_free_devices(machine);
    if (machine->console)
        console_free(machine->console);
    if (machine->console_log)
        console_free(machine->console_log);
    for (unsigned i = 0; i < machine->vcpu_count; i++)
        vcpu_free(&machine->vcpus[i]);
    irq_free(&machine->irq);
    const int fds[] = {machine->vm_fd, machine->kvm_fd, machine->kernel_fd, machine->initrd_fd,
                       machine->event_fd};
    for (unsigned i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    ram_free(&machine->ram);
    loop_free(machine->loop);
}

/* Running it */

bool machine_may_run(struct machine *machine, struct vcpu *vcpu)
{
    pthread_mutex_lock(&machine->lock);
    while (machine->holding && !machine->ending) {
        vcpu->parked = true;
        pthread_cond_signal(&machine->parked);
        pthread_cond_wait(&machine->resume, &machine->lock);
    }
    vcpu->parked = false;
    if (!machine->start_us)
        machine->start_us = now_us();
    bool ending = machine->ending;
    pthread_mutex_unlock(&machine->lock);
    return !ending;
}

/* Waits until no vCPU is in the guest. In the loop. */
static void hold(struct machine *machine)
{
    machine->holding = true;
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        struct vcpu *vcpu = &machine->vcpus[i];
        if (vcpu->has_thread && !vcpu->parked)
            vcpu_kick(vcpu);
        while (vcpu->has_thread && !vcpu->parked)
            pthread_cond_wait(&machine->parked, &machine->lock);
    }
}

static void release(struct machine *machine)
{
    machine->holding = machine->paused || machine->event != MACHINE_NONE;
    if (!machine->holding)
        pthread_cond_broadcast(&machine->resume);
}

void machine_pause(struct machine *machine)
{
    machine->paused = true;
    hold(machine);
}

void machine_resume(struct machine *machine)
{
    machine->paused = false;
    release(machine);
}

void machine_request(struct machine *machine, enum machine_event event)
{
    if (event > machine->event) /* the graver one counts */
        machine->event = event;
    machine->holding = true;
    uint64_t one = 1;
    if (write(machine->event_fd, &one, sizeof(one)) < 0)
        return; /* it is signalled anyway */
}

void machine_stop(struct machine *machine)
{
    if (machine->exit_code == EXIT_KILLED) { /* asked before */
        machine_request(machine, MACHINE_KILLED);
        return;
    }
    machine->exit_code = EXIT_KILLED; /* unless the guest powers off in time */
    machine_resume(machine);
    pm_press_power_button(&machine->pm);
    if (machine->options->stop_timeout)
        loop_timer_set(machine->loop, machine->stop_timer, machine->options->stop_timeout * 1000);
    else
        machine_request(machine, MACHINE_KILLED);
}

static void stop_timeout(void *context, uint32_t events)
{
    (void)events;
    struct machine *machine = context;
    log_error("the guest did not power off within %u seconds of the power button",
              machine->options->stop_timeout);
    machine_request(machine, MACHINE_KILLED);
}

static int reset(struct machine *machine)
{
    machine->resets++;
    machine_reset_devices(machine);
    serial_reset(&machine->serial);
    pm_reset(&machine->pm);
    for (unsigned i = 0; i < 3; i++)
        if (ioctl(machine->vm_fd, KVM_SET_IRQCHIP, &machine->start.chips[i]))
            return -errno;
    if (ioctl(machine->vm_fd, KVM_SET_PIT2, &machine->start.pit))
        return -errno;
    return load(machine);
}

/* An event was recorded: all vCPUs park, then it happens. */
static void event_ready(void *context, uint32_t events)
{
    (void)events;
    struct machine *machine = context;
    uint64_t count;
    if (read(machine->event_fd, &count, sizeof(count)) < 0)
        return;
    hold(machine);
    enum machine_event event = machine->event;
    machine->event = MACHINE_NONE;
    switch (event) {
    case MACHINE_RESET:
        if (machine->options->reboot) {
            if (reset(machine) == 0) {
                log_info("reset");
                release(machine);
                return;
            }
            machine->exit_code = EXIT_FAILED;
        } else
            machine->exit_code = EXIT_RESET;
        break;
    case MACHINE_OFF:
        machine->exit_code = EXIT_OFF;
        break;
    case MACHINE_CRASHED:
        machine->exit_code = EXIT_CRASHED;
        break;
    case MACHINE_KILLED:
        machine->exit_code = EXIT_KILLED;
        break;
    default:
        release(machine);
        return;
    }
    loop_stop(machine->loop);
}

static void end_vcpus(struct machine *machine)
{
    pthread_mutex_lock(&machine->lock);
    machine->ending = true;
    pthread_cond_broadcast(&machine->resume);
    for (unsigned i = 0; i < machine->vcpu_count; i++)
        if (!machine->vcpus[i].parked)
            vcpu_kick(&machine->vcpus[i]);
    pthread_mutex_unlock(&machine->lock);
    for (unsigned i = 0; i < machine->vcpu_count; i++)
        if (machine->vcpus[i].has_thread) {
            pthread_join(machine->vcpus[i].thread, NULL);
            machine->vcpus[i].has_thread = false;
        }
}

enum machine_exit machine_run(struct machine *machine)
{
    pthread_mutex_lock(&machine->lock);
    int error = machine_run_devices(machine);
    for (unsigned i = 0; !error && i < machine->vcpu_count; i++)
        error = vcpu_start(&machine->vcpus[i]);
    machine->enter_main();
    pthread_mutex_unlock(&machine->lock);
    if (error) {
        log_error("threads cannot be started: %s", strerror(-error));
        machine->exit_code = EXIT_FAILED;
    } else
        loop_run(machine->loop);
    end_vcpus(machine);
    return machine->exit_code;
}
