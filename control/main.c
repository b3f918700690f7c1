/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * weftd: options, the run dir and its lock, and the wiring of the parts. Start: lock the run dir, open the
 * store, load the generation in force, adopt or start the dataplane, listen; ready (sd_notify) once the
 * dataplane holds what is in force. End: SIGTERM or SIGINT; a dataplane that this weftd started ends with it
 * unless --keep-dataplane.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "api_server.h"
#include "bench.h"
#include "controller.h"
#include "doctor.h"
#include "host_interface.h"
#include "log.h"
#include "monitor.h"
#include "notify.h"
#include "vm.h"
#include "reserved_ports.h"
#include "uplink_pci.h"

#define LOCK_FILE "weftd.lock"

static void usage(FILE *out)
{
    fputs(
        "usage: weftd [--config FILE] [--run-dir DIR] [--state-dir DIR] [--keep-dataplane]\n"
        "             [--dataplane-unit UNIT] [--foreground]\n"
        "       weftd --doctor [--fix] [--run-dir DIR]\n"
        "\n"
        "weft's controller: holds the configuration, keeps weft-dataplane running and programmed, serves "
        "`weft`.\n"
        "  --config FILE           configuration (" WEFT_CONFIG_DEFAULT ")\n"
        "  --run-dir DIR           sockets (" WEFT_RUN_DIR_DEFAULT ")\n"
        "  --state-dir DIR         generations of the configuration (" WEFT_STATE_DIR_DEFAULT ")\n"
        "  --foreground            accepted; weftd always stays in the foreground, under systemd or a shell\n"
        "  --keep-dataplane        leave the dataplane and machines running at an orderly stop\n"
        "  --dataplane-unit UNIT   have systemd start the dataplane, as this unit\n"
        "  --doctor                check this host, print JSON, do nothing else; --fix: mend what can safely "
        "be\n"
        "  --version, --help\n",
        out);
}

enum { CONFIG = 256, RUN_DIR, STATE_DIR, FOREGROUND, KEEP, UNIT, DOCTOR, FIX, VERSION };

static const struct option long_options[] = {
    {"config", required_argument, NULL, CONFIG},
    {"run-dir", required_argument, NULL, RUN_DIR},
    {"state-dir", required_argument, NULL, STATE_DIR},
    {"foreground", no_argument, NULL, FOREGROUND},
    {"keep-dataplane", no_argument, NULL, KEEP},
    {"dataplane-unit", required_argument, NULL, UNIT},
    {"doctor", no_argument, NULL, DOCTOR},
    {"fix", no_argument, NULL, FIX},
    {"version", no_argument, NULL, VERSION},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct arguments {
    struct controller_options options;
    bool doctor, fix;
    int exit_code; /* >= 0: end now */
};

static bool take_path(char *to, size_t size, const char *option, const char *path)
{
    if (path[0] && strlen(path) < size) {
        snprintf(to, size, "%s", path);
        return true;
    }
    fprintf(stderr, "weftd: %s: a path of 1 to %zu bytes, not \"%s\"\n", option, size - 1, path);
    return false;
}

static void parse_arguments(struct arguments *arguments, int argc, char **argv)
{
    struct controller_options *options = &arguments->options;
    int option;
    bool good = true;
    options->config = WEFT_CONFIG_DEFAULT;
    snprintf(options->run_dir, sizeof(options->run_dir), WEFT_RUN_DIR_DEFAULT);
    snprintf(options->state_dir, sizeof(options->state_dir), WEFT_STATE_DIR_DEFAULT);
    arguments->exit_code = -1;
    while (good && (option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        switch (option) {
        case CONFIG:
            options->config = optarg;
            options->config_given = true;
            break;
        case RUN_DIR:
            good = take_path(options->run_dir, sizeof(options->run_dir), "--run-dir", optarg);
            break;
        case STATE_DIR:
            good = take_path(options->state_dir, sizeof(options->state_dir), "--state-dir", optarg);
            break;
        case FOREGROUND:
            break;
        case KEEP:
            options->keep_dataplane = true;
            break;
        case UNIT:
            options->dataplane_unit = optarg;
            break;
        case DOCTOR:
            arguments->doctor = true;
            break;
        case FIX:
            arguments->fix = true;
            break;
        case VERSION:
            puts("weftd " WEFT_VERSION);
            arguments->exit_code = 0;
            return;
        case 'h':
            usage(stdout);
            arguments->exit_code = 0;
            return;
        default:
            good = false;
        }
    }
    if (good && optind < argc) {
        fprintf(stderr, "weftd: what is \"%s\"? weftd takes options only\n", argv[optind]);
        good = false;
    }
    if (good && arguments->fix && !arguments->doctor) {
        fprintf(stderr, "weftd: --fix goes with --doctor\n");
        good = false;
    }
    if (!good) {
        usage(stderr);
        arguments->exit_code = WEFT_USAGE;
    }
}

/* The way out of a directory that cannot be made. */
static const char *make_hint(int error)
{
    switch (error) {
    case EACCES:
    case EPERM:
        return "; run weftd as root, or give --run-dir and --state-dir directories of your own";
    case ENOENT:
        return "; make the directory above it first";
    case ENOTDIR:
        return "; it exists and is something else: remove it or give --run-dir another directory";
    default:
        return "";
    }
}

static int make_directory(const char *path, mode_t mode)
{
    if (mkdir(path, mode) == 0)
        return 0;
    struct stat status;
    if (errno == EEXIST && stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return 0;
    int error = errno == EEXIST ? ENOTDIR : errno;
    log_error("cannot make %s: %s%s", path, strerror(error), make_hint(error));
    return -error;
}

/* The dataplane and guests take paths below it, wherever they are. */
static int make_absolute(struct controller *controller)
{
    char absolute[PATH_MAX];
    errno = 0;
    if (!realpath(controller->options.run_dir, absolute) ||
        strlen(absolute) >= sizeof(controller->options.run_dir)) {
        log_error("run dir %s: %s", controller->options.run_dir,
                  errno ? strerror(errno) : "its absolute path is too long for sockets below it");
        return -EINVAL;
    }
    memcpy(controller->options.run_dir, absolute, strlen(absolute) + 1);
    return 0;
}

/* The directories of ports' sockets and of machines. */
static int make_below(const char *run_dir, const struct group *group)
{
    static const char *const below[] = {WEFT_VHOST_DIR, WEFT_VM_DIR};
    char path[128];
    int error = 0;
    for (unsigned i = 0; i < 2 && !error; i++) {
        snprintf(path, sizeof(path), "%s/%s", run_dir, below[i]);
        error = make_directory(path, 0710);
        if (!error && group && geteuid() == 0 && chown(path, (uid_t)-1, group->gr_gid) < 0)
            log_warning("group of %s: %s", path, strerror(errno));
    }
    return error;
}

/* The run dir with its lock, which is held until the process ends. */
static int open_run_dir(struct controller *controller)
{
    const char *run_dir = controller->options.run_dir;
    char path[sizeof(controller->options.run_dir) + 16];
    struct group *group = getgrnam(WEFT_GROUP_ADMIN);
    umask(027);
    int error = make_directory(run_dir, 0710);
    if (error)
        return error;
    error = make_absolute(controller);
    if (error)
        return error;
    snprintf(path, sizeof(path), "%s/" LOCK_FILE, run_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0) {
        error = -errno;
        log_error("%s: %s%s", path, strerror(errno), make_hint(errno));
        return error;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        char holder[32] = "";
        if (read(fd, holder, sizeof(holder) - 1) <= 0)
            snprintf(holder, sizeof(holder), "?");
        holder[strcspn(holder, "\n")] = '\0';
        log_error("another weftd (pid %s) serves %s; stop it, or give --run-dir another directory", holder,
                  run_dir);
        close(fd);
        return -EBUSY;
    }
    if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", getpid()) < 0)
        log_warning("%s: %s", path, strerror(errno));
    controller->socket_group = UINT32_MAX;
    if (group && geteuid() == 0) {
        controller->socket_group = group->gr_gid;
        if (chown(run_dir, (uid_t)-1, group->gr_gid) < 0)
            log_warning("group of %s: %s", run_dir, strerror(errno));
    }
    return make_below(run_dir, group);
}

static void ready(struct controller *controller)
{
    notify_ready(controller->converged ? "programmed" : controller->trouble);
}

static void on_up(void *context)
{
    struct controller *controller = context;
    bool adopted = supervisor_adopted(controller->supervisor);
    unsigned restarts = supervisor_restarts(controller->supervisor);
    monitor_forget(controller->monitor);
    events_add(controller->events,
               adopted    ? "dataplane-adopted"
               : restarts ? "dataplane-restarted"
                          : "dataplane-started",
               NULL, 0, "weft-dataplane %d is %s",
               (int)dp_client_hello(supervisor_client(controller->supervisor))->pid,
               adopted ? "adopted" : "up");
    bool first = controller->file_pending && controller->generation == 0; /* nothing to reconcile with */
    if ((first || apply_reconcile(controller) == 0) && controller->file_pending)
        startup_apply_file(controller);
    if (controller->converged && controller->generation)
        vms_sync(controller->vms);
    api_server_wake(controller->api);
    ready(controller);
}

static void on_lost(void *context, const char *reason)
{
    struct controller *controller = context;
    controller->converged = false;
    snprintf(controller->trouble, sizeof(controller->trouble), "%s", reason);
    events_add(controller->events, "dataplane-lost", NULL, 0, "%s", reason);
}

static void on_failed(void *context, const char *reason)
{
    struct controller *controller = context;
    if (strcmp(controller->trouble, reason) != 0)
        log_error("the dataplane is not up: %s", reason);
    snprintf(controller->trouble, sizeof(controller->trouble), "%s", reason);
    api_server_wake(controller->api);
}

/* The link, the MTU, the queues of an uplink's interface or the interface itself may be others now. */
static void on_links(void *context)
{
    struct controller *controller = context;
    bool changed = uplinks_look(controller->model, controller->events);
    if (changed && supervisor_client(controller->supervisor))
        apply_reconcile(controller);
    else
        uplinks_refresh(controller->uplinks);
}

static void on_netlink(void *context)
{
    struct controller *controller = context;
    outside_changed(controller->outside);
}

static void on_event(void *context, json_t *event)
{
    struct controller *controller = context;
    api_server_publish(controller->api, event);
}

static void on_confirm(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    apply_confirm_expired(context);
}

static void on_signal(evutil_socket_t number, short what, void *context)
{
    struct controller *controller = context;
    (void)what;
    bool again = controller->ending;
    controller->ending = true;
    log_notice("signal %d: ending%s", (int)number, again ? " now" : "");
    if (again || controller->options.keep_dataplane || !vms_end(controller->vms))
        event_base_loopexit(controller->base, NULL);
    else
        notify_stopping(); /* the loop ends with the last machine */
}

static enum weft_code open_parts(struct controller *controller)
{
    char text[256];
    struct supervisor_callbacks callbacks = {on_up, on_lost, on_failed, controller};
    struct netlink_callbacks netlink_callbacks = {on_netlink, on_links, controller};
    if (open_run_dir(controller) < 0)
        return WEFT_FAILED;
    controller->store = store_open(controller->options.state_dir, text, sizeof(text));
    if (!controller->store) {
        log_error("%s", text);
        return WEFT_FAILED;
    }
    controller->base = event_base_new();
    controller->events = events_new(on_event, controller);
    controller->taps = taps_new();
    controller->uplinks = uplinks_new(controller->options.run_dir);
    controller->bench = bench_new();
    controller->netlink = netlink_new(controller->base, &netlink_callbacks);
    controller->outside = controller->netlink ? outside_new(controller) : NULL;
    if (!controller->outside)
        log_error("no netlink: %s; interfaces of the host are not followed", strerror(errno));
    controller->confirm_timer = evtimer_new(controller->base, on_confirm, controller);
    controller->supervisor = supervisor_new(controller->base, controller->options.run_dir, &callbacks);
    supervisor_use_unit(controller->supervisor, controller->options.dataplane_unit,
                        controller->options.state_dir);
    enum weft_code code = startup_load(controller);
    if (code != WEFT_OK)
        return code;
    controller->guests = guests_new(controller);
    if (!controller->guests) {
        log_error("services for guests: %s", strerror(errno));
        return WEFT_FAILED;
    }
    guests_configure(controller->guests);
    controller->api = api_server_new(controller, text, sizeof(text));
    if (!controller->api) {
        log_error("%s", text);
        return WEFT_FAILED;
    }
    controller->monitor = monitor_new(controller);
    controller->vms = vms_new(controller);
    return WEFT_OK;
}

static void close_parts(struct controller *controller)
{
    if (controller->monitor)
        monitor_free(controller->monitor);
    vms_free(controller->vms, !controller->options.keep_dataplane);
    api_server_free(controller->api);
    guests_free(controller->guests);
    outside_free(controller->outside);
    if (controller->supervisor) {
        bool stops = !controller->options.keep_dataplane && !supervisor_adopted(controller->supervisor);
        supervisor_free(controller->supervisor, !controller->options.keep_dataplane);
        if (stops && controller->store)
            reserved_ports_apply(controller->store, NULL);
        if (stops)
            uplink_pci_settle(controller->options.run_dir, NULL);
    }
    bench_free(controller->bench);
    if (controller->confirm_timer)
        event_free(controller->confirm_timer);
    if (controller->taps)
        taps_free(controller->taps);
    netlink_free(controller->netlink);
    uplinks_free(controller->uplinks);
    if (controller->model)
        host_interface_tidy(controller->model, controller->options.run_dir);
    if (controller->model)
        model_free(controller->model);
    json_decref(controller->ids);
    if (controller->events)
        events_free(controller->events);
    if (controller->store)
        store_close(controller->store);
    if (controller->base)
        event_base_free(controller->base);
}

static void run(struct controller *controller)
{
    struct event *signals[2] = {evsignal_new(controller->base, SIGTERM, on_signal, controller),
                                evsignal_new(controller->base, SIGINT, on_signal, controller)};
    struct notify_watchdog *watchdog = notify_watchdog_new(controller->base);
    for (unsigned i = 0; i < 2; i++)
        event_add(signals[i], NULL);
    supervisor_start(controller->supervisor);
    event_base_dispatch(controller->base);
    notify_stopping();
    notify_watchdog_free(watchdog);
    for (unsigned i = 0; i < 2; i++)
        event_free(signals[i]);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    parse_arguments(&arguments, argc, argv);
    if (arguments.exit_code >= 0)
        return arguments.exit_code;
    if (arguments.doctor)
        return doctor_print(arguments.fix, arguments.options.run_dir);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) { /* inherited by the dataplane: several descriptors a port */
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    static struct controller controller;
    controller.options = arguments.options;
    controller.started_ns = events_now();
    enum weft_code code = open_parts(&controller);
    if (code == WEFT_OK)
        run(&controller);
    close_parts(&controller);
    return code;
}
