/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* A 16550A serial port at I/O ports 3F8-3FF, interrupt 4. Threads: with the machine lock held. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "irq.h"

#define SERIAL_FIFO_SIZE 64u

struct serial {
    struct irq *irq;
    void (*transmit)(void *context, uint8_t byte);
    void (*room)(void *context); /* the receive FIFO has room again */
    void *context;
    uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
    bool thr_interrupt; /* the transmitter became empty since IIR was read */
    bool overrun;
    uint8_t fifo[SERIAL_FIFO_SIZE];
    unsigned fifo_head, fifo_count;
};

void serial_init(struct serial *serial, struct irq *irq, void (*transmit)(void *, uint8_t),
                 void (*room)(void *), void *context);
void serial_reset(struct serial *serial);
uint8_t serial_read(struct serial *serial, unsigned offset);
void serial_write(struct serial *serial, unsigned offset, uint8_t value);
/* Bytes that serial_receive would take now. */
unsigned serial_receive_room(const struct serial *serial);
void serial_receive(struct serial *serial, const uint8_t *bytes, unsigned count);
