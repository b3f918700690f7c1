/* SPDX-License-Identifier: BSD-3-Clause */
#include <stddef.h>
#include "sandbox.h"

int sandbox_process(const struct machine *machine)
{
    (void)machine;
    return 0;
}
void sandbox_enter_main(void) {}
void sandbox_enter_vcpu(void) {}
void sandbox_enter_disk(void) {}
void sandbox_enter_vhost(void) {}
