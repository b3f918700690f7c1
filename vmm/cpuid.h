/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* What the guest's CPUID says: the host's processor as KVM can offer it, less what the user masks. */
#include <linux/kvm.h>

#define CPUID_ENTRIES_MAX 256u

/* mask: "-xsave,-popcnt" (names as in /proc/cpuinfo), or NULL. NULL, errno and *why (constant text) on
 * failure. free() it. */
struct kvm_cpuid2 *cpuid_make(int kvm_fd, unsigned cpu_count, const char *mask, const char **why);
/* Applies a mask to a table. 0, or -EINVAL: an unknown name; *name then points into the mask. */
int cpuid_mask(struct kvm_cpuid2 *cpuid, const char *mask, const char **name);
