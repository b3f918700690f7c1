/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "vring_guest.h"

#define NEXT     1u
#define WRITE    2u
#define INDIRECT 4u
#define AVAIL    0x80u
#define USED     0x8000u

static uint64_t random_state = 88172645463325252ull;

static uint64_t random64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

uint32_t random_below(uint32_t limit)
{
    return (uint32_t)(random64() % limit);
}

void random_bytes(void *to, size_t size)
{
    uint8_t *bytes = to;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(random64() >> 24);
}

void guest_set16(uint8_t *at, uint16_t value)
{
    __atomic_store_n((uint16_t *)(void *)at, value, __ATOMIC_RELEASE);
}

uint16_t guest_get16(const uint8_t *at)
{
    return __atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_ACQUIRE);
}

static void put_desc(uint8_t *at, uint64_t address, uint32_t length, uint16_t third, uint16_t fourth)
{
    memcpy(at, &address, 8);
    memcpy(at + 8, &length, 4);
    memcpy(at + 12, &third, 2);
    memcpy(at + 14, &fourth, 2);
}

void guest_desc(struct guest *guest, unsigned slot, uint64_t address, uint32_t length, uint16_t third,
                uint16_t fourth)
{
    put_desc(guest->desc + 16ul * slot, address, length, third, fourth);
}

static void start(struct guest *guest)
{
    const struct guest_setup *setup = &guest->setup;
    uint64_t features = VRING_F_VERSION_1 | VRING_F_INDIRECT_DESC | setup->features;
    uint64_t desc_size, driver_size, device_size;
    if (setup->packed)
        features |= VRING_F_RING_PACKED;
    features &= ~setup->without;
    vring_area_sizes(setup->size, features, &desc_size, &driver_size, &device_size);
    uint64_t driver = (desc_size + 4095) & ~4095ull, device = (driver + driver_size + 4095) & ~4095ull;
    assert(device + device_size <= GUEST_RINGS);
    guest->desc = guest->bytes;
    guest->driver = guest->bytes + driver;
    guest->device = guest->bytes + device;
    guest->free_count = setup->size;
    guest->next_table = GUEST_RINGS;
    if (setup->packed) {
        guest->next_desc = guest->used = setup->base & 0x7fff;
        guest->avail_wrap = guest->used_wrap = setup->base >> 15;
        /* What earlier laps would have left there: neither available nor used in this one. */
        for (unsigned i = 0; i < setup->size; i++) {
            bool wrap = i < guest->used ? guest->used_wrap : !guest->used_wrap;
            guest_desc(guest, i, 0, 0, 0, wrap ? AVAIL | USED : 0);
        }
    } else {
        guest->avail = guest->used = setup->base;
        guest_set16(guest->driver + 2, setup->base);
        guest_set16(guest->device + 2, setup->base);
    }
    guest->ring = vring_new(setup->receives, setup->shared);
    struct vring_config config = {
        .size = setup->size,
        .features = features,
        .memory = guest->table,
        .desc = memory_user_range(guest->table, GUEST_USER, desc_size),
        .driver = memory_user_range(guest->table, GUEST_USER + driver, driver_size),
        .device = memory_user_range(guest->table, GUEST_USER + device, device_size),
        .base = setup->base,
        .base_used = setup->base,
        .call_fd = setup->call_fd ? setup->call_fd : -1,
    };
    int error = vring_start(guest->ring, &config);
    assert(error == 0);
    (void)error;
    vring_set_enabled(guest->ring, true);
}

struct guest *guest_new(const struct guest_setup *setup)
{
    struct guest *guest = calloc(1, sizeof(*guest));
    struct memory_region_config regions[GUEST_CUTS + 1];
    unsigned count = 0;
    uint64_t size = setup->memory ? setup->memory : 4u << 20;
    guest->setup = *setup;
    guest->fd = memfd_create("guest", MFD_CLOEXEC);
    assert(guest->fd >= 0 && ftruncate(guest->fd, (off_t)size) == 0);
    guest->bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, guest->fd, 0);
    assert(guest->bytes != MAP_FAILED);
    for (uint64_t from = 0; from < size; count++) {
        uint64_t to = count < GUEST_CUTS && setup->cuts[count] ? setup->cuts[count] : size;
        /* User addresses with gaps, so that nothing depends on their being contiguous. */
        regions[count] = (struct memory_region_config){
            GUEST_BASE + from, to - from, GUEST_USER + from + ((uint64_t)count << 32), from, guest->fd};
        from = to;
    }
    int error = memory_table_add(NULL, regions, count, &guest->table);
    assert(error == 0);
    (void)error;
    start(guest);
    return guest;
}

void guest_free(struct guest *guest)
{
    vring_free(guest->ring);
    memory_table_free(guest->table);
    munmap(guest->bytes, guest->setup.memory ? guest->setup.memory : 4u << 20);
    close(guest->fd);
    free(guest);
}

/* An indirect table of the pieces; its guest address. Alignment varies, as 2.7.5.3 demands none. */
static uint64_t add_table(struct guest *guest, const struct guest_piece *pieces, unsigned count)
{
    uint64_t size = 16ull * count;
    if (guest->next_table + size + 16 > GUEST_TABLES)
        guest->next_table = GUEST_RINGS;
    uint64_t offset = guest->next_table + random_below(2) * 8;
    guest->next_table = offset + size;
    for (unsigned i = 0; i < count; i++) {
        uint16_t flags = pieces[i].write ? WRITE : 0;
        if (guest->setup.packed)
            put_desc(guest->bytes + offset + 16 * i, pieces[i].address, pieces[i].size, 0, flags);
        else if (i + 1 < count)
            put_desc(guest->bytes + offset + 16 * i, pieces[i].address, pieces[i].size, flags | NEXT,
                     (uint16_t)(i + 1));
        else
            put_desc(guest->bytes + offset + 16 * i, pieces[i].address, pieces[i].size, flags, 0);
    }
    return GUEST_BASE + offset;
}

struct ring_entry {
    uint64_t address;
    uint32_t length;
    uint16_t flags;
};

static int add_split(struct guest *guest, const struct ring_entry *entries, unsigned count)
{
    uint16_t head = guest->next_desc, mask = (uint16_t)(guest->setup.size - 1);
    for (unsigned i = 0; i < count; i++) {
        uint16_t slot = guest->next_desc;
        guest->next_desc = (uint16_t)((slot + 1) & mask);
        bool last = i + 1 == count;
        guest_desc(guest, slot, entries[i].address, entries[i].length,
                   (uint16_t)(entries[i].flags | (last ? 0 : NEXT)), last ? 0 : guest->next_desc);
    }
    guest_set16(guest->driver + 4 + 2 * (guest->avail++ & mask), head);
    return head;
}

static int add_packed(struct guest *guest, const struct ring_entry *entries, unsigned count)
{
    uint16_t id = guest->next_id++;
    for (unsigned i = 0; i < count; i++) {
        bool last = i + 1 == count;
        uint16_t flags =
            (uint16_t)(entries[i].flags | (last ? 0 : NEXT) | (guest->avail_wrap ? AVAIL : USED));
        uint16_t slot = guest->next_desc;
        uint8_t *at = guest->desc + 16ul * slot;
        memcpy(at, &entries[i].address, 8);
        memcpy(at + 8, &entries[i].length, 4);
        /* Only the last one's id counts (2.8.6). */
        uint16_t shown = last ? id : (uint16_t)random_below(65536);
        memcpy(at + 12, &shown, 2);
        if (guest->first_valid) {
            guest_set16(at + 14, flags);
        } else {
            guest->first_valid = true;
            guest->first_slot = slot;
            guest->first_flags = flags;
        }
        if (++guest->next_desc == guest->setup.size) {
            guest->next_desc = 0;
            guest->avail_wrap = !guest->avail_wrap;
        }
    }
    return id;
}

int guest_add(struct guest *guest, const struct guest_piece *pieces, unsigned count, enum guest_layout layout)
{
    struct ring_entry entries[512];
    unsigned entry_count = 0, direct = layout == GUEST_DIRECT ? count : layout == GUEST_MIXED ? 1 : 0;
    assert(count > 0 && direct < 511 && !(layout == GUEST_MIXED && (guest->setup.packed || count < 2)));
    if (direct + (direct < count) > guest->free_count)
        return -1;
    for (; entry_count < direct; entry_count++)
        entries[entry_count] = (struct ring_entry){pieces[entry_count].address, pieces[entry_count].size,
                                                   pieces[entry_count].write ? WRITE : 0};
    if (direct < count)
        entries[entry_count++] = (struct ring_entry){add_table(guest, pieces + direct, count - direct),
                                                     16u * (count - direct), INDIRECT};
    int id = guest->setup.packed ? add_packed(guest, entries, entry_count)
                                 : add_split(guest, entries, entry_count);
    guest->held[id] = (uint16_t)entry_count;
    guest->free_count -= entry_count;
    return id;
}

void guest_publish(struct guest *guest)
{
    if (!guest->setup.packed) {
        guest_set16(guest->driver + 2, guest->avail);
    } else if (guest->first_valid) {
        guest_set16(guest->desc + 16ul * guest->first_slot + 14, guest->first_flags);
        guest->first_valid = false;
    }
}

bool guest_used(struct guest *guest, uint16_t *id, uint32_t *size)
{
    if (!guest->setup.packed) {
        uint32_t element[2];
        if (guest_get16(guest->device + 2) == guest->used)
            return false;
        memcpy(element, guest->device + 4 + 8ul * (guest->used++ & (guest->setup.size - 1)), 8);
        *id = (uint16_t)element[0];
        *size = element[1];
    } else {
        const uint8_t *at = guest->desc + 16ul * guest->used;
        uint16_t flags = guest_get16(at + 14);
        if (!!(flags & AVAIL) != guest->used_wrap || !!(flags & USED) != guest->used_wrap)
            return false;
        memcpy(id, at + 12, 2);
        memcpy(size, at + 8, 4);
        guest->used = (uint16_t)(guest->used + guest->held[*id]);
        if (guest->used >= guest->setup.size) {
            guest->used = (uint16_t)(guest->used - guest->setup.size);
            guest->used_wrap = !guest->used_wrap;
        }
    }
    guest->free_count += guest->held[*id];
    return true;
}

struct packet_vector *vector_new(void)
{
    struct packet_vector *vector = aligned_alloc(64, sizeof(*vector));
    memset(vector, 0xa5, sizeof(*vector));
    packet_vector_init(vector);
    return vector;
}

void packet_bytes(const struct packet *packet, uint8_t *to)
{
    memcpy(to, packet->data, packet->header_size);
    to += packet->header_size;
    for (unsigned i = 0; i < packet->span_count; i++) {
        memcpy(to, packet->spans[i].base, packet->spans[i].size);
        to += packet->spans[i].size;
    }
}

struct packet *packet_make(const uint8_t *bytes, uint32_t size, uint32_t private_size, unsigned spans)
{
    struct packet *packet = aligned_alloc(64, sizeof(*packet));
    memset(packet, 0, sizeof(*packet));
    if (private_size > size)
        private_size = size;
    packet->buffer = aligned_alloc(64, (PACKET_HEADROOM + private_size + 63) & ~63ul);
    packet->data = packet->buffer + PACKET_HEADROOM;
    memcpy(packet->data, bytes, private_size);
    packet->size = size;
    packet->header_size = (uint16_t)private_size;
    packet->spans = calloc(spans + 1, sizeof(*packet->spans));
    uint32_t left = size - private_size;
    while (left > 0) {
        uint32_t piece = packet->span_count + 1u >= spans ? left : 1 + random_below(left);
        packet->spans[packet->span_count++] = (struct packet_span){bytes + size - left, piece};
        left -= piece;
    }
    return packet;
}

void packet_free(struct packet *packet)
{
    free(packet->buffer);
    free(packet->spans);
    free(packet);
}
