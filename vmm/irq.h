/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Interrupts into the guest and doorbells out of it, both as eventfds that the kernel serves alone: irqfd
 * turns a signalled eventfd into an MSI, ioeventfd turns a guest's store into a signalled eventfd.
 *
 * Without a machine (vm_fd -1: unit tests, fuzzers) everything succeeds and nothing happens.
 *
 * Threads: with the machine lock held.
 */
#include <stdbool.h>
#include <stdint.h>

#define IRQ_MSI_MAX 1024u /* MSI routes of a machine */

struct kvm_irq_routing;

struct irq {
    int vm_fd;
    unsigned msi_count;             /* MSIs handed out; their GSIs start at LAYOUT_GSI_MSI */
    struct kvm_irq_routing *routes; /* what the kernel was told: pins, then MSIs */
    unsigned lines_high;            /* bit n: pin n is asserted */
};

int irq_init(struct irq *irq, int vm_fd); /* 0 or -errno */
void irq_free(struct irq *irq);

/* Pin of the I/O APIC, level triggered. */
void irq_line(struct irq *irq, unsigned gsi, bool high);

/* Reserves `count` MSIs; returns the first GSI or -ENOSPC. */
int irq_msi_reserve(struct irq *irq, unsigned count);
/* Where the MSI goes (address, data of an MSI-X table entry). 0 or -errno. */
int irq_msi_route(struct irq *irq, unsigned gsi, uint64_t address, uint32_t data);
/* Connects or disconnects an eventfd. What was signalled while disconnected is delivered on connection. */
int irq_bind(struct irq *irq, int eventfd, unsigned gsi, bool bound);

/* A store of any width to `address` signals `eventfd`. */
int irq_doorbell(struct irq *irq, uint64_t address, int eventfd, bool bound);
