/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The test guest: one program on bare virtual hardware, at privilege level 3. What it does is told by its
 * command line (README.md lists the words), what it found is told on the serial port, a line a fact: "word
 * key=value ...".
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* lib.c: text on the serial port, memory. */
bool typed(char *c); /* the next byte from the serial port, if there is one */
__attribute__((format(printf, 1, 2))) void print(const char *format,
                                                 ...); /* %s %c %d %u %x %lx %lu %ld %02x */
void *memcpy(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
void *memmove(void *to, const void *from, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *text);
/* The value of KEY=VALUE on the command line, up to the next blank; NULL: not there. */
const char *argument(const char *key);
uint64_t argument_number(const char *key, uint64_t otherwise);
bool argument_is(const char *key, const char *value);
uint32_t argument_ip(const char *key); /* host order; 0: not there */
void set_command_line(const char *text);
/* Zeroed memory, never freed; size in bytes, alignment a power of two. */
void *allocate(size_t size, size_t alignment);
uint64_t random_number(void);

/* cpu.c: ports, time, interrupts, other CPUs. */
static inline void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}
static inline void out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}
static inline void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}
static inline uint8_t in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline uint16_t in16(uint16_t port)
{
    uint16_t value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline uint32_t in32(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline void barrier(void)
{
    __asm__ volatile("" : : : "memory");
}
static inline void fence(void)
{
    __asm__ volatile("mfence" : : : "memory");
}
static inline uint64_t tsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

enum { VECTOR_TIMER, VECTOR_SCI, VECTOR_IPI, VECTOR_INTX, VECTOR_DEVICES, VECTORS = 16, VECTOR_BASE = 32 };
#define CPUS_MAX 16u

extern volatile uint32_t interrupt_counts[VECTORS], interrupt_total;

void cpu_init(void);          /* boot CPU */
void cpu_enter(uint32_t cpu); /* each CPU: task state, local APIC, interrupts on */
uint64_t now_us(void);        /* since cpu_init */
uint64_t now_ns(void);
/* Sleeps until an interrupt came after `seen` was read from interrupt_total, or for that long. */
void sleep_unless(uint32_t seen, uint64_t us);
void delay_us(uint64_t us);
/* Starts CPU 1..count-1, each runs work(cpu) and halts. Returns how many came up within a second. */
uint32_t cpu_start_others(uint32_t count, void (*work)(uint32_t cpu));
uint32_t cpu_count(void); /* from the MADT */
void io_apic_route(uint32_t pin, uint32_t vector, bool level);
bool power_button_pressed(void);
_Noreturn void power_off(void);
_Noreturn void reset_machine(const char *how); /* acpi, keyboard, fault */
_Noreturn void fail(const char *why);

/* acpi.c */
void acpi_init(uint64_t rsdp);
const uint8_t *acpi_table(const char *signature); /* NULL: none */

/* pci.c */
uint32_t pci_read(uint32_t slot, uint32_t reg);
void pci_write(uint32_t slot, uint32_t reg, uint32_t value);
/* The slot of the n-th virtio device of that type (5, device types); 0: none. */
uint32_t pci_find_virtio(uint32_t type, uint32_t nth);
volatile uint8_t *pci_bar(uint32_t slot, uint32_t bar);
void pci_dump(void);
/* Sets MSI-X entry `entry` of a device to a vector of ours. */
void pci_msix(uint32_t slot, uint32_t entry, uint32_t vector, bool masked);
void pci_msix_enable(uint32_t slot, bool enable);

/* virtio.c: a modern driver, split rings. */
struct queue {
    uint16_t index, size, next_free, used_seen, in_flight;
    struct descriptor {
        uint64_t address;
        uint32_t size;
        uint16_t flags, next;
    } * desc;
    volatile uint16_t *driver; /* flags, index, ring */
    volatile uint16_t *device; /* flags, index, ring of {u32 id, u32 size} */
    volatile uint8_t *doorbell;
};
#define DESC_NEXT     1u
#define DESC_WRITE    2u
#define DESC_INDIRECT 4u

struct device {
    uint32_t slot, type;
    volatile uint8_t *common, *isr, *config, *notify;
    uint32_t notify_multiplier;
    uint64_t offered, features;
    uint32_t queue_count;
};

/* Resets, negotiates features & wanted (VERSION_1 always), false: no such device. */
bool virtio_open(struct device *device, uint32_t type, uint32_t nth, uint64_t wanted);
void virtio_queue(struct device *device, struct queue *queue, uint16_t index, uint16_t size_max,
                  uint32_t vector);
void virtio_ready(struct device *device);
void virtio_reset(struct device *device);
uint8_t virtio_status(const struct device *device);
/* Puts a chain: reads first, then writes. Returns the head, or -1: full. */
struct piece {
    void *data;
    uint32_t size;
};
int queue_put(struct queue *queue, const struct piece *pieces, unsigned reads, unsigned writes);
void queue_kick(struct queue *queue);
/* The next used head, or -1; *size: bytes written. Its descriptors are free again. */
int queue_take(struct queue *queue, uint32_t *size);
/* Puts, kicks, waits. Bytes written, or -1: no answer within a minute. */
int64_t queue_call(struct queue *queue, const struct piece *pieces, unsigned reads, unsigned writes);

/* net.c */
bool net_open(uint16_t queue_pairs);
void net_poll(void);                            /* receives and answers what is there */
bool net_wait(uint64_t us, bool (*done)(void)); /* polls and sleeps until done() */
extern uint8_t net_mac[6];
extern uint32_t net_ip, net_peer;
struct frame;             /* bytes of an Ethernet frame to be sent */
uint8_t *net_frame(void); /* a buffer for one frame; NULL: ring full */
void net_send(uint8_t *frame, uint32_t size);
void net_send_ip(uint32_t to, uint8_t protocol, uint8_t *frame, uint32_t payload_size);
bool net_resolve(uint32_t ip);
uint16_t net_checksum(const uint8_t *data, uint32_t size, uint32_t sum);
uint32_t net_pseudo_sum(uint32_t from, uint32_t to, uint8_t protocol, uint32_t size);
void net_set_pairs(uint16_t pairs);
bool net_link_up(void);
#define ETHERNET_SIZE 14u
#define IP_SIZE       20u
#define FRAME_MAX     1600u
static inline uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}
static inline uint32_t get32(const uint8_t *at)
{
    return (uint32_t)get16(at) << 16 | get16(at + 2);
}
static inline void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}
static inline void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value);
}

/* tcp.c: an echo server on port 7, and a client of one. */
void tcp_input(const uint8_t *ip, uint32_t size);

/* The modes: each returns true if what it checks is right. */
bool mode_ping(void);
bool mode_udp(void);
bool mode_tcp(void);
bool mode_echo(void);
bool mode_flood(void);
bool mode_sink(void);
bool mode_queues(void);
bool mode_link(void);
bool mode_disk(void);
bool mode_rng(void);
bool mode_balloon(void);
bool mode_smp(void);
bool mode_reset(void);
bool mode_probe(void);
bool mode_intx(void);
bool mode_hostile(void);
bool mode_console(void);
bool mode_typed(void);
