/* SPDX-License-Identifier: BSD-3-Clause */
#include <linux/serial_reg.h>
#include <string.h>
#include "layout.h"
#include "serial.h"

static bool loopback(const struct serial *serial)
{
    return serial->mcr & UART_MCR_LOOP;
}

static uint8_t interrupt_id(const struct serial *serial)
{
    if (serial->ier & UART_IER_RLSI && serial->overrun)
        return UART_IIR_RLSI;
    if (serial->ier & UART_IER_RDI && serial->fifo_count)
        return UART_IIR_RDI;
    if (serial->ier & UART_IER_THRI && serial->thr_interrupt)
        return UART_IIR_THRI;
    return UART_IIR_NO_INT;
}

static void update_interrupt(struct serial *serial)
{
    irq_line(serial->irq, LAYOUT_IRQ_SERIAL, interrupt_id(serial) != UART_IIR_NO_INT);
}

void serial_init(struct serial *serial, struct irq *irq, void (*transmit)(void *, uint8_t),
                 void (*room)(void *), void *context)
{
    memset(serial, 0, sizeof(*serial));
    serial->irq = irq;
    serial->transmit = transmit;
    serial->room = room;
    serial->context = context;
    serial_reset(serial);
}

void serial_reset(struct serial *serial)
{
    serial->ier = serial->fcr = serial->lcr = serial->scr = serial->dlm = 0;
    serial->mcr = UART_MCR_OUT2;
    serial->dll = 12; /* 9600 baud, as after reset of a PC */
    serial->thr_interrupt = serial->overrun = false;
    serial->fifo_head = serial->fifo_count = 0;
    update_interrupt(serial);
}

unsigned serial_receive_room(const struct serial *serial)
{
    return loopback(serial) ? 0 : SERIAL_FIFO_SIZE - serial->fifo_count;
}

static void put(struct serial *serial, uint8_t byte)
{
    if (serial->fifo_count == SERIAL_FIFO_SIZE) {
        serial->overrun = true;
        return;
    }
    serial->fifo[(serial->fifo_head + serial->fifo_count++) % SERIAL_FIFO_SIZE] = byte;
}

void serial_receive(struct serial *serial, const uint8_t *bytes, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        put(serial, bytes[i]);
    update_interrupt(serial);
}

static uint8_t take(struct serial *serial)
{
    if (!serial->fifo_count)
        return 0;
    uint8_t byte = serial->fifo[serial->fifo_head];
    serial->fifo_head = (serial->fifo_head + 1) % SERIAL_FIFO_SIZE;
    if (--serial->fifo_count == 0 && serial->room)
        serial->room(serial->context);
    return byte;
}

static uint8_t modem_status(const struct serial *serial)
{
    if (!loopback(serial))
        return UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS;
    uint8_t mcr = serial->mcr;
    return (uint8_t)((mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) | (mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
                     (mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) | (mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0));
}

uint8_t serial_read(struct serial *serial, unsigned offset)
{
    uint8_t value = 0;
    bool divisor = serial->lcr & UART_LCR_DLAB;
    switch (offset) {
    case UART_RX:
        value = divisor ? serial->dll : take(serial);
        break;
    case UART_IER:
        value = divisor ? serial->dlm : serial->ier;
        break;
    case UART_IIR:
        value = interrupt_id(serial);
        if (value == UART_IIR_THRI)
            serial->thr_interrupt = false;
        if (serial->fcr & UART_FCR_ENABLE_FIFO)
            value |= 0xc0;
        break;
    case UART_LCR:
        value = serial->lcr;
        break;
    case UART_MCR:
        value = serial->mcr;
        break;
    case UART_LSR:
        value = (uint8_t)(UART_LSR_TEMT | UART_LSR_THRE | (serial->fifo_count ? UART_LSR_DR : 0) |
                          (serial->overrun ? UART_LSR_OE : 0));
        serial->overrun = false;
        break;
    case UART_MSR:
        value = modem_status(serial);
        break;
    case UART_SCR:
        value = serial->scr;
        break;
    default:
        break;
    }
    update_interrupt(serial);
    return value;
}

void serial_write(struct serial *serial, unsigned offset, uint8_t value)
{
    bool divisor = serial->lcr & UART_LCR_DLAB;
    switch (offset) {
    case UART_TX:
        if (divisor) {
            serial->dll = value;
            break;
        }
        if (loopback(serial))
            put(serial, value);
        else
            serial->transmit(serial->context, value);
        serial->thr_interrupt = true;
        break;
    case UART_IER:
        if (divisor) {
            serial->dlm = value;
            break;
        }
        if (value & UART_IER_THRI && !(serial->ier & UART_IER_THRI))
            serial->thr_interrupt = true;
        serial->ier = value & 0xf;
        break;
    case UART_FCR:
        serial->fcr = value;
        if (value & UART_FCR_CLEAR_RCVR)
            serial->fifo_count = 0;
        break;
    case UART_LCR:
        serial->lcr = value;
        break;
    case UART_MCR:
        serial->mcr = value & 0x1f;
        break;
    case UART_SCR:
        serial->scr = value;
        break;
    default:
        break;
    }
    update_interrupt(serial);
}
