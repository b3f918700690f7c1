/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest.h"

#define TSS_ADDRESS   0x9000ull /* see start.S */
#define TSS_SIZE      128u
#define BITMAP_OFFSET (16u * TSS_SIZE)
#define STACK_SIZE    0x4000ull
#define AP_TRAMPOLINE 0x8000ull
#define GATE          0x8e00u /* interrupt gate, entered from hardware */
#define CODE0         8u

#define APIC         0xfee00000ull
#define IO_APIC      0xfec00000ull
#define PM_EVENT     0x600
#define PM_CONTROL   0x604
#define PM_TIMER     0x608
#define PM_TIMER_HZ  3579545ull
#define POWER_BUTTON 0x100
#define SCI_PIN      9u

volatile uint32_t interrupt_counts[VECTORS], interrupt_total;
extern uint8_t idt[], stubs[], exceptions[], system_call[], stacks[], ap_trampoline[], ap_trampoline_end[];

static uint64_t tsc_start, tsc_per_ms;
static volatile uint32_t cpus_up;
static void (*volatile cpu_work)(uint32_t cpu);

void guest_exception(const uint64_t *frame);
void guest_cpu(uint32_t cpu);

static volatile uint32_t *apic(uint32_t reg)
{
    return (volatile uint32_t *)(APIC + reg);
}

static void set_gate(unsigned number, const uint8_t *handler)
{
    uint64_t address = (uint64_t)handler;
    uint16_t *gate = (uint16_t *)(idt + 16 * number);
    gate[0] = (uint16_t)address;
    gate[1] = CODE0;
    gate[2] = GATE;
    gate[3] = (uint16_t)(address >> 16);
    gate[4] = gate[5] = gate[6] = gate[7] = 0;
}

static void system_call_2(uint32_t number, const volatile uint32_t *word, uint32_t value)
{
    __asm__ volatile("ud2" : : "a"(number), "D"(word), "S"(value) : "memory");
}

void cpu_enter(uint32_t cpu)
{
    uint8_t *tss = (uint8_t *)(TSS_ADDRESS + TSS_SIZE * cpu);
    uint64_t stack = (uint64_t)stacks + STACK_SIZE * cpu + STACK_SIZE / 2; /* the upper half is level 3's */
    memcpy(tss + 4, &stack, 8);
    uint16_t bitmap = (uint16_t)(BITMAP_OFFSET - TSS_SIZE * cpu);
    memcpy(tss + 102, &bitmap, 2);
    *apic(0xf0) = 0x1ff; /* enabled, spurious vector 255 */
    *apic(0x80) = 0;
    system_call_2(0, NULL, 0);
}

/* The TSC against the ACPI timer. */
static void calibrate(void)
{
    uint32_t ticks = (uint32_t)(PM_TIMER_HZ / 500); /* 2 ms */
    uint32_t start = in32(PM_TIMER);
    uint64_t begin = tsc();
    if (start == UINT32_MAX) { /* no such timer: call it 2 GHz */
        tsc_per_ms = 2000000;
        return;
    }
    uint32_t passed;
    while ((passed = (in32(PM_TIMER) - start) & 0xffffff) < ticks)
        ;
    tsc_per_ms = (tsc() - begin) * (PM_TIMER_HZ / 1000) / passed;
}

void cpu_init(void)
{
    tsc_start = tsc();
    out8(0x21, 0xff); /* the two 8259s stay out of it */
    out8(0xa1, 0xff);
    for (unsigned i = 0; i < 32; i++)
        set_gate(i, exceptions + 16 * i);
    set_gate(6, system_call);
    for (unsigned i = 0; i < VECTORS; i++)
        set_gate(VECTOR_BASE + i, stubs + 64 * i);
    set_gate(255, stubs + 64 * VECTOR_TIMER);
    cpu_enter(0);
    calibrate();
    *apic(0x3e0) = 0xb; /* timer: divide by 1 */
    *apic(0x320) = VECTOR_BASE + VECTOR_TIMER;
    out16(PM_EVENT + 2, POWER_BUTTON);
    io_apic_route(SCI_PIN, VECTOR_BASE + VECTOR_SCI, false); /* by edge: cleared at leisure */
}

uint64_t now_us(void)
{
    return (tsc() - tsc_start) * 1000 / tsc_per_ms;
}

uint64_t now_ns(void)
{
    return (tsc() - tsc_start) * 1000 / (tsc_per_ms / 1000);
}

void sleep_unless(uint32_t seen, uint64_t us)
{
    *apic(0x380) =
        us > 4000000 ? 4000000000u : (uint32_t)(us * 1000 + 1); /* KVM's APIC timer counts nanoseconds */
    system_call_2(1, &interrupt_total, seen);
}

void delay_us(uint64_t us)
{
    uint64_t end = now_us() + us;
    while (now_us() < end)
        sleep_unless(interrupt_total, end - now_us());
}

void io_apic_route(uint32_t pin, uint32_t vector, bool level)
{
    volatile uint32_t *select = (volatile uint32_t *)IO_APIC, *window = (volatile uint32_t *)(IO_APIC + 0x10);
    *select = 0x11 + 2 * pin;
    *window = 0;
    *select = 0x10 + 2 * pin;
    *window = vector | (level ? 1u << 15 : 0);
}

bool power_button_pressed(void)
{
    if (!(in16(PM_EVENT) & POWER_BUTTON))
        return false;
    out16(PM_EVENT, POWER_BUTTON);
    return true;
}

void power_off(void)
{
    out16(PM_CONTROL, 5u << 10 | 1u << 13);
    for (;;)
        sleep_unless(interrupt_total, 1000000);
}

void reset_machine(const char *how)
{
    if (how[0] == 'a')
        out8(0xcf9, 6);
    else if (how[0] == 'k')
        out8(0x64, 0xfe);
    else {
        memset(idt, 0, 4096); /* nobody takes the exception, nor the one after */
        __asm__ volatile("ud2");
    }
    for (;;)
        barrier();
}

void fail(const char *why)
{
    print("error %s\n", why);
    power_off();
}

void guest_exception(const uint64_t *frame)
{
    print("error exception=%lu code=%lx rip=%lx\n", frame[0], frame[1], frame[2]);
    out16(PM_CONTROL, 5u << 10 | 1u << 13);
}

/* Other CPUs */

void guest_cpu(uint32_t cpu)
{
    cpu_enter(cpu);
    __atomic_fetch_add(&cpus_up, 1, __ATOMIC_SEQ_CST);
    if (cpu_work)
        cpu_work(cpu);
    for (;;)
        system_call_2(1, &interrupt_total, interrupt_total);
}

uint32_t cpu_count(void)
{
    const uint8_t *madt = acpi_table("APIC");
    uint32_t count = 0, length;
    if (!madt)
        return 1;
    memcpy(&length, madt + 4, 4);
    for (uint32_t at = 44; at + 8 <= length && madt[at + 1]; at += madt[at + 1])
        count += madt[at] == 0 && madt[at + 4] & 1;
    return count;
}

uint32_t cpu_start_others(uint32_t count, void (*work)(uint32_t cpu))
{
    memcpy((void *)AP_TRAMPOLINE, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
    cpu_work = work;
    cpus_up = 0;
    *apic(0x300) = 0xc4500; /* INIT to all but this one */
    delay_us(200);
    *apic(0x300) = 0xc4600 | AP_TRAMPOLINE >> 12; /* SIPI */
    uint64_t end = now_us() + 1000000;
    while (cpus_up + 1 < count && now_us() < end)
        delay_us(100);
    return cpus_up + 1;
}
