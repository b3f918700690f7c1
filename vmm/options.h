/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* The command line of weft-vmm, parsed and checked. One table gives the parser and --help. */
#include <stdbool.h>
#include <stdint.h>
#include "ram.h"

#define OPTIONS_CPUS_MAX  16u
#define OPTIONS_DISKS_MAX 8u
#define OPTIONS_NETS_MAX  8u

struct options_disk {
    const char *path; /* file, block device or vhost-user socket */
    bool vhost;
    bool read_only;
    const char *serial; /* NULL: none */
    unsigned threads;
};

struct options_net {
    const char *socket;
    uint8_t mac[6]; /* zero: the backend's */
    unsigned queue_pairs;
    uint16_t mtu; /* 0: the backend's */
    bool listen;  /* the backend dials */
};

struct options {
    const char *name, *kernel, *initrd, *command_line;
    uint64_t memory; /* bytes */
    unsigned cpus;
    int pins[OPTIONS_CPUS_MAX]; /* host CPU of each vCPU, -1: any */
    const char *cpu_mask;
    enum ram_hugepages hugepages;
    bool preallocate;
    unsigned disk_count, net_count;
    struct options_disk disks[OPTIONS_DISKS_MAX];
    struct options_net nets[OPTIONS_NETS_MAX];
    const char *console, *control, *cloud_init, *dump_acpi;
    const char *console_log, *exit_file; /* NULL: none */
    const char *user;                    /* NULL: weft-vmm, or nobody */
    const char *cgroup;          /* an existing cgroup v2 directory, in which one is made for the machine */
    uint64_t cgroup_memory;      /* bytes; 0: no limit */
    unsigned cgroup_cpu_percent; /* of one host CPU; 0: no limit */
    unsigned stop_timeout, wait; /* seconds */
    bool sandbox, rng, balloon, reboot, verbose;
};

enum options_result { OPTIONS_RUN, OPTIONS_DONE, OPTIONS_BAD };

/* Messages go to standard error, --help and --version to standard output. Strings point into argv. */
enum options_result options_parse(struct options *options, int argc, char **argv);
