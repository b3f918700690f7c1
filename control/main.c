/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * weftd: the controller. Reads its options, takes the run and the state directory for itself, loads what was
 * in force, then everything happens in the event loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "api_server.h"
#include "controller.h"
#include "doctor.h"
#include "log.h"
#include "monitor.h"
#include "notify.h"

#define RUN_DIR_LENGTH_MAX 90 /* dataplane.sock below it still fits a socket's address */

static const char usage[] =
    "usage: weftd [--config FILE] [--run-dir DIR] [--state-dir DIR] [--foreground] [--keep-dataplane]\n"
    "       weftd --doctor [--fix] [--run-dir DIR]\n"
    "\n"
    "  --config FILE      configuration (" WEFT_CONFIG_DEFAULT ")\n"
    "  --run-dir DIR      sockets (" WEFT_RUN_DIR_DEFAULT "); picks the instance\n"
    "  --state-dir DIR    generations (" WEFT_STATE_DIR_DEFAULT ")\n"
    "  --foreground       accepted for scripts: weftd always stays in the foreground\n"
    "  --keep-dataplane   an orderly stop leaves the dataplane running\n"
    "  --doctor           says as JSON what this machine lacks, and ends; with --fix sets right what can be\n"
    "  --help, --version\n";

struct arguments {
    struct controller_options options;
    bool doctor, fix;
};

/* -1: go on; else the exit code. */
static int arguments_parse(int argc, char **argv, struct arguments *arguments)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"run-dir", required_argument, NULL, 'r'},
        {"state-dir", required_argument, NULL, 's'},
        {"foreground", no_argument, NULL, 'f'},
        {"keep-dataplane", no_argument, NULL, 'k'},
        {"doctor", no_argument, NULL, 'd'},
        {"fix", no_argument, NULL, 'x'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    const char *run_dir = WEFT_RUN_DIR_DEFAULT, *state_dir = WEFT_STATE_DIR_DEFAULT;
    arguments->options.config = WEFT_CONFIG_DEFAULT;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'c':
            arguments->options.config = optarg;
            arguments->options.config_given = true;
            break;
        case 'r':
            run_dir = optarg;
            break;
        case 's':
            state_dir = optarg;
            break;
        case 'f':
            break;
        case 'k':
            arguments->options.keep_dataplane = true;
            break;
        case 'd':
            arguments->doctor = true;
            break;
        case 'x':
            arguments->fix = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return WEFT_OK;
        case 'v':
            puts("weftd " WEFT_VERSION);
            return WEFT_OK;
        default:
            fputs(usage, stderr);
            return WEFT_USAGE;
        }
    }
    if (optind < argc || (arguments->fix && !arguments->doctor)) {
        fputs(usage, stderr);
        return WEFT_USAGE;
    }
    if (strlen(run_dir) > RUN_DIR_LENGTH_MAX || strlen(state_dir) >= sizeof(arguments->options.state_dir)) {
        fprintf(stderr,
                "weftd: a path is too long: the run dir has at most %d characters, the state dir %zu\n",
                RUN_DIR_LENGTH_MAX, sizeof(arguments->options.state_dir) - 1);
        return WEFT_USAGE;
    }
    snprintf(arguments->options.run_dir, sizeof(arguments->options.run_dir), "%s", run_dir);
    snprintf(arguments->options.state_dir, sizeof(arguments->options.state_dir), "%s", state_dir);
    return -1;
}

/* The answer of the API's doctor, for when no weftd runs. */
static int print_doctor(const struct arguments *arguments)
{
    json_t *items = doctor_run(arguments->options.run_dir, arguments->fix);
    json_t *answer = json_pack("{s:s, s:o}", "schema", WEFT_SCHEMA_DOCTOR, "items", items);
    int error = json_dumpf(answer, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(answer);
    return error || fflush(stdout) != 0 ? WEFT_FAILED : WEFT_OK;
}

static bool directory_make(const char *path, gid_t group)
{
    if (mkdir(path, 0710) < 0 && errno != EEXIST) {
        log_error("cannot create %s: %s", path, strerror(errno));
        return false;
    }
    bool owned = group == (gid_t)-1 || geteuid() != 0 || chown(path, (uid_t)-1, group) == 0;
    if (!owned || chmod(path, 0710) < 0) {
        log_error("cannot set the mode of %s: %s", path, strerror(errno));
        return false;
    }
    return true;
}

/* Makes RUN-DIR and RUN-DIR/vhost, and takes the run dir for itself. */
static bool run_dir_take(struct controller *controller)
{
    char path[160], absolute[4096];
    struct group *group = getgrnam(WEFT_GROUP_ADMIN);
    gid_t gid = group ? group->gr_gid : (gid_t)-1;
    controller->socket_group = gid; /* (gid_t)-1 is "unchanged" */
    if (!directory_make(controller->options.run_dir, gid))
        return false;
    if (!realpath(controller->options.run_dir, absolute) || strlen(absolute) > RUN_DIR_LENGTH_MAX) {
        log_error("the run dir %s has too long a path", controller->options.run_dir);
        return false;
    }
    snprintf(controller->options.run_dir, sizeof(controller->options.run_dir), "%s", absolute);
    snprintf(path, sizeof(path), "%s/" WEFT_VHOST_DIR, absolute);
    if (!directory_make(path, gid))
        return false;
    snprintf(path, sizeof(path), "%s/weftd.lock", absolute);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            log_error("another weftd runs in %s; use another --run-dir", absolute);
        else
            log_error("cannot lock %s: %s", path, strerror(errno));
        return false;
    }
    return true; /* the lock goes with the process */
}

static void on_event(void *context, json_t *event)
{
    api_server_publish(((struct controller *)context)->api, event);
}

static void on_dataplane_up(void *context)
{
    struct controller *controller = context;
    bool adopted = supervisor_adopted(controller->supervisor),
         again = supervisor_restarts(controller->supervisor) > 0;
    monitor_forget(controller->monitor);
    int error = apply_reconcile(controller);
    if (!error && controller->file_pending)
        startup_apply_file(controller);
    struct dp_client *client = supervisor_client(controller->supervisor);
    if (client)
        events_add(controller->events,
                   adopted ? "dataplane-adopted"
                   : again ? "dataplane-restarted"
                           : "dataplane-started",
                   NULL, controller->generation, "process %u holds generation %llu%s",
                   dp_client_hello(client)->pid, (unsigned long long)controller->generation,
                   controller->converged ? "" : " in part only");
    notify("READY=1");
    api_server_wake(controller->api);
}

static void on_dataplane_lost(void *context, const char *reason)
{
    struct controller *controller = context;
    controller->converged = false;
    monitor_forget(controller->monitor);
    events_add(controller->events, "dataplane-lost", NULL, 0, "%s", reason);
}

static void on_dataplane_failed(void *context, const char *reason)
{
    struct controller *controller = context;
    log_error("%s; trying again", reason);
    notify("READY=1"); /* weftd answers, and says what is wrong */
    api_server_wake(controller->api);
}

static void on_confirm(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    apply_confirm_expired(context);
}

static void on_signal(evutil_socket_t fd, short what, void *context)
{
    (void)what;
    log_notice("stopping (signal %d)", (int)fd);
    event_base_loopbreak(context);
}

static enum weft_code controller_start(struct controller *controller)
{
    char text[600];
    struct supervisor_callbacks callbacks = {on_dataplane_up, on_dataplane_lost, on_dataplane_failed,
                                             controller};
    if (!run_dir_take(controller))
        return WEFT_FAILED;
    controller->store = store_open(controller->options.state_dir, text, sizeof(text));
    if (!controller->store) {
        log_error("%s", text);
        return WEFT_FAILED;
    }
    controller->started_ns = events_now();
    controller->base = event_base_new();
    controller->events = events_new(on_event, controller);
    controller->taps = taps_new();
    controller->supervisor = supervisor_new(controller->base, controller->options.run_dir, &callbacks);
    controller->confirm_timer = evtimer_new(controller->base, on_confirm, controller);
    enum weft_code code = startup_load(controller);
    if (code != WEFT_OK)
        return code;
    controller->api = api_server_new(controller, text, sizeof(text));
    if (!controller->api) {
        log_error("%s", text);
        return WEFT_FAILED;
    }
    controller->monitor = monitor_new(controller);
    supervisor_start(controller->supervisor);
    return WEFT_OK;
}

static void controller_stop(struct controller *controller)
{
    notify("STOPPING=1");
    api_server_free(controller->api);
    controller->api = NULL;
    monitor_free(controller->monitor);
    supervisor_free(controller->supervisor, !controller->options.keep_dataplane);
    taps_free(controller->taps);
    events_free(controller->events);
    if (controller->confirm_timer)
        event_free(controller->confirm_timer);
    model_free(controller->model);
    json_decref(controller->ids);
    store_close(controller->store);
    if (controller->base)
        event_base_free(controller->base);
}

/* A guest port takes several descriptors, a client one. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    static struct controller controller;
    struct arguments arguments = {0};
    int code = arguments_parse(argc, argv, &arguments);
    if (code >= 0)
        return code;
    if (arguments.doctor)
        return print_doctor(&arguments);
    controller.options = arguments.options;
    umask(0077);
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    enum weft_code started = controller_start(&controller);
    if (started == WEFT_OK) {
        struct event *term = evsignal_new(controller.base, SIGTERM, on_signal, controller.base);
        struct event *interrupt = evsignal_new(controller.base, SIGINT, on_signal, controller.base);
        struct event *watchdog = notify_watchdog(controller.base);
        evsignal_add(term, NULL);
        evsignal_add(interrupt, NULL);
        event_base_dispatch(controller.base);
        event_free(term);
        event_free(interrupt);
        if (watchdog)
            event_free(watchdog);
    }
    controller_stop(&controller);
    return started;
}
