/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation: everything is open when we come here. In this order, since each step needs what the
 * next takes away: cgroup; system call filters are compiled; new mount, network, IPC and UTS namespaces, an
 * empty read-only file system as root; user and groups; capabilities; limits. Backends' sockets are still
 * reached after that, each through a descriptor of its directory, and the groups that own them are kept as
 * supplementary groups.
 *
 * Without privileges (no CAP_SYS_ADMIN) the namespaces are made inside a user namespace of our own; where
 * that is not allowed, the filters and limits remain, and --verbose says so.
 */
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/magic.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "log.h"
#include "sandbox.h"
#include "seccomp_filter.h"
#include "unix_socket.h"

#define NAMESPACES (CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
#define GROUPS_MAX (2 * (OPTIONS_NETS_MAX + OPTIONS_DISKS_MAX))
#define FILES_MAX  64u /* descriptors beyond those that are open: connections, clients */
#define NEW_ROOT   "/tmp"

static int failed(const char *what)
{
    int error = errno ? -errno : -EPERM;
    log_error("sandbox: %s: %s (--no-sandbox runs without it)", what, strerror(-error));
    return error;
}

/* cgroup v2 */

static int write_cgroup(int directory, const char *file, const char *text)
{
    int fd = openat(directory, file, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = write(fd, text, strlen(text)) < 0 ? -errno : 0;
    close(fd);
    return error;
}

static int enter_cgroup(const struct options *options)
{
    char name[80], text[64];
    snprintf(name, sizeof(name), "weft-vmm.%s", options->name);
    for (char *at = name; *at; at++)
        if (*at == '/')
            *at = '.';
    struct statfs fs;
    int parent = open(options->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent >= 0 && (fstatfs(parent, &fs) || fs.f_type != CGROUP2_SUPER_MAGIC)) {
        log_error("--cgroup %s: no directory of cgroup version 2 (version 1 is not used; Linux with "
                  "systemd.unified_cgroup_hierarchy=1 has version 2)",
                  options->cgroup);
        close(parent);
        return -EINVAL;
    }
    if (parent < 0 || (mkdirat(parent, name, 0755) && errno != EEXIST))
        goto fail;
    int own = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (own < 0)
        goto fail;
    int error = 0;
    if (options->cgroup_memory) {
        snprintf(text, sizeof(text), "%llu", (unsigned long long)options->cgroup_memory);
        error = write_cgroup(own, "memory.max", text);
    }
    if (!error && options->cgroup_cpu_percent) {
        snprintf(text, sizeof(text), "%u 100000", options->cgroup_cpu_percent * 1000);
        error = write_cgroup(own, "cpu.max", text);
    }
    if (!error)
        error = write_cgroup(own, "cgroup.procs", "0");
    close(own);
    if (error)
        unlinkat(parent, name, AT_REMOVEDIR);
    close(parent);
    if (error)
        log_error("--cgroup %s: %s; are the controllers memory and cpu in its cgroup.subtree_control?",
                  options->cgroup, strerror(-error));
    return error;
fail:
    error = -errno;
    log_error("--cgroup %s: %s", options->cgroup, strerror(errno));
    if (parent >= 0)
        close(parent);
    return error;
}

/* Namespaces */

static int enter_namespaces(void)
{
    if (unshare(NAMESPACES)) {
        if (unshare(CLONE_NEWUSER | NAMESPACES)) {
            log_info("sandbox: no namespaces: %s", strerror(errno));
            return 0;
        }
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("none", NEW_ROOT, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=0555"))
        return failed("mount an empty root");
    if (chdir(NEW_ROOT) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
        return failed("change the root");
    if (mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
        return failed("make the root read-only");
    return 0;
}

/* User */

struct identity {
    uid_t uid;
    gid_t gid;
    gid_t groups[GROUPS_MAX];
    size_t group_count;
};

static void add_group(struct identity *identity, gid_t group)
{
    for (size_t i = 0; i < identity->group_count; i++)
        if (identity->groups[i] == group)
            return;
    if (identity->group_count < GROUPS_MAX)
        identity->groups[identity->group_count++] = group;
}

/* What it takes to connect to the socket again: the groups that may write to it and search its directory. */
static void add_socket_groups(struct identity *identity, const char *path)
{
    struct stat of_socket, of_directory;
    int directory = unix_socket_directory(path);
    if (directory < 0)
        return;
    if (!stat(path, &of_socket) && of_socket.st_mode & S_IWGRP && !(of_socket.st_mode & S_IWOTH))
        add_group(identity, of_socket.st_gid);
    if (!fstat(directory, &of_directory) && of_directory.st_mode & S_IXGRP &&
        !(of_directory.st_mode & S_IXOTH))
        add_group(identity, of_directory.st_gid);
    close(directory);
}

/* Looked up before the file system goes away. */
static int find_identity(const struct options *options, struct identity *identity)
{
    const struct passwd *user = getpwnam(options->user ? options->user : "weft-vmm");
    if (!user && !options->user)
        user = getpwnam("nobody");
    if (!user || user->pw_uid == 0) {
        log_error("--user %s: %s", options->user ? options->user : "nobody",
                  user ? "the sandbox is no sandbox for root" : "no such user");
        return -ENOENT;
    }
    identity->uid = user->pw_uid;
    identity->gid = user->pw_gid;
    for (unsigned i = 0; i < options->net_count; i++)
        add_socket_groups(identity, options->nets[i].socket);
    for (unsigned i = 0; i < options->disk_count; i++)
        if (options->disks[i].vhost)
            add_socket_groups(identity, options->disks[i].path);
    return 0;
}

static int change_user(const struct identity *identity)
{
    if (setgroups(identity->group_count, identity->groups) ||
        setresgid(identity->gid, identity->gid, identity->gid) ||
        setresuid(identity->uid, identity->uid, identity->uid))
        return failed("change the user");
    return 0;
}

/* Limits */

static int set_limit(int which, rlim_t value)
{
    struct rlimit limit = {.rlim_cur = value, .rlim_max = value};
    return setrlimit((__rlimit_resource_t)which, &limit);
}

static int set_limits(void)
{
    int next = dup(STDERR_FILENO); /* the lowest free descriptor */
    if (next < 0)
        return failed("count the descriptors");
    close(next);
    if (set_limit(RLIMIT_CORE, 0) || set_limit(RLIMIT_NOFILE, (rlim_t)next + FILES_MAX) ||
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return failed("set limits");
    return 0;
}

int sandbox_process(const struct machine *machine)
{
    const struct options *options = machine->options;
    struct identity identity = {0};
    bool root = geteuid() == 0;
    int error = options->cgroup ? enter_cgroup(options) : 0;
    if (!error && root)
        error = find_identity(options, &identity);
    if (!error && seccomp_prepare())
        error = failed("compile the system call filters");
    if (!error)
        error = enter_namespaces();
    if (!error && root)
        error = change_user(&identity);
    if (!error) {
        capng_clear(CAPNG_SELECT_ALL);
        if (capng_apply(CAPNG_SELECT_CAPS))
            error = failed("drop the capabilities");
    }
    return error ? error : set_limits();
}

static void enter(enum seccomp_thread thread)
{
    int error = seccomp_install(thread);
    if (!error)
        return;
    log_error("sandbox: a system call filter cannot be installed: %s", strerror(-error));
    _exit(EXIT_FAILED);
}

void sandbox_enter_main(void)
{
    enter(SECCOMP_MAIN);
}

void sandbox_enter_vcpu(void)
{
    enter(SECCOMP_VCPU);
}

void sandbox_enter_disk(void)
{
    enter(SECCOMP_DISK);
}

void sandbox_enter_vhost(void)
{
    enter(SECCOMP_VHOST);
}
