/* SPDX-License-Identifier: BSD-3-Clause */
/* Small devices: entropy, balloon; and the machine itself: CPUs, reset, INTx, console. */
#include "guest.h"

#define TYPE_RNG     4
#define TYPE_BALLOON 5
#define PAGE         4096u

bool mode_rng(void)
{
    static struct device device;
    static struct queue queue;
    if (!virtio_open(&device, TYPE_RNG, 0, 0))
        return false;
    virtio_queue(&device, &queue, 0, 64, VECTOR_DEVICES + 7);
    virtio_ready(&device);
    uint8_t *bytes = allocate(1024, 64);
    struct piece piece = {bytes, 1024};
    int64_t size = queue_call(&queue, &piece, 0, 1);
    unsigned ones = 0;
    for (unsigned i = 0; i < 1024; i++)
        for (unsigned bit = 0; bit < 8; bit++)
            ones += bytes[i] >> bit & 1;
    print("rng-result bytes=%ld ones=%u\n", (long)size, ones);
    return size == 1024 && ones > 3800 && ones < 4400;
}

bool mode_balloon(void)
{
    static struct device device;
    static struct queue inflate, deflate, stats;
    if (!virtio_open(&device, TYPE_BALLOON, 0, 1ull << 1 | 1ull << 2))
        return false;
    virtio_queue(&device, &inflate, 0, 64, VECTOR_DEVICES + 8);
    virtio_queue(&device, &deflate, 1, 64, VECTOR_DEVICES + 8);
    virtio_queue(&device, &stats, 2, 64, 0);
    virtio_ready(&device);
    volatile uint32_t *config = (volatile uint32_t *)device.config;
    uint64_t end = now_us() + argument_number("seconds", 5) * 1000000;
    static struct {
        uint16_t tag;
        uint64_t value;
    } __attribute__((packed)) report[2] = {{4, 11 << 20}, {5, 22 << 20}};
    struct piece report_piece = {report, sizeof(report)};
    queue_put(&stats, &report_piece, 1, 0);
    queue_kick(&stats);
    print("balloon ready target=%u\n", config[0]);
    while (config[0] == 0 && now_us() < end)
        delay_us(5000);
    uint32_t target = config[0], count = target < 256 ? target : 256, done = 0, asked = 0;
    uint8_t *area = (uint8_t *)(16u << 20);
    static uint32_t pages[256];
    while (done < target && done < 8192) {
        for (uint32_t i = 0; i < count; i++) {
            area[(uint64_t)(done + i) * PAGE] = 0x55;
            pages[i] = (uint32_t)((uintptr_t)area / PAGE + done + i);
        }
        struct piece piece = {pages, 4 * count};
        if (queue_call(&inflate, &piece, 1, 0) < 0)
            return false;
        done += count;
        config[1] = done;
    }
    uint32_t zero = 0;
    for (uint32_t i = 0; i < done; i++)
        zero += area[(uint64_t)i * PAGE] == 0; /* the host took it: it reads as zero */
    print("balloon inflated=%u zeroed=%u actual=%u\n", done, zero, config[1]);
    while (config[0] != 0 && now_us() < end) {
        uint32_t size;
        if (queue_take(&stats, &size) >= 0) {
            asked++;
            queue_put(&stats, &report_piece, 1, 0);
            queue_kick(&stats);
        }
        delay_us(5000);
    }
    while (done > config[0]) {
        uint32_t part = done < 256 ? done : 256;
        for (uint32_t i = 0; i < part; i++)
            pages[i] = (uint32_t)((uintptr_t)area / PAGE + done - part + i);
        struct piece piece = {pages, 4 * part};
        if (queue_call(&deflate, &piece, 1, 0) < 0)
            return false;
        done -= part;
        config[1] = done;
    }
    print("balloon-result target=%u inflated=%u zeroed=%u stats-asked=%u left=%u\n", target, target, zero,
          asked, done);
    return target > 0 && zero == target && done == 0;
}

static volatile uint64_t sums[CPUS_MAX];
static volatile uint32_t finished, shared_counter;

static void work(uint32_t cpu)
{
    uint64_t sum = cpu;
    for (uint64_t i = 0; i < 20000000; i++)
        sum = sum * 6364136223846793005u + i;
    sums[cpu] = sum;
    for (unsigned i = 0; i < 100000; i++)
        __atomic_fetch_add(&shared_counter, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&finished, 1, __ATOMIC_SEQ_CST);
}

bool mode_smp(void)
{
    uint32_t count = cpu_count(), up = cpu_start_others(count, work);
    work(0);
    uint64_t end = now_us() + 10000000;
    while (finished < count && now_us() < end)
        delay_us(500);
    print("smp-result cpus=%u up=%u finished=%u counter=%u\n", count, up, finished, shared_counter);
    return up == count && finished == count && shared_counter == count * 100000;
}

/* RAM keeps what was written before a reset, and the command line names the ways: how=acpi,keyboard. */
bool mode_reset(void)
{
    volatile uint32_t *boots = (volatile uint32_t *)(12u << 20);
    uint32_t magic = 0x7765667a;
    if (boots[0] != magic) {
        boots[0] = magic;
        boots[1] = 0;
    }
    boots[1]++;
    print("reset boots=%u\n", boots[1]);
    if (boots[1] > argument_number("resets", 2)) {
        boots[0] = 0;
        print("reset-result boots=%u\n", boots[1]);
        return true;
    }
    const char *how = argument("how");
    reset_machine(how ? how : boots[1] & 1 ? "acpi" : "keyboard");
}

/* The entropy device without MSI-X: the interrupt comes on its pin. */
bool mode_intx(void)
{
    static struct device device;
    static struct queue queue;
    if (!virtio_open(&device, TYPE_RNG, 0, 0))
        return false;
    pci_msix_enable(device.slot, false);
    virtio_queue(&device, &queue, 0, 64, 0);
    virtio_ready(&device);
    uint32_t pin = pci_read(device.slot, 0x3c) & 0xff;
    io_apic_route(pin, VECTOR_BASE + VECTOR_INTX, false);
    uint8_t *bytes = allocate(64, 64);
    struct piece piece = {bytes, 64};
    uint32_t before = interrupt_counts[VECTOR_INTX];
    int64_t size = queue_call(&queue, &piece, 0, 1);
    delay_us(2000);
    uint32_t pending = pci_read(device.slot, 4) >> 16 & 8;
    uint8_t isr = *device.isr, again = *device.isr;
    uint32_t after = pci_read(device.slot, 4) >> 16 & 8;
    print("intx-result pin=%u bytes=%ld interrupts=%u pending=%u isr=%u isr-again=%u pending-after=%u\n", pin,
          (long)size, interrupt_counts[VECTOR_INTX] - before, pending, isr, again, after);
    return size == 64 && interrupt_counts[VECTOR_INTX] - before == 1 && isr == 1 && again == 0 &&
           pending == 8 && after == 0;
}

bool mode_console(void)
{
    uint64_t lines = argument_number("lines", 10000);
    for (uint64_t i = 0; i < lines; i++)
        print("console line=%lu ....................................................................\n", i);
    print("console-result lines=%lu\n", lines);
    return true;
}

/* Repeats each line that is typed. */
bool mode_typed(void)
{
    char line[80];
    unsigned length = 0;
    print("typed ready=1\n");
    while (!power_button_pressed()) {
        char c;
        if (!typed(&c)) {
            delay_us(2000);
            continue;
        }
        if (c == '\r' || c == '\n' || length == sizeof(line) - 1) {
            line[length] = 0;
            print("typed text=%s\n", line);
            length = 0;
        } else
            line[length++] = c;
    }
    return true;
}

bool mode_probe(void)
{
    pci_dump();
    for (uint32_t slot = 1; slot < 32; slot++) {
        uint32_t id = pci_read(slot, 0);
        if ((id & 0xffff) != 0x1af4 || id >> 16 < 0x1040)
            continue;
        struct device device;
        uint32_t type = (id >> 16) - 0x1040, nth = 0;
        for (uint32_t before = 1; before < slot; before++)
            nth += pci_read(before, 0) == id;
        if (!virtio_open(&device, type, nth, 0))
            continue;
        print("virtio type=%u queues=%u features=%lx notify-multiplier=%u status=%02x\n", type,
              device.queue_count, device.offered, device.notify_multiplier, virtio_status(&device));
        for (uint16_t i = 0; i < device.queue_count; i++) {
            *(volatile uint16_t *)(device.common + 0x16) = i;
            print("virtio-queue type=%u index=%u size=%u vector=%04x enabled=%u notify-offset=%u\n", type, i,
                  *(volatile uint16_t *)(device.common + 0x18), *(volatile uint16_t *)(device.common + 0x1a),
                  *(volatile uint16_t *)(device.common + 0x1c), *(volatile uint16_t *)(device.common + 0x1e));
        }
        *(volatile uint16_t *)(device.common + 0x16) = 500;
        print("virtio-queue type=%u index=500 size=%u\n", type, *(volatile uint16_t *)(device.common + 0x18));
        virtio_reset(&device);
        print("virtio-reset type=%u status=%02x\n", type, virtio_status(&device));
    }
    return true;
}
