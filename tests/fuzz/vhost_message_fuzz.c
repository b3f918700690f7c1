/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A frontend made of bytes: each input is a program of messages (with descriptors), writes to guest memory
 * and rounds of a worker, against a real backend. Afterwards nothing of it may be left: descriptors and
 * mappings are counted.
 *
 * Steps, by the first byte modulo 8:
 *   0  a message: request, flags, claimed size, descriptors, then that many bytes of payload
 *   1  the same with a sensible payload: index and number
 *   2  a proper beginning: features (next byte picks them), memory
 *   3  a proper ring (next byte: which), from there on it runs
 *   4  bytes into guest memory: offset, count
 *   5  a worker's round over all rings
 *   6  some bytes of a message, and no more; or (odd next byte) guest memory is truncated
 *   7  the periodic check; a ring is given (next byte) buffers
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backend_private.h"

#define PAIRS       2u
#define MEMORY_SIZE 0x80000u
#define GUEST       0x10000000ull
#define USER        0x7f0000000000ull
#define RING_SIZE   16u
#define STEPS_MAX   200u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vhost_backend *backend;
static struct notifier *notifier;
static struct packet_vector *vector;
static uint8_t *memory;
static int memory_fd, event_fd, null_fd, peer;
static bool truncated;

struct input {
    const uint8_t *next, *end;
};

static uint8_t take(struct input *input)
{
    return input->next < input->end ? *input->next++ : 0;
}

static void take_bytes(struct input *input, void *to, size_t size)
{
    uint8_t *bytes = to;
    for (size_t i = 0; i < size; i++)
        bytes[i] = take(input);
}

static void nothing(void *context)
{
}

static void kick_fd(void *context, unsigned ring, int fd)
{
}

static void announce(void *context, const uint8_t mac[6])
{
}

static void log_line(void *context, int level, const char *text)
{
}

static void require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "vhost_message_fuzz: %s\n", what);
        abort();
    }
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    require(directory, "no /proc");
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static void set_up(void)
{
    static const struct vhost_backend_events events = {nothing, nothing, kick_fd, announce, log_line};
    char path[64];
    snprintf(path, sizeof(path), "/tmp/weft-vhost-fuzz.%d", (int)getpid());
    const struct vhost_backend_config config = {
        .path = path, .queue_pairs = PAIRS, .mtu = 1500, .socket_group = (gid_t)-1};
    require(vhost_backend_process_init() == 0, "process_init");
    backend = vhost_backend_new(&config, &events, NULL);
    require(backend, "backend");
    unlink(path); /* connections are made below; nothing is left behind */
    notifier = notifier_new();
    vector = aligned_alloc(64, (sizeof(*vector) + 63) / 64 * 64);
    memory_fd = memfd_create("fuzz", MFD_CLOEXEC);
    event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    require(notifier && vector && ftruncate(memory_fd, MEMORY_SIZE) == 0, "memory");
    packet_vector_init(vector);
    memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
    require(memory != MAP_FAILED, "mmap");
}

/* Lets the backend work, and reads what it answers. */
static void run(void)
{
    uint8_t replies[4096];
    for (unsigned i = 0; i < 4; i++)
        vhost_backend_run(backend);
    while (recv(peer, replies, sizeof(replies), MSG_DONTWAIT) > 0)
        continue;
}

/* 2 bits a descriptor kind, up to 3 of them; 7 of one kind for the largest count. */
static unsigned pick_fds(uint8_t choice, int *fds)
{
    const int kinds[4] = {-1, memory_fd, event_fd, null_fd};
    unsigned count = 0;
    for (unsigned i = 0; i < 3; i++) {
        int fd = kinds[choice >> 2 * i & 3];
        if (fd >= 0)
            fds[count++] = fd;
    }
    while ((choice & 0xc0) && count > 0 && count < VHOST_MESSAGE_FDS_MAX)
        fds[count++] = fds[0];
    return count;
}

static void send_message(struct vhost_message *message, uint8_t fd_choice)
{
    int fds[VHOST_MESSAGE_FDS_MAX];
    (void)vhost_send(peer, message, fds, pick_fds(fd_choice, fds));
    run();
}

static void step_message(struct input *input)
{
    struct vhost_message message = {.request = take(input) % 48, .flags = VHOST_FLAG_VERSION};
    message.flags ^= take(input) & 0x1f & ~(take(input) & 0x17u);
    message.size = take(input);
    uint8_t fds = take(input);
    take_bytes(input, &message.payload, message.size);
    send_message(&message, fds);
}

static void say_state(uint32_t request, uint32_t index, uint32_t num, uint8_t fds)
{
    struct vhost_message message = {.request = request, .flags = VHOST_FLAG_VERSION, .size = 8};
    message.payload.state = (struct vhost_ring_state){.index = index, .num = num};
    send_message(&message, fds);
}

static void step_state(struct input *input)
{
    uint32_t request = take(input) % 48, index = take(input), num = take(input);
    say_state(request, index % 6, num << (index >> 4), take(input));
}

static void step_begin(struct input *input)
{
    uint8_t choice = take(input);
    uint64_t features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VHOST_USER_F_PROTOCOL_FEATURES;
    struct vhost_message message = {
        .request = VHOST_SET_PROTOCOL_FEATURES, .flags = VHOST_FLAG_VERSION, .size = 8};
    features |= (choice & 1) ? VRING_F_RING_PACKED : 0;
    features |= (choice & 2) ? VRING_F_INDIRECT_DESC : 0;
    features |= (choice & 4) ? VRING_F_MRG_RXBUF : 0;
    features |= (choice & 8) ? VRING_F_EVENT_IDX : 0;
    features |= (choice & 16) ? VRING_F_IN_ORDER : 0;
    message.payload.u64 = backend->protocol_offered;
    send_message(&message, 0);
    message.request = VHOST_SET_FEATURES;
    message.payload.u64 = features;
    send_message(&message, 0);
    message =
        (struct vhost_message){.request = VHOST_SET_MEM_TABLE, .flags = VHOST_FLAG_VERSION, .size = 8 + 64};
    message.payload.table.count = 2;
    message.payload.table.regions[0] =
        (struct vhost_wire_region){.guest_address = GUEST, .size = MEMORY_SIZE / 2, .user_address = USER};
    message.payload.table.regions[1] = (struct vhost_wire_region){.guest_address = GUEST + MEMORY_SIZE / 2,
                                                                  .size = MEMORY_SIZE / 2,
                                                                  .user_address = USER + MEMORY_SIZE / 2,
                                                                  .mmap_offset = MEMORY_SIZE / 2};
    send_message(&message, 1 | 1 << 2);
}

static void step_ring(struct input *input)
{
    uint32_t index = take(input) % (2 * PAIRS);
    uint64_t area = USER + index * 0x1000;
    bool packed = backend->session.features & VRING_F_RING_PACKED;
    struct vhost_message message = {.request = VHOST_SET_VRING_ADDR, .flags = VHOST_FLAG_VERSION, .size = 40};
    message.payload.address = (struct vhost_ring_address){
        .index = index, .desc = area, .avail = area + 0x400, .used = area + 0x800};
    say_state(VHOST_SET_VRING_NUM, index, RING_SIZE, 0);
    say_state(VHOST_SET_VRING_BASE, index, packed ? 0x80008000 : 0, 0);
    send_message(&message, 0);
    say_state(VHOST_SET_VRING_CALL, index, 0, 2);
    say_state(VHOST_SET_VRING_ERR, index, 0, 2);
    say_state(VHOST_SET_VRING_KICK, index, 0, 2);
    say_state(VHOST_SET_VRING_ENABLE, index, 1, 0);
}

static void step_poke(struct input *input)
{
    uint32_t offset = take(input) | (uint32_t)take(input) << 8, count = take(input) % 64;
    offset = (offset * 2) % (MEMORY_SIZE - 64);
    if (!truncated)
        take_bytes(input, memory + offset, count);
}

/* Buffers in ring order, of an input's size: the data path is reached without luck. */
static void step_give(struct input *input)
{
    uint32_t ring = take(input) % (2 * PAIRS), size = take(input) * 16u + 1;
    uint8_t *area = memory + ring * 0x1000;
    if (truncated)
        return;
    for (uint32_t i = 0; i < RING_SIZE; i++) {
        uint64_t address = GUEST + 0x8000 + i * 0x1000;
        uint16_t direction = ring % 2 ? 0 : 2;
        memcpy(area + i * 16, &address, 8);
        memcpy(area + i * 16 + 8, &size, 4);
        if (backend->session.features & VRING_F_RING_PACKED) {
            uint16_t words[2] = {(uint16_t)i, (uint16_t)(direction | 0x80)};
            memcpy(area + i * 16 + 12, words, 4);
        } else {
            uint16_t words[2] = {direction, 0}, head = (uint16_t)i;
            memcpy(area + i * 16 + 12, words, 4);
            memcpy(area + 0x400 + 4 + i * 2, &head, 2);
        }
    }
    uint16_t index;
    memcpy(&index, area + 0x402, 2);
    index = (uint16_t)(index + RING_SIZE / 2);
    memcpy(area + 0x402, &index, 2);
}

static void step_worker(void)
{
    struct packet *packets[PACKET_VECTOR_MAX];
    struct vring_tx_result result;
    for (unsigned pair = 0; pair < PAIRS; pair++) {
        struct vring *from = vhost_backend_ring(backend, 2 * pair + 1);
        if (!vring_usable(from))
            continue;
        unsigned count = vring_rx(from, vector);
        for (unsigned i = 0; i < count; i++)
            packets[i] = &vector->packets[i];
        for (unsigned to = 0; to < PAIRS; to++)
            vring_tx(vhost_backend_ring(backend, 2 * to), packets, count, notifier, &result);
        vring_rx_done(from, notifier);
        vring_arm(from);
    }
    notifier_flush(notifier);
}

static void step_break_off(struct input *input)
{
    uint8_t bytes[16], choice = take(input);
    if (choice & 1) {
        truncated = truncated || ftruncate(memory_fd, choice & 2 ? 0 : MEMORY_SIZE / 2) == 0;
        return;
    }
    take_bytes(input, bytes, sizeof(bytes));
    (void)!send(peer, bytes, 1 + choice / 2 % sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT);
    run();
}

static void connect_peer(void)
{
    int ends[2];
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0, "socketpair");
    peer = ends[0];
    backend_adopt(backend, ends[1]);
    require(backend->connection_fd == ends[1], "not adopted");
}

static void check_clean(unsigned descriptors)
{
    struct vhost_backend_state state;
    vhost_backend_state(backend, &state);
    require(!state.connected && state.regions == 0 && state.pairs_enabled == 0, "something is left");
    require(open_descriptors() == descriptors, "descriptors leaked");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {.next = data, .end = data + size};
    if (!backend)
        set_up();
    if (truncated)
        require(ftruncate(memory_fd, MEMORY_SIZE) == 0, "ftruncate");
    truncated = false;
    memset(memory, 0, 0x8000);
    unsigned descriptors = open_descriptors();
    connect_peer();
    for (unsigned i = 0; i < STEPS_MAX && input.next < input.end && backend->connection_fd >= 0; i++) {
        switch (take(&input) % 8) {
        case 0:
            step_message(&input);
            break;
        case 1:
            step_state(&input);
            break;
        case 2:
            step_begin(&input);
            break;
        case 3:
            step_ring(&input);
            break;
        case 4:
            step_poke(&input);
            break;
        case 5:
            step_worker();
            break;
        case 6:
            step_break_off(&input);
            break;
        default:
            vhost_backend_check(backend);
            step_give(&input);
        }
    }
    close(peer);
    for (unsigned i = 0; i < 100 && backend->connection_fd >= 0; i++)
        vhost_backend_run(backend);
    check_clean(descriptors);
    return 0;
}
