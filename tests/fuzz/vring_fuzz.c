/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include "memory.h"
#include "vring.h"
#include "vring_config.h"
#include "vring_fuzz.h"

#define PAGE      4096u
#define REGIONS   4u
#define RINGS     0u /* region that holds the rings and the indirect tables */
#define SIZE_MAX_ 64u
#define DRIVER    (PAGE)
#define DEVICE    (PAGE + 1024)
#define TABLES    (2 * PAGE)
#define PACKETS   32u

static const struct {
    uint64_t guest;
    uint32_t pages;
} layout[REGIONS] = {{0x100000, 4}, {0x200000, 1}, {0x201000, 2}, {0xfffffffffffff000, 1}};

static struct memory_table *table;
static struct packet_vector *vector;
static struct notifier *notifier;
static struct packet packets[PACKETS];
static uint8_t payload[PACKET_SIZE_MAX];
static sem_t race_start, race_end;
static atomic_bool race_over;
static atomic_uint race_seed;

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static uint8_t *rings(void)
{
    return memory_find(table, layout[RINGS].guest)->host;
}

static void *racer(void *unused)
{
    for (;;) {
        sem_wait(&race_start);
        uint32_t state = atomic_load(&race_seed) | 1;
        while (!atomic_load(&race_over)) {
            uint32_t choice = next_random(&state), value = next_random(&state);
            uint8_t *at = rings() + (choice >> 8) % (TABLES + 256) / 2 * 2;
            /* Half of them: a word that is there already, elsewhere: addresses and lengths that make sense.
             */
            if (choice & 1)
                memcpy(&value, rings() + (value % TABLES & ~3u), 2);
            __atomic_store_n((uint16_t *)(void *)at, (uint16_t)value, __ATOMIC_RELAXED);
        }
        sem_post(&race_end);
    }
    return unused;
}

static void *inaccessible(void *at, uint64_t size)
{
    void *area =
        mmap(at, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED_NOREPLACE : 0), -1, 0);
    if (area == MAP_FAILED)
        abort();
    return area;
}

/* Adds a region that lies in a hole of an inaccessible area. The kernel may prefer other holes: they are
 * filled first. */
static void add_region(unsigned i)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    uint64_t size = (uint64_t)layout[i].pages * PAGE;
    const struct memory_region_config config = {layout[i].guest, size, i * 0x1000000ull, 0, fd};
    uint8_t *hole = (uint8_t *)inaccessible(NULL, 64 * PAGE) + 32 * PAGE;
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0 || munmap(hole, size) < 0)
        abort();
    for (unsigned attempt = 0; attempt < 1000; attempt++) {
        struct memory_table *with;
        if (memory_table_add(table, &config, 1, &with) < 0)
            abort();
        uint8_t *host = memory_find(with, config.guest_address)->host;
        if (host == hole) {
            memory_table_free(table);
            table = with;
            close(fd);
            return;
        }
        memory_table_free(with);
        inaccessible(host, size);
    }
    fprintf(stderr, "no room for guard pages\n");
    abort();
}

static void init(void)
{
    pthread_t thread;
    for (unsigned i = 0; i < REGIONS; i++)
        add_region(i);
    vector = aligned_alloc(64, sizeof(*vector));
    packet_vector_init(vector);
    notifier = notifier_new();
    sem_init(&race_start, 0, 0);
    sem_init(&race_end, 0, 0);
    for (unsigned i = 0; i < PACKETS; i++) {
        packets[i].buffer = aligned_alloc(64, PACKET_HEADROOM + PACKET_HEADER_MAX);
        memset(packets[i].buffer, (int)i, PACKET_HEADROOM + PACKET_HEADER_MAX);
        packets[i].spans = calloc(1, sizeof(struct packet_span));
    }
    if (!notifier || pthread_create(&thread, NULL, racer, NULL) != 0)
        abort();
}

static void check(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static bool inside(const uint8_t *base, uint64_t size)
{
    for (unsigned i = 0; i < table->count; i++)
        if (base >= table->regions[i].host && size <= table->regions[i].size &&
            (uint64_t)(base - table->regions[i].host) <= table->regions[i].size - size)
            return true;
    return false;
}

static void receive(struct vring *ring)
{
    unsigned count = vring_rx(ring, vector);
    unsigned sum = 0;
    check(count == vector->count && count <= PACKET_VECTOR_MAX, "count");
    check(vector->spans_used <= PACKET_VECTOR_SPANS, "spans used");
    for (unsigned i = 0; i < count; i++) {
        const struct packet *packet = &vector->packets[i];
        uint64_t total = packet->header_size;
        check(packet->size >= PACKET_SIZE_MIN && packet->size <= PACKET_SIZE_MAX, "size");
        check(packet->header_size <= PACKET_HEADER_MAX, "header size");
        check(packet->header_size >= (packet->size < PACKET_HEADER_MAX ? packet->size : PACKET_HEADER_MAX),
              "header complete");
        check(packet->data == packet->buffer + PACKET_HEADROOM, "data");
        check(packet->span_count <= PACKET_SPANS_MAX, "span count");
        for (unsigned j = 0; j < packet->span_count; j++) {
            const struct packet_span *span = &packet->spans[j];
            check(span >= vector->spans && span < vector->spans + PACKET_VECTOR_SPANS, "span array");
            check(span->size > 0 && inside(span->base, span->size), "span inside guest memory");
            total += span->size;
            for (uint64_t k = 0; k < span->size; k += 61)
                sum += span->base[k];
        }
        check(total == packet->size, "sizes add up");
    }
    vring_rx_done(ring, notifier);
    *(volatile uint8_t *)payload = (uint8_t)sum;
}

static void transmit(struct vring *ring, unsigned count, uint32_t size)
{
    struct packet *batch[PACKETS];
    struct vring_tx_result result;
    count = 1 + count % PACKETS;
    for (unsigned i = 0; i < count; i++) {
        struct packet *packet = batch[i] = &packets[i];
        packet->data = packet->buffer + PACKET_HEADROOM;
        packet->size = PACKET_SIZE_MIN + (size * (i + 1)) % (PACKET_SIZE_MAX - PACKET_SIZE_MIN);
        packet->header_size = (uint16_t)(packet->size < PACKET_HEADER_MAX ? packet->size : PACKET_HEADER_MAX);
        packet->span_count = packet->size > PACKET_HEADER_MAX;
        packet->spans[0] = (struct packet_span){payload, packet->size - packet->header_size};
    }
    vring_tx(ring, batch, count, notifier, &result);
    check(result.sent + result.no_room + result.too_big == count, "result adds up");
    check(vring_broken(ring) == VRING_ERROR_NONE || result.sent == 0, "broken and sent");
}

struct record {
    uint8_t operation, flags;
    uint16_t offset, length;
    uint8_t value, place;
};

static void put_descriptor(bool packed, uint16_t ring_size, const struct record *record)
{
    unsigned choice = record->operation >> 4;
    uint64_t address = choice < REGIONS ? layout[choice].guest + (uint64_t)(int16_t)record->offset
                                        : (uint64_t)record->offset << (choice * 4);
    if (choice == 4) /* near the end of the adjacent regions */
        address = layout[2].guest + layout[2].pages * PAGE - record->offset % 64;
    uint32_t length = record->flags & 0x40 ? (uint32_t)record->length << 16 : record->length;
    if (record->flags & 0x20)
        length %= 2 * PAGE;
    uint16_t flags = record->flags & 7, third = flags, fourth = record->value;
    if (packed) {
        third = record->value;
        fourth = (uint16_t)(flags | (record->flags & 8 ? 0x80 : 0) | (record->flags & 0x10 ? 0x8000 : 0));
    }
    uint8_t *at = rings() + (record->place < 128 ? 16u * (record->place % ring_size)
                                                 : TABLES + 16u * (record->place - 128));
    memcpy(at, &address, 8);
    memcpy(at + 8, &length, 4);
    memcpy(at + 12, &third, 2);
    __atomic_store_n((uint16_t *)(void *)(at + 14), fourth, __ATOMIC_RELEASE);
}

static void put16(uint32_t at, uint16_t value)
{
    __atomic_store_n((uint16_t *)(void *)(rings() + at), value, __ATOMIC_RELEASE);
}

static void execute(struct vring *ring, bool packed, bool receives, uint16_t size,
                    const struct record *record)
{
    switch (record->operation & 15) {
    case 0: /* heads and index of a split ring: `value` buffers, from descriptor `place` on */
        for (unsigned i = 0; !packed && i <= record->value % SIZE_MAX_; i++)
            put16(DRIVER + 4 + 2 * ((record->offset + i) % size), (uint16_t)(record->place + i));
        if (!packed)
            put16(DRIVER + 2, record->length);
        break;
    case 1: /* one field of the driver's area */
        put16(DRIVER + record->place * 2u, record->length);
        break;
    case 2:
        (void)vring_arm(ring);
        break;
    case 3:
        vring_disarm(ring);
        break;
    case 4:
        notifier_flush(notifier);
        break;
    case 5:
    case 6:
        if (receives)
            receive(ring);
        else
            transmit(ring, record->value, record->length);
        break;
    case 7: /* any word of rings and tables */
        put16((record->offset % (TABLES + PAGE)) & ~1u, record->length);
        break;
    default:
        put_descriptor(packed, size, record);
    }
}

int vring_fuzz_one(bool packed, const uint8_t *data, size_t data_size)
{
    if (data_size < 4)
        return 0;
    if (!table)
        init();
    uint8_t setup = data[0];
    uint16_t base, size = (uint16_t)(packed ? 1 + data[1] % SIZE_MAX_ : 1u << (data[1] % 7));
    memcpy(&base, data + 2, 2);
    memset(rings(), 0, layout[RINGS].pages * PAGE);
    if (packed)
        base = (uint16_t)((base & 0x8000) | (base & 0x7fff) % size);
    else
        put16(DRIVER + 2, base), put16(DEVICE + 2, base);
    struct vring *ring = vring_new(setup & 1, false);
    int call = eventfd(0, EFD_NONBLOCK);
    const struct vring_config config = {.size = size,
                                        .features = VRING_F_VERSION_1 | (packed ? VRING_F_RING_PACKED : 0) |
                                                    (setup & 2 ? VRING_F_MRG_RXBUF : 0) |
                                                    (setup & 4 ? VRING_F_EVENT_IDX : 0) |
                                                    (setup & 8 ? 0 : VRING_F_INDIRECT_DESC),
                                        .memory = table,
                                        .desc = rings(),
                                        .driver = rings() + DRIVER,
                                        .device = rings() + DEVICE,
                                        .base = base,
                                        .base_used = base,
                                        .call_fd = call};
    check(ring && vring_start(ring, &config) == 0, "start");
    vring_set_enabled(ring, true);
    if (setup & 16) {
        atomic_store(&race_over, false);
        atomic_store(&race_seed, (unsigned)data_size * 2654435761u + base);
        sem_post(&race_start);
    }
    for (size_t at = 4; at + sizeof(struct record) <= data_size; at += sizeof(struct record)) {
        struct record record;
        memcpy(&record, data + at, sizeof(record));
        execute(ring, packed, setup & 1, size, &record);
    }
    for (unsigned i = 0; i < 4; i++) {
        if (setup & 1)
            receive(ring);
        else
            transmit(ring, i * 7, 100 * i);
    }
    if (setup & 16) {
        atomic_store(&race_over, true);
        sem_wait(&race_end);
    }
    notifier_flush(notifier);
    uint16_t position, used;
    vring_stop(ring, &position, &used);
    check(!packed || (position & 0x7fff) < size, "position");
    vring_free(ring);
    close(call);
    return 0;
}
