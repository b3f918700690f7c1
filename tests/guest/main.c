/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest.h"

/* PVH start info, as far as it is used. */
struct start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, command_line, rsdp, memory_map;
    uint32_t memory_map_count;
};

static const struct mode {
    const char *name;
    bool (*run)(void);
    bool net;
} modes[] = {
    {"ping", mode_ping, true},        {"udp", mode_udp, true},          {"tcp", mode_tcp, true},
    {"echo", mode_echo, true},        {"flood", mode_flood, true},      {"sink", mode_sink, true},
    {"queues", mode_queues, true},    {"link", mode_link, true},        {"disk", mode_disk, false},
    {"rng", mode_rng, false},         {"balloon", mode_balloon, false}, {"smp", mode_smp, false},
    {"reset", mode_reset, false},     {"intx", mode_intx, false},       {"probe", mode_probe, false},
    {"console", mode_console, false}, {"hostile", mode_hostile, false}, {"typed", mode_typed, false},
};

void guest_main(const struct start_info *start);

static void print_memory(const struct start_info *start)
{
    const struct {
        uint64_t address, size;
        uint32_t type, reserved;
    } *range = (const void *)start->memory_map;
    for (uint32_t i = 0; start->version >= 1 && i < start->memory_map_count; i++)
        print("memory address=%lx size=%lx type=%u\n", range[i].address, range[i].size, range[i].type);
    for (uint32_t i = 0; i < start->module_count; i++) {
        const uint64_t *module = (const uint64_t *)start->modules + 4 * i;
        uint32_t sum = 0;
        for (uint64_t at = 0; at < module[1]; at++)
            sum = sum * 31 + ((const uint8_t *)module[0])[at];
        print("module size=%lu sum=%08x\n", module[1], sum);
    }
}

/* Runs the modes of mode=a,b,c in turn. */
static bool run(const char *list)
{
    bool right = true, net = false;
    while (*list && *list != ' ') {
        const struct mode *found = NULL;
        size_t length = 0;
        while (list[length] && list[length] != ',' && list[length] != ' ')
            length++;
        for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
            if (strlen(modes[i].name) == length && memcmp(modes[i].name, list, length) == 0)
                found = &modes[i];
        if (!found)
            fail("unknown mode");
        if (found->net && !net && !(net = net_open((uint16_t)argument_number("queues", 1))))
            fail("no network device");
        bool one = found->run();
        print("mode name=%s ok=%u\n", found->name, one);
        right = right && one;
        list += length + (list[length] == ',');
    }
    return right;
}

void guest_main(const struct start_info *start)
{
    static char line[4096];
    uint64_t begin = tsc();
    const char *text = (const char *)start->command_line;
    for (size_t i = 0; text && text[i] && i + 1 < sizeof(line); i++)
        line[i] = text[i];
    set_command_line(line);
    acpi_init(start->rsdp);
    cpu_init();
    print("start cpus=%u tsc=%lu cmdline=%s\n", cpu_count(), begin, line);
    if (argument("memory"))
        print_memory(start);
    const char *list = argument("mode");
    bool right = list ? run(list) : true;
    print("done ok=%u us=%lu\n", right, now_us());
    if (argument("stay")) {
        while (!power_button_pressed())
            sleep_unless(interrupt_total, 1000000);
        print("button\n");
    }
    power_off();
}
