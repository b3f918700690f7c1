/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>
#include <time.h>
#include "layout.h"
#include "pm.h"

enum { STATUS = 0, ENABLE = 2, CONTROL = 4, TIMER = 8 };
#define POWER_BUTTON 0x0100u /* PWRBTN_STS, PWRBTN_EN */
#define GLOBAL_LOCK  0x0020u /* GBL_EN: an operating system switches it on and reads it back */
#define SCI_ENABLED  0x0001u
#define SLEEP_ENABLE 0x2000u
#define SLEEP_TYPE   0x1c00u
#define TIMER_HZ     3579545ull

static void update_sci(struct pm *pm)
{
    irq_line(pm->irq, LAYOUT_IRQ_SCI, pm->status & pm->enable & POWER_BUTTON);
}

void pm_init(struct pm *pm, struct irq *irq)
{
    pm->irq = irq;
    pm_reset(pm);
}

void pm_reset(struct pm *pm)
{
    pm->status = pm->enable = 0;
    pm->control = SCI_ENABLED;
    update_sci(pm);
}

void pm_press_power_button(struct pm *pm)
{
    pm->status |= POWER_BUTTON;
    update_sci(pm);
}

static uint32_t timer(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * TIMER_HZ + (uint64_t)now.tv_nsec * TIMER_HZ / 1000000000u);
}

uint32_t pm_read(const struct pm *pm, unsigned offset, unsigned size)
{
    uint32_t value;
    switch (offset & ~3u) {
    case STATUS:
        value = pm->status | (uint32_t)pm->enable << 16;
        break;
    case CONTROL:
        value = pm->control;
        break;
    case TIMER:
        value = timer();
        break;
    default:
        return UINT32_MAX;
    }
    value >>= 8 * (offset & 3);
    return size == 4 ? value : value & ((1u << 8 * size) - 1);
}

enum pm_request pm_write(struct pm *pm, unsigned offset, uint32_t value, unsigned size)
{
    if (offset == STATUS)
        pm->status &= (uint16_t)~value;
    if (offset == ENABLE || (offset == STATUS && size == 4))
        pm->enable = (uint16_t)(offset == ENABLE ? value : value >> 16) & (POWER_BUTTON | GLOBAL_LOCK);
    update_sci(pm);
    if (offset != CONTROL)
        return PM_NOTHING;
    pm->control = (uint16_t)((value & SLEEP_TYPE) | SCI_ENABLED);
    return value & SLEEP_ENABLE && (value & SLEEP_TYPE) >> 10 == PM_SLEEP_TYPE_OFF ? PM_OFF : PM_NOTHING;
}
