/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * ACPI fixed hardware (ACPI 6.4, 4.8): PM1 event and control registers with the power button, the PM timer;
 * and the ways to reset: the reset register at CF9 and the keyboard controller's reset line.
 *
 * Threads: with the machine lock held.
 */
#include <stdbool.h>
#include <stdint.h>
#include "irq.h"

#define PM_SLEEP_TYPE_OFF 5u /* SLP_TYPx of S5, as the DSDT says */
#define PM_RESET_PORT     0xcf9u
#define PM_RESET_VALUE    6u

enum pm_request { PM_NOTHING, PM_OFF, PM_RESET };

struct pm {
    struct irq *irq;
    uint16_t status, enable, control;
};

void pm_init(struct pm *pm, struct irq *irq);
void pm_reset(struct pm *pm);
void pm_press_power_button(struct pm *pm);
/* offset: from LAYOUT_PORT_PM. */
uint32_t pm_read(const struct pm *pm, unsigned offset, unsigned size);
enum pm_request pm_write(struct pm *pm, unsigned offset, uint32_t value, unsigned size);
