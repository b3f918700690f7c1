/* SPDX-License-Identifier: BSD-3-Clause */
/* The serial port and the power management registers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>
#include "layout.h"
#include "pm.h"
#include "serial.h"

static struct irq irq;
static uint8_t sent[256];
static unsigned sent_count, room_calls;

static void transmit(void *context, uint8_t byte)
{
    (void)context;
    sent[sent_count++ % sizeof(sent)] = byte;
}

static void room(void *context)
{
    (void)context;
    room_calls++;
}

static bool line(unsigned gsi)
{
    return irq.lines_high >> gsi & 1;
}

static void serial_port(void **state)
{
    (void)state;
    struct serial serial;
    uint8_t bytes[100] = "input";
    assert_int_equal(irq_init(&irq, -1), 0);
    serial_init(&serial, &irq, transmit, room, NULL);
    serial_write(&serial, 3, 0x80); /* divisor */
    serial_write(&serial, 0, 1);
    serial_write(&serial, 1, 0);
    assert_int_equal(serial_read(&serial, 0), 1);
    serial_write(&serial, 3, 3);
    serial_write(&serial, 0, 'x');
    assert_int_equal(sent_count, 1);
    assert_int_equal(sent[0], 'x');
    assert_int_equal(serial_read(&serial, 5), 0x60);
    assert_false(line(LAYOUT_IRQ_SERIAL));
    serial_write(&serial, 1, 2); /* transmitter empty */
    assert_true(line(LAYOUT_IRQ_SERIAL));
    assert_int_equal(serial_read(&serial, 2) & 0xf, 2);
    assert_false(line(LAYOUT_IRQ_SERIAL));
    serial_write(&serial, 1, 1);
    serial_receive(&serial, bytes, 5);
    assert_true(line(LAYOUT_IRQ_SERIAL));
    assert_int_equal(serial_read(&serial, 2) & 0xf, 4);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(serial_read(&serial, 0), bytes[i]);
    assert_false(line(LAYOUT_IRQ_SERIAL));
    assert_int_equal(room_calls, 1);
    serial_receive(&serial, bytes, 100); /* more than it holds */
    assert_int_equal(serial_receive_room(&serial), 0);
    assert_int_equal(serial_read(&serial, 5) & 3, 3); /* data, overrun */
    assert_int_equal(serial_read(&serial, 5) & 3, 1);
    serial_write(&serial, 2, 2); /* clear */
    assert_int_equal(serial_receive_room(&serial), SERIAL_FIFO_SIZE);
    serial_write(&serial, 4, 0x1a); /* loop, RTS, OUT2 */
    assert_int_equal(serial_read(&serial, 6), 0x90);
    serial_write(&serial, 0, 'y');
    assert_int_equal(sent_count, 1);
    assert_int_equal(serial_read(&serial, 0), 'y');
    irq_free(&irq);
}

static void power_button(void **state)
{
    (void)state;
    struct pm pm;
    assert_int_equal(irq_init(&irq, -1), 0);
    pm_init(&pm, &irq);
    assert_int_equal(pm_read(&pm, 4, 2), 1); /* SCI_EN: ACPI is always on */
    pm_press_power_button(&pm);
    assert_false(line(LAYOUT_IRQ_SCI)); /* not enabled yet */
    pm_write(&pm, 2, 0x100, 2);
    assert_true(line(LAYOUT_IRQ_SCI));
    assert_int_equal(pm_read(&pm, 0, 2), 0x100);
    assert_int_equal(pm_read(&pm, 0, 4), 0x1000100);
    pm_write(&pm, 2, 0xffff, 2); /* the global lock's enable bit stays, what is not there does not */
    assert_int_equal(pm_read(&pm, 2, 2), 0x120);
    pm_write(&pm, 0, 0x100, 2);
    assert_false(line(LAYOUT_IRQ_SCI));
    assert_int_equal(pm_write(&pm, 4, 5 << 10, 2), PM_NOTHING);
    assert_int_equal(pm_write(&pm, 4, 3 << 10 | 1 << 13, 2), PM_NOTHING);
    assert_int_equal(pm_write(&pm, 4, 5 << 10 | 1 << 13, 2), PM_OFF);
    uint32_t start = pm_read(&pm, 8, 4);
    while (pm_read(&pm, 8, 4) == start)
        ;
    irq_free(&irq);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(serial_port), cmocka_unit_test(power_button)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
