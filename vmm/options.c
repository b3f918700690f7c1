/* SPDX-License-Identifier: BSD-3-Clause */
#include <getopt.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "options.h"

#define MEMORY_MIN      (16ull << 20)
#define MEMORY_MAX      (1ull << 40)
#define NAME_MAX_LENGTH 63u

struct option_text {
    const char *name, *argument, *help;
};

static const struct option_text option_texts[] = {
    {"name", "NAME", "of the machine, in messages and status (vm)"},
    {"kernel", "FILE", "Linux bzImage, or ELF with a PVH entry"},
    {"initrd", "FILE", "initial RAM disk"},
    {"cmdline", "TEXT", "kernel command line (console=ttyS0)"},
    {"memory", "SIZE", "of RAM: 512M, 2G (256M)"},
    {"hugepages", "on|off|auto", "RAM from 2 MiB hugepages; auto: if there are enough (auto)"},
    {"preallocate", NULL, "take all of RAM from the host at the start"},
    {"cpus", "N", "virtual CPUs, 1-16 (1)"},
    {"pin", "CPU,CPU,...", "host CPU of each virtual one"},
    {"cpu", "-NAME,...", "hide CPU features, names as in /proc/cpuinfo"},
    {"net", "socket=PATH[,listen][,mac=MAC][,queues=N][,mtu=N]",
     "network device of a vhost-user backend; may be repeated"},
    {"disk", "path=FILE[,readonly][,serial=TEXT][,threads=N]",
     "raw disk image or block device; may be repeated"},
    {"disk", "vhost=PATH", "disk of a vhost-user backend"},
    {"cloud-init", "DIR|FILE",
     "NoCloud seed disk from user-data, meta-data, network-config in DIR, or user-data FILE"},
    {"no-rng", NULL, "no entropy device"},
    {"no-balloon", NULL, "no memory balloon"},
    {"console", "WHERE", "serial port: stdio, file:PATH, socket:PATH, none (stdio)"},
    {"console-log", "FILE", "a copy of what the guest says on its serial port"},
    {"control", "PATH", "control socket"},
    {"exit-file", "FILE", "the exit code is written there at the end"},
    {"stop-timeout", "SECONDS", "SIGTERM presses the power button and waits this long (30)"},
    {"no-reboot", NULL, "a reset by the guest ends the machine (exit code 16)"},
    {"wait", "SECONDS", "for the backends to appear at the start (0)"},
    {"user", "NAME", "to run as, when started by root (weft-vmm, else nobody)"},
    {"no-sandbox", NULL, "keep user, namespaces and system calls (debugging)"},
    {"cgroup", "DIR", "an existing cgroup v2 directory to make the machine's in"},
    {"cpu-limit", "PERCENT", "of one host CPU, by cgroup: 150 is one and a half"},
    {"memory-limit", "SIZE", "of the whole process, by cgroup"},
    {"dump-acpi", "DIR", "write the ACPI tables to DIR and exit"},
    {"verbose", NULL, "tell more"},
    {"help", NULL, "this text"},
    {"version", NULL, "the version"},
};
#define OPTION_COUNT (sizeof(option_texts) / sizeof(option_texts[0]))

static void print_help(void)
{
    printf("usage: weft-vmm --kernel FILE [OPTIONS]\n\nRuns one virtual machine in this process.\n\n");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option_text *text = &option_texts[i];
        printf("  --%s%s%s\n        %s\n", text->name, text->argument ? " " : "",
               text->argument ? text->argument : "", text->help);
    }
    printf("\nExit codes: 0 powered off, 1 failed, 2 usage, 16 reset with --no-reboot,\n"
           "17 stopped without the guest's consent, 18 the guest crashed.\n");
}

static int parse_size(const char *text, uint64_t *size)
{
    char *end;
    if (*text < '0' || *text > '9')
        return -1;
    unsigned long long value = strtoull(text, &end, 10);
    unsigned shift = 20;
    switch (*end) {
    case 'k':
    case 'K':
        shift = 10;
        end++;
        break;
    case 'm':
    case 'M':
        end++;
        break;
    case 'g':
    case 'G':
        shift = 30;
        end++;
        break;
    default:
        break;
    }
    if (*end || value > UINT64_MAX >> shift)
        return -1;
    *size = value << shift;
    return 0;
}

static int parse_number(const char *text, unsigned minimum, unsigned maximum, unsigned *number)
{
    char *end;
    if (*text < '0' || *text > '9')
        return -1;
    unsigned long value = strtoul(text, &end, 10);
    if (*end || value < minimum || value > maximum)
        return -1;
    *number = (unsigned)value;
    return 0;
}

static int parse_mac(const char *text, uint8_t mac[6])
{
    for (unsigned i = 0; i < 6; i++, text += 3) {
        if (strspn(text, "0123456789abcdefABCDEF") < 2 || text[2] != (i < 5 ? ':' : 0))
            return -1;
        mac[i] = (uint8_t)strtoul(text, NULL, 16);
    }
    return mac[0] & 1 ? -1 : 0; /* a group address */
}

static int parse_pins(const char *text, struct options *options)
{
    for (unsigned i = 0; *text; i++) {
        char *end;
        if (i == OPTIONS_CPUS_MAX || *text < '0' || *text > '9')
            return -1;
        options->pins[i] = (int)strtoul(text, &end, 10);
        if (options->pins[i] < 0 || options->pins[i] > 4095 || (*end && *end != ','))
            return -1;
        text = *end ? end + 1 : end;
    }
    return 0;
}

/* The next key of "key=value,key,..."; the text is cut apart. False: no more. */
static bool next_pair(char **text, char **key, char **value)
{
    if (!*text || !**text)
        return false;
    *key = *text;
    char *comma = strchr(*text, ',');
    if (comma)
        *comma = 0;
    *text = comma ? comma + 1 : NULL;
    *value = strchr(*key, '=');
    if (*value)
        *(*value)++ = 0;
    return true;
}

static int bad(const char *option, const char *what, const char *value)
{
    fprintf(stderr, "weft-vmm: --%s: %s%s%s%s\n", option, what, value ? " \"" : "", value ? value : "",
            value ? "\"" : "");
    return -1;
}

static int add_net(struct options *options, char *text)
{
    char *key, *value;
    if (options->net_count == OPTIONS_NETS_MAX)
        return bad("net", "no more than 8 network devices", NULL);
    struct options_net *net = &options->nets[options->net_count++];
    unsigned number = 0;
    *net = (struct options_net){.queue_pairs = 1};
    while (next_pair(&text, &key, &value)) {
        if (strcmp(key, "listen") == 0 && !value)
            net->listen = true;
        else if (!value || !*value)
            return bad("net", "expected key=value, found", key);
        else if (strcmp(key, "socket") == 0)
            net->socket = value;
        else if (strcmp(key, "mac") == 0) {
            if (parse_mac(value, net->mac))
                return bad("net", "not a unicast MAC address (52:54:00:00:00:01):", value);
        } else if (strcmp(key, "queues") == 0) {
            if (parse_number(value, 1, 8, &net->queue_pairs))
                return bad("net", "queues is a number from 1 to 8, not", value);
        } else if (strcmp(key, "mtu") == 0) {
            if (parse_number(value, 68, 65535, &number))
                return bad("net", "mtu is a number from 68 to 65535, not", value);
            net->mtu = (uint16_t)number;
        } else
            return bad("net", "the keys are socket, listen, mac, queues and mtu, not", key);
    }
    return net->socket ? 0 : bad("net", "socket=PATH is missing", NULL);
}

static int add_disk(struct options *options, char *text)
{
    char *key, *value;
    if (options->disk_count == OPTIONS_DISKS_MAX)
        return bad("disk", "no more than 8 disks", NULL);
    struct options_disk *disk = &options->disks[options->disk_count++];
    *disk = (struct options_disk){.threads = 2};
    while (next_pair(&text, &key, &value)) {
        if (strcmp(key, "readonly") == 0 && !value)
            disk->read_only = true;
        else if (!value || !*value)
            return bad("disk", "expected key=value, found", key);
        else if (strcmp(key, "path") == 0)
            disk->path = value;
        else if (strcmp(key, "vhost") == 0) {
            disk->path = value;
            disk->vhost = true;
        } else if (strcmp(key, "serial") == 0) {
            if (strlen(value) > 20)
                return bad("disk", "a serial number has at most 20 characters:", value);
            disk->serial = value;
        } else if (strcmp(key, "threads") == 0) {
            if (parse_number(value, 1, 8, &disk->threads))
                return bad("disk", "threads is a number from 1 to 8, not", value);
        } else
            return bad("disk", "the keys are path, readonly, serial, threads and vhost, not", key);
    }
    if (!disk->path)
        return bad("disk", "path=FILE or vhost=SOCKET is missing", NULL);
    return disk->vhost && (disk->read_only || disk->serial)
               ? bad("disk", "readonly and serial are the backend's matter with vhost=", NULL)
               : 0;
}

static int set_hugepages(struct options *options, const char *value)
{
    if (strcmp(value, "on") == 0)
        options->hugepages = RAM_HUGEPAGES_ON;
    else if (strcmp(value, "off") == 0)
        options->hugepages = RAM_HUGEPAGES_OFF;
    else if (strcmp(value, "auto") == 0)
        options->hugepages = RAM_HUGEPAGES_AUTO;
    else
        return bad("hugepages", "on, off or auto, not", value);
    return 0;
}

static int set_name(struct options *options, const char *value)
{
    size_t length = strlen(value);
    if (length == 0 || length > NAME_MAX_LENGTH ||
        strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./") != length)
        return bad("name", "1 to 63 letters, digits and -_./, not", value);
    options->name = value;
    return 0;
}

/* Options that are a string or a switch, and no more. */
static const struct simple {
    const char *name;
    size_t offset;
    bool text, value;
} simple[] = {
    {"kernel", offsetof(struct options, kernel), true, false},
    {"initrd", offsetof(struct options, initrd), true, false},
    {"cmdline", offsetof(struct options, command_line), true, false},
    {"cpu", offsetof(struct options, cpu_mask), true, false},
    {"cloud-init", offsetof(struct options, cloud_init), true, false},
    {"console", offsetof(struct options, console), true, false},
    {"console-log", offsetof(struct options, console_log), true, false},
    {"control", offsetof(struct options, control), true, false},
    {"exit-file", offsetof(struct options, exit_file), true, false},
    {"user", offsetof(struct options, user), true, false},
    {"cgroup", offsetof(struct options, cgroup), true, false},
    {"dump-acpi", offsetof(struct options, dump_acpi), true, false},
    {"preallocate", offsetof(struct options, preallocate), false, true},
    {"no-rng", offsetof(struct options, rng), false, false},
    {"no-balloon", offsetof(struct options, balloon), false, false},
    {"no-reboot", offsetof(struct options, reboot), false, false},
    {"no-sandbox", offsetof(struct options, sandbox), false, false},
    {"verbose", offsetof(struct options, verbose), false, true},
};

static int set_option(struct options *options, const char *name, char *value)
{
    for (size_t i = 0; i < sizeof(simple) / sizeof(simple[0]); i++) {
        if (strcmp(name, simple[i].name) != 0)
            continue;
        char *field = (char *)options + simple[i].offset;
        if (simple[i].text)
            *(const char **)(void *)field = value;
        else
            *(bool *)(void *)field = simple[i].value;
        return 0;
    }
    if (strcmp(name, "net") == 0)
        return add_net(options, value);
    if (strcmp(name, "disk") == 0)
        return add_disk(options, value);
    if (strcmp(name, "name") == 0)
        return set_name(options, value);
    if (strcmp(name, "hugepages") == 0)
        return set_hugepages(options, value);
    if (strcmp(name, "memory") == 0)
        return parse_size(value, &options->memory) || options->memory < MEMORY_MIN ||
                       options->memory > MEMORY_MAX || options->memory % 4096
                   ? bad(name, "a size from 16M to 1024G, not", value)
                   : 0;
    if (strcmp(name, "memory-limit") == 0)
        return parse_size(value, &options->cgroup_memory) ? bad(name, "not a size:", value) : 0;
    if (strcmp(name, "cpu-limit") == 0)
        return parse_number(value, 1, 6400, &options->cgroup_cpu_percent)
                   ? bad(name, "not a percentage:", value)
                   : 0;
    if (strcmp(name, "cpus") == 0)
        return parse_number(value, 1, OPTIONS_CPUS_MAX, &options->cpus) ? bad(name, "1 to 16, not", value)
                                                                        : 0;
    if (strcmp(name, "pin") == 0)
        return parse_pins(value, options) ? bad(name, "CPU numbers with commas, not", value) : 0;
    if (strcmp(name, "stop-timeout") == 0)
        return parse_number(value, 0, 86400, &options->stop_timeout) ? bad(name, "not seconds:", value) : 0;
    return parse_number(value, 0, 86400, &options->wait) ? bad(name, "not seconds:", value) : 0;
}

enum options_result options_parse(struct options *options, int argc, char **argv)
{
    struct option table[OPTION_COUNT + 1] = {0};
    *options = (struct options){.name = "vm",
                                .command_line = "console=ttyS0",
                                .memory = 256ull << 20,
                                .cpus = 1,
                                .console = "stdio",
                                .stop_timeout = 30,
                                .sandbox = true,
                                .rng = true,
                                .balloon = true,
                                .reboot = true};
    for (unsigned i = 0; i < OPTIONS_CPUS_MAX; i++)
        options->pins[i] = -1;
    for (size_t i = 0; i < OPTION_COUNT; i++)
        table[i] = (struct option){option_texts[i].name, option_texts[i].argument != NULL, NULL, (int)i + 1};
    int found;
    opterr = 1;
    while ((found = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (found == '?')
            return OPTIONS_BAD;
        const char *name = option_texts[found - 1].name;
        if (strcmp(name, "help") == 0) {
            print_help();
            return OPTIONS_DONE;
        }
        if (strcmp(name, "version") == 0) {
            printf("weft-vmm " WEFT_VERSION "\n");
            return OPTIONS_DONE;
        }
        if (set_option(options, name, optarg))
            return OPTIONS_BAD;
    }
    if (optind < argc) {
        fprintf(stderr, "weft-vmm: \"%s\" is not an option; see weft-vmm --help\n", argv[optind]);
        return OPTIONS_BAD;
    }
    if (!options->kernel && !options->dump_acpi) {
        fprintf(stderr, "weft-vmm: --kernel FILE is missing; see weft-vmm --help\n");
        return OPTIONS_BAD;
    }
    if ((options->cgroup_memory || options->cgroup_cpu_percent) && !options->cgroup) {
        fprintf(stderr, "weft-vmm: --cpu-limit and --memory-limit need --cgroup DIR\n");
        return OPTIONS_BAD;
    }
    return OPTIONS_RUN;
}
