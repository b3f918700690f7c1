/* SPDX-License-Identifier: BSD-3-Clause */
/* Makes the virtio devices that the options ask for, in the order of their PCI slots: networks, disks, rng,
 * balloon. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "log.h"
#include "machine.h"
#include "sandbox.h"
#include "seed.h"

#define LISTEN_WAIT_MS 10000u

static struct virtio_host host_of(struct machine *machine)
{
    return (struct virtio_host){.bus = &machine->pci, .loop = machine->loop, .ram = &machine->ram};
}

static int add_net(struct machine *machine, unsigned index)
{
    const struct options_net *option = &machine->options->nets[index];
    struct virtio_host host = host_of(machine);
    struct net_config config = {.path = option->socket,
                                .queue_pairs = option->queue_pairs,
                                .mtu = option->mtu,
                                .listen = option->listen,
                                .wait_ms = machine->options->wait * 1000};
    if (option->listen && !config.wait_ms)
        config.wait_ms = LISTEN_WAIT_MS; /* nobody can have dialled yet */
    const char *what = "make the device";
    memcpy(config.mac, option->mac, sizeof(config.mac));
    machine->nets[index] = net_new(&host, index, &config, &what);
    if (machine->nets[index])
        return 0;
    int error = -errno;
    log_error("--net: %s: cannot %s: %s%s", option->socket, what, strerror(-error),
              error == -ENOENT || error == -ECONNREFUSED
                  ? "; is the switch running, and is there such a port? (--wait SECONDS waits for it)"
              : error == -EAGAIN ? " in time; is there a port with client: true for this socket?"
              : error == -EACCES ? "; may the user open the socket?"
                                 : "");
    return error;
}

/* One machine a disk: a second writer would destroy it. */
static int lock_disk(int fd, bool read_only)
{
    struct flock lock = {.l_type = read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_SETLK, &lock) ? -errno : 0;
}

static int open_disk(const struct options_disk *option)
{
    struct stat stat;
    int fd = open(option->path, (option->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        log_error("--disk: %s: %s", option->path, strerror(errno));
        return -errno;
    }
    const char *why = NULL;
    if (fstat(fd, &stat) || (!S_ISREG(stat.st_mode) && !S_ISBLK(stat.st_mode)))
        why = "is neither a file nor a block device";
    else if (S_ISREG(stat.st_mode) && (stat.st_size == 0 || stat.st_size % 512))
        why =
            "is not a raw image: its size is not a multiple of 512 bytes (qcow2: see vhost= in weft-vmm(1))";
    else if (lock_disk(fd, option->read_only))
        why = "is in use by another machine";
    if (!why)
        return fd;
    log_error("--disk: %s %s", option->path, why);
    close(fd);
    return -EINVAL;
}

static int add_raw_disk(struct machine *machine, unsigned index, const struct blk_config *config)
{
    struct virtio_host host = host_of(machine);
    machine->disks[index] = blk_new(&host, index, config);
    if (machine->disks[index])
        return 0;
    int error = -errno;
    log_error("disk %u: %s", index, strerror(-error));
    close(config->fd);
    return error;
}

static int add_disk(struct machine *machine, unsigned index)
{
    const struct options_disk *option = &machine->options->disks[index];
    if (option->vhost) {
        struct virtio_host host = host_of(machine);
        const char *what = "make the device";
        machine->vhost_disks[index] =
            vhost_blk_new(&host, index, option->path, machine->options->wait * 1000, &what);
        if (machine->vhost_disks[index])
            return 0;
        log_error("--disk: vhost=%s: cannot %s: %s", option->path, what, strerror(errno));
        return -errno;
    }
    struct blk_config config = {.read_only = option->read_only, .threads = option->threads};
    config.fd = open_disk(option);
    if (config.fd < 0)
        return config.fd;
    if (option->serial)
        snprintf(config.serial, sizeof(config.serial), "%s", option->serial);
    return add_raw_disk(machine, index, &config);
}

static int add_seed(struct machine *machine)
{
    const char *why;
    struct blk_config config = {.read_only = true, .threads = 1, .serial = "cidata"};
    config.fd = seed_make(machine->options->cloud_init, machine->options->name, &why);
    if (config.fd < 0) {
        log_error("--cloud-init: %s: %s: %s", machine->options->cloud_init, why, strerror(-config.fd));
        return config.fd;
    }
    return add_raw_disk(machine, OPTIONS_DISKS_MAX, &config);
}

int machine_add_devices(struct machine *machine)
{
    const struct options *options = machine->options;
    struct virtio_host host = host_of(machine);
    int error = 0;
    for (unsigned i = 0; !error && i < options->net_count; i++)
        error = add_net(machine, i);
    for (unsigned i = 0; !error && i < options->disk_count; i++)
        error = add_disk(machine, i);
    if (!error && options->cloud_init)
        error = add_seed(machine);
    if (!error && options->rng && !(machine->rng = rng_new(&host)))
        error = -errno;
    if (!error && options->balloon && !(machine->balloon = balloon_new(&host)))
        error = -errno;
    return error;
}

int machine_run_devices(struct machine *machine)
{
    int error = 0;
    for (unsigned i = 0; i < OPTIONS_NETS_MAX; i++)
        if (!error && machine->nets[i])
            error = net_run(machine->nets[i], sandbox_enter_vhost);
    for (unsigned i = 0; i < OPTIONS_DISKS_MAX; i++)
        if (!error && machine->vhost_disks[i])
            error = vhost_blk_run(machine->vhost_disks[i], sandbox_enter_vhost);
    for (unsigned i = 0; i <= OPTIONS_DISKS_MAX; i++)
        if (!error && machine->disks[i])
            error = blk_run(machine->disks[i], sandbox_enter_disk);
    return error;
}

void machine_reset_devices(struct machine *machine)
{
    for (unsigned i = 0; i < OPTIONS_NETS_MAX; i++)
        if (machine->nets[i])
            virtio_machine_reset(net_virtio(machine->nets[i]));
    for (unsigned i = 0; i < OPTIONS_DISKS_MAX; i++)
        if (machine->vhost_disks[i])
            virtio_machine_reset(vhost_blk_virtio(machine->vhost_disks[i]));
    for (unsigned i = 0; i <= OPTIONS_DISKS_MAX; i++)
        if (machine->disks[i])
            virtio_machine_reset(blk_virtio(machine->disks[i]));
    if (machine->rng)
        virtio_machine_reset(rng_virtio(machine->rng));
    if (machine->balloon)
        virtio_machine_reset(balloon_virtio(machine->balloon));
}

void machine_free_devices(struct machine *machine)
{
    for (unsigned i = 0; i < OPTIONS_NETS_MAX; i++)
        net_free(machine->nets[i]);
    for (unsigned i = 0; i < OPTIONS_DISKS_MAX; i++)
        vhost_blk_free(machine->vhost_disks[i]);
    for (unsigned i = 0; i <= OPTIONS_DISKS_MAX; i++)
        blk_free(machine->disks[i]);
    rng_free(machine->rng);
    balloon_free(machine->balloon);
}
