/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "cpuid.h"

enum reg { EAX, EBX, ECX, EDX };

static const struct feature {
    const char *name;
    uint32_t function, index;
    enum reg reg;
    uint8_t bit;
} features[] = {
    {"pni", 1, 0, ECX, 0},
    {"pclmulqdq", 1, 0, ECX, 1},
    {"ssse3", 1, 0, ECX, 9},
    {"fma", 1, 0, ECX, 12},
    {"cx16", 1, 0, ECX, 13},
    {"pcid", 1, 0, ECX, 17},
    {"sse4_1", 1, 0, ECX, 19},
    {"sse4_2", 1, 0, ECX, 20},
    {"x2apic", 1, 0, ECX, 21},
    {"movbe", 1, 0, ECX, 22},
    {"popcnt", 1, 0, ECX, 23},
    {"tsc_deadline_timer", 1, 0, ECX, 24},
    {"aes", 1, 0, ECX, 25},
    {"xsave", 1, 0, ECX, 26},
    {"avx", 1, 0, ECX, 28},
    {"f16c", 1, 0, ECX, 29},
    {"rdrand", 1, 0, ECX, 30},
    {"pse", 1, 0, EDX, 3},
    {"mtrr", 1, 0, EDX, 12},
    {"pge", 1, 0, EDX, 13},
    {"mca", 1, 0, EDX, 14},
    {"pat", 1, 0, EDX, 16},
    {"pse36", 1, 0, EDX, 17},
    {"clflush", 1, 0, EDX, 19},
    {"fxsr", 1, 0, EDX, 24},
    {"sse", 1, 0, EDX, 25},
    {"sse2", 1, 0, EDX, 26},
    {"fsgsbase", 7, 0, EBX, 0},
    {"tsc_adjust", 7, 0, EBX, 1},
    {"bmi1", 7, 0, EBX, 3},
    {"avx2", 7, 0, EBX, 5},
    {"smep", 7, 0, EBX, 7},
    {"bmi2", 7, 0, EBX, 8},
    {"erms", 7, 0, EBX, 9},
    {"invpcid", 7, 0, EBX, 10},
    {"avx512f", 7, 0, EBX, 16},
    {"avx512dq", 7, 0, EBX, 17},
    {"rdseed", 7, 0, EBX, 18},
    {"adx", 7, 0, EBX, 19},
    {"smap", 7, 0, EBX, 20},
    {"clflushopt", 7, 0, EBX, 23},
    {"clwb", 7, 0, EBX, 24},
    {"sha_ni", 7, 0, EBX, 29},
    {"avx512bw", 7, 0, EBX, 30},
    {"avx512vl", 7, 0, EBX, 31},
    {"umip", 7, 0, ECX, 2},
    {"pku", 7, 0, ECX, 3},
    {"gfni", 7, 0, ECX, 8},
    {"vaes", 7, 0, ECX, 9},
    {"vpclmulqdq", 7, 0, ECX, 10},
    {"la57", 7, 0, ECX, 16},
    {"rdpid", 7, 0, ECX, 22},
    {"fsrm", 7, 0, EDX, 4},
    {"xsaveopt", 0xd, 1, EAX, 0},
    {"xsavec", 0xd, 1, EAX, 1},
    {"xsaves", 0xd, 1, EAX, 3},
    {"lahf_lm", 0x80000001, 0, ECX, 0},
    {"abm", 0x80000001, 0, ECX, 5},
    {"sse4a", 0x80000001, 0, ECX, 6},
    {"misalignsse", 0x80000001, 0, ECX, 7},
    {"osvw", 0x80000001, 0, ECX, 9},
    {"topoext", 0x80000001, 0, ECX, 22},
    {"syscall", 0x80000001, 0, EDX, 11},
    {"nx", 0x80000001, 0, EDX, 20},
    {"mmxext", 0x80000001, 0, EDX, 22},
    {"pdpe1gb", 0x80000001, 0, EDX, 26},
    {"rdtscp", 0x80000001, 0, EDX, 27},
    {"kvmclock", 0x40000001, 0, EAX, 3},
    {"kvm_pv_eoi", 0x40000001, 0, EAX, 6},
};

static uint32_t *reg_of(struct kvm_cpuid_entry2 *entry, enum reg reg)
{
    return reg == EAX ? &entry->eax : reg == EBX ? &entry->ebx : reg == ECX ? &entry->ecx : &entry->edx;
}

static void clear(struct kvm_cpuid2 *cpuid, const struct feature *feature)
{
    for (unsigned i = 0; i < cpuid->nent; i++) {
        struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
        if (entry->function == feature->function && entry->index == feature->index)
            *reg_of(entry, feature->reg) &= ~(1u << feature->bit);
    }
}

int cpuid_mask(struct kvm_cpuid2 *cpuid, const char *mask, const char **name)
{
    while (*mask) {
        size_t length = strcspn(mask, ",");
        const struct feature *found = NULL;
        *name = mask;
        for (size_t i = 0; *mask == '-' && i < sizeof(features) / sizeof(features[0]); i++)
            if (strlen(features[i].name) == length - 1 && memcmp(features[i].name, mask + 1, length - 1) == 0)
                found = &features[i];
        if (!found)
            return -EINVAL;
        clear(cpuid, found);
        mask += length + (mask[length] == ',');
    }
    return 0;
}

/* One socket, cpu_count cores of one thread each. */
static void set_topology(struct kvm_cpuid2 *cpuid, unsigned cpu_count)
{
    unsigned bits = 0;
    while (1u << bits < cpu_count)
        bits++;
    for (unsigned i = 0; i < cpuid->nent; i++) {
        struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
        switch (entry->function) {
        case 1:
            entry->ebx = (entry->ebx & 0x0000ffff) | cpu_count << 16;
            entry->edx = cpu_count > 1 ? entry->edx | 1u << 28 : entry->edx & ~(1u << 28);
            break;
        case 4:
            entry->eax = (entry->eax & 0x00003fff) | ((1u << bits) - 1) << 26;
            break;
        case 0xb:
        case 0x1f:
            entry->eax = entry->index == 0 ? 0 : bits;
            entry->ebx = entry->index == 0 ? 1 : entry->index == 1 ? cpu_count : 0;
            entry->ecx = entry->index | (entry->index < 2 ? (entry->index + 1) << 8 : 0);
            break;
        case 0x80000008:
            entry->ecx = (entry->ecx & ~0xf0ffu) | bits << 12 | (cpu_count - 1);
            break;
        case 0x8000001e:
            entry->ebx = entry->ecx = 0;
            break;
        default:
            break;
        }
    }
}

struct kvm_cpuid2 *cpuid_make(int kvm_fd, unsigned cpu_count, const char *mask, const char **why)
{
    struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + CPUID_ENTRIES_MAX * sizeof(cpuid->entries[0]));
    if (!cpuid)
        return NULL;
    cpuid->nent = CPUID_ENTRIES_MAX;
    *why = "KVM_GET_SUPPORTED_CPUID";
    if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid)) {
        free(cpuid);
        return NULL;
    }
    bool deadline = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
    for (unsigned i = 0; i < cpuid->nent; i++)
        if (cpuid->entries[i].function == 1)
            cpuid->entries[i].ecx |=
                1u << 31 | (deadline ? 1u << 24 : 0); /* hypervisor, TSC deadline timer */
    set_topology(cpuid, cpu_count);
    const char *name;
    *why = "unknown name in the CPU mask (write it as in /proc/cpuinfo, with a minus: -xsave,-popcnt)";
    int error = mask ? cpuid_mask(cpuid, mask, &name) : 0;
    if (error) {
        free(cpuid);
        errno = -error;
        return NULL;
    }
    return cpuid;
}
