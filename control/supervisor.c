/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. At the start weftd connects to RUN-DIR/dataplane.sock: if somebody answers, that
 * dataplane is adopted; if nobody does, one is started. From then on one timer, one event for the process (a
 * pidfd, also of an adopted one) and one for the socket drive step(), which does what is next:
 *
 *   connected                    nothing
 *   process dead                 start another one, at once the first time, later and later if they die young
 *   process alive, no connection try to connect; our own one that does not answer for START_SECONDS is killed
 *   no process known             try to connect (adopt), else start one
 *   a unit was asked for         try to connect, and ask again from time to time
 *
 * A dataplane survives a killed weftd; the next weftd adopts it. How one is started: launch.c.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "clock.h"
#include "launch.h"
#include "log.h"
#include "supervisor.h"
#include "weft_api.h"

#define CALL_MS                                                                                              \
    4000 /* for one answer of the dataplane; a commit may take five times as long, less than the watchdog */
#define STEP_MS          25
#define STEP_SLOW_MS     1000
#define REPLACE_SECONDS  15 /* while weftd does nothing else; with the stop before less than its watchdog */
#define START_SECONDS    60 /* some fifty libraries, and hugepages to be zeroed, on a busy machine */
#define STOP_SECONDS     5
#define YOUNG_SECONDS    10 /* one that died before counts as a crash loop */
#define BACKOFF_FIRST_MS 200
#define BACKOFF_LAST_MS  10000
#define ASK_MS           500 /* between two requests for the unit, at first */

struct supervisor {
    struct supervisor_callbacks callbacks;
    struct event_base *base;
    char socket[108];
    char run_dir[100];
    char state_dir[200];
    const char *unit; /* systemd's, NULL: dataplanes are children */
    bool asked;       /* the unit, and it has not answered yet */
    int64_t ask_ms;   /* when it is asked for again */
    struct launch_settings settings;
    enum supervisor_state state;
    char reason[256];
    struct dp_client *client;
    struct event *timer, *socket_event, *process_event;
    pid_t pid; /* 0: none known */
    int pidfd; /* of pid */
    bool child;
    bool adopted;
    bool was_up;
    int64_t started_ms; /* CLOCK_MONOTONIC */
    unsigned restarts, young_deaths;
};

static void step(struct supervisor *supervisor);

static void step_in(struct supervisor *supervisor, int ms)
{
    struct timeval delay = {ms / 1000, (ms % 1000) * 1000};
    evtimer_add(supervisor->timer, &delay);
}

static bool process_dead(const struct supervisor *supervisor)
{
    struct pollfd poll_fd = {.fd = supervisor->pidfd, .events = POLLIN};
    return supervisor->pidfd >= 0 && poll(&poll_fd, 1, 0) == 1;
}

static void process_forget(struct supervisor *supervisor)
{
    if (supervisor->process_event)
        event_free(supervisor->process_event);
    supervisor->process_event = NULL;
    if (supervisor->child && supervisor->pid > 0)
        waitpid(supervisor->pid, NULL, WNOHANG);
    if (supervisor->pidfd >= 0)
        close(supervisor->pidfd);
    supervisor->pidfd = -1;
    supervisor->pid = 0;
    supervisor->child = false;
}

static void on_process(evutil_socket_t fd, short what, void *context)
{
    struct supervisor *supervisor = context;
    (void)fd, (void)what;
    supervisor_disconnect(supervisor, "the dataplane's process ended");
}

static void process_watch(struct supervisor *supervisor, pid_t pid, bool child)
{
    supervisor->pid = pid;
    supervisor->child = child;
    supervisor->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (supervisor->pidfd < 0)
        return;
    supervisor->process_event =
        event_new(supervisor->base, supervisor->pidfd, EV_READ, on_process, supervisor);
    event_add(supervisor->process_event, NULL);
}

static void on_socket(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    supervisor_disconnect(context, "the dataplane closed the programming socket");
}

/* Tries to connect; false: nobody there, or not ours (then reason says so and *foreign is set). */
static bool try_connect(struct supervisor *supervisor, bool *foreign)
{
    *foreign = false;
    struct dp_client *client = dp_client_connect(supervisor->socket, CALL_MS);
    if (!client) {
        *foreign = errno == EACCES || errno == EPROTO || errno == ETIMEDOUT;
        if (*foreign)
            snprintf(supervisor->reason, sizeof(supervisor->reason), "%s: %s", supervisor->socket,
                     errno == EPROTO ? "a dataplane of another version answers; stop it" : strerror(errno));
        return false;
    }
    supervisor->client = client;
    supervisor->state = SUPERVISOR_UP;
    supervisor->reason[0] = '\0';
    supervisor->socket_event =
        event_new(supervisor->base, dp_client_fd(client), EV_READ | EV_PERSIST, on_socket, supervisor);
    event_add(supervisor->socket_event, NULL);
    pid_t pid = (pid_t)dp_client_hello(client)->pid;
    if (pid != supervisor->pid) {
        process_forget(supervisor);
        process_watch(supervisor, pid, false);
        supervisor->adopted = !supervisor->asked;
    }
    supervisor->asked = false;
    return true;
}

/* A unit is asked for again and again: systemd may not know yet that the one before has ended. */
static void ask_again(struct supervisor *supervisor)
{
    struct launch_place place = {supervisor->run_dir, supervisor->unit, supervisor->state_dir};
    int64_t now = clock_ms();
    if (!supervisor->unit || supervisor->pid || now < supervisor->ask_ms)
        return;
    int64_t pause = ASK_MS + (now - supervisor->started_ms) / 2;
    supervisor->ask_ms = now + (pause < BACKOFF_LAST_MS ? pause : BACKOFF_LAST_MS);
    launch(&place, &supervisor->settings);
}

static void spawn(struct supervisor *supervisor)
{
    struct launch_place place = {supervisor->run_dir, supervisor->unit, supervisor->state_dir};
    pid_t pid = launch(&place, &supervisor->settings);
    supervisor->state = SUPERVISOR_STARTING;
    supervisor->started_ms = clock_ms();
    supervisor->ask_ms = supervisor->started_ms + ASK_MS;
    supervisor->asked = supervisor->unit && pid == 0;
    supervisor->adopted = false;
    if (pid < 0) {
        snprintf(supervisor->reason, sizeof(supervisor->reason), "the dataplane cannot be started: %s",
                 strerror(-pid));
        supervisor->state = SUPERVISOR_DOWN;
        step_in(supervisor, STEP_SLOW_MS);
        return;
    }
    if (supervisor->was_up)
        supervisor->restarts++;
    if (pid)
        process_watch(supervisor, pid, true);
    else
        snprintf(supervisor->reason, sizeof(supervisor->reason), "%s was asked for; see journalctl -u %s",
                 supervisor->unit, supervisor->unit);
    step_in(supervisor, STEP_MS);
}

/* The process is dead. When may the next one start? */
static int death_delay(struct supervisor *supervisor)
{
    if (supervisor->started_ms && clock_ms() - supervisor->started_ms < YOUNG_SECONDS * 1000)
        supervisor->young_deaths++;
    else
        supervisor->young_deaths = 0;
    if (supervisor->young_deaths <= 1 && supervisor->was_up)
        return 0;
    unsigned shift = supervisor->young_deaths < 8 ? supervisor->young_deaths : 8;
    int delay = BACKOFF_FIRST_MS << shift;
    return delay < BACKOFF_LAST_MS ? delay : BACKOFF_LAST_MS;
}

static void describe_death(struct supervisor *supervisor)
{
    siginfo_t info = {0};
    if (!supervisor->child) {
        snprintf(supervisor->reason, sizeof(supervisor->reason), "the dataplane's process ended");
        return;
    }
    if (waitid(P_PID, (id_t)supervisor->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return;
    if (info.si_code == CLD_EXITED)
        snprintf(supervisor->reason, sizeof(supervisor->reason),
                 info.si_status == 127 ? "weft-dataplane cannot be run" : "the dataplane exited with code %d",
                 info.si_status);
    else
        snprintf(supervisor->reason, sizeof(supervisor->reason), "the dataplane was ended by signal %d (%s)",
                 info.si_status, strsignal(info.si_status));
}

static void step_dead(struct supervisor *supervisor)
{
    describe_death(supervisor);
    process_forget(supervisor);
    int delay = death_delay(supervisor);
    supervisor->state = SUPERVISOR_DOWN;
    if (delay == 0) {
        spawn(supervisor);
        return;
    }
    supervisor->callbacks.failed(supervisor->callbacks.context, supervisor->reason);
    step_in(supervisor, delay);
}

static void step(struct supervisor *supervisor)
{
    bool foreign;
    if (supervisor->state == SUPERVISOR_UP)
        return;
    if (supervisor->pid && process_dead(supervisor)) {
        step_dead(supervisor);
        return;
    }
    if (try_connect(supervisor, &foreign)) {
        supervisor->callbacks.up(supervisor->callbacks.context);
        supervisor->was_up = true;
        return;
    }
    if (foreign) {
        supervisor->callbacks.failed(supervisor->callbacks.context, supervisor->reason);
        step_in(supervisor, STEP_SLOW_MS);
        return;
    }
    if (!supervisor->pid && !supervisor->asked) {
        spawn(supervisor);
        return;
    }
    ask_again(supervisor);
    bool late = clock_ms() - supervisor->started_ms > START_SECONDS * 1000;
    if (late && supervisor->child) {
        log_error("the dataplane (pid %d) does not answer, ending it", supervisor->pid);
        kill(supervisor->pid, SIGKILL);
    }
    if (late && supervisor->asked) {
        supervisor->callbacks.failed(supervisor->callbacks.context, supervisor->reason);
        supervisor->asked = false;
    }
    step_in(supervisor, late ? STEP_SLOW_MS : STEP_MS);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    step(context);
}

static void connection_close(struct supervisor *supervisor)
{
    if (supervisor->socket_event)
        event_free(supervisor->socket_event);
    supervisor->socket_event = NULL;
    dp_client_close(supervisor->client);
    supervisor->client = NULL;
    supervisor->state = SUPERVISOR_STARTING;
}

void supervisor_disconnect(struct supervisor *supervisor, const char *reason)
{
    bool was_up = supervisor->state == SUPERVISOR_UP;
    snprintf(supervisor->reason, sizeof(supervisor->reason), "%s", reason); /* may be the client's text */
    connection_close(supervisor);
    if (was_up) {
        supervisor->was_up = true;
        supervisor->callbacks.lost(supervisor->callbacks.context, supervisor->reason);
    }
    step_in(supervisor, 0);
}

void supervisor_use_unit(struct supervisor *supervisor, const char *unit, const char *state_dir)
{
    supervisor->unit = unit;
    snprintf(supervisor->state_dir, sizeof(supervisor->state_dir), "%s", state_dir);
}

struct supervisor *supervisor_new(struct event_base *base, const char *run_dir,
                                  const struct supervisor_callbacks *callbacks)
{
    struct supervisor *supervisor = calloc(1, sizeof(*supervisor));
    if (!supervisor)
        return NULL;
    supervisor->base = base;
    supervisor->callbacks = *callbacks;
    supervisor->pidfd = -1;
    snprintf(supervisor->run_dir, sizeof(supervisor->run_dir), "%s", run_dir);
    snprintf(supervisor->socket, sizeof(supervisor->socket), "%.90s/" WEFT_DATAPLANE_SOCKET, run_dir);
    supervisor->timer = evtimer_new(base, on_timer, supervisor);
    supervisor_configure(supervisor, NULL);
    return supervisor;
}

static void settings_of(json_t *config, struct launch_settings *settings)
{
    json_t *dataplane = json_object_get(config, "dataplane");
    const char *hugepages = json_string_value(json_object_get(dataplane, "hugepages"));
    size_t index, length = 0;
    json_t *core, *uplink;
    const char *name;
    memset(settings, 0, sizeof(*settings));
    json_array_foreach (json_object_get(dataplane, "cores"), index, core) {
        length += (size_t)snprintf(settings->cores + length, sizeof(settings->cores) - length, "%s%lld",
                                   index ? "," : "", (long long)json_integer_value(core));
    }
    snprintf(settings->hugepages, sizeof(settings->hugepages), "%s", hugepages ? hugepages : "auto");
    json_object_foreach (json_object_get(config, "uplinks"), name, uplink) {
        const char *device = json_string_value(json_object_get(uplink, "device"));
        settings->ethdev |= device && (strncmp(device, "vdev:", 5) == 0 || strncmp(device, "pci:", 4) == 0);
    }
}

void supervisor_configure(struct supervisor *supervisor, json_t *config)
{
    settings_of(config, &supervisor->settings);
}

void supervisor_configure_next(struct supervisor *supervisor, json_t *config)
{
    bool ethdev = supervisor->settings.ethdev;
    settings_of(config, &supervisor->settings);
    supervisor->settings.ethdev |= ethdev;
}

bool supervisor_differs(const struct supervisor *supervisor, json_t *config)
{
    struct launch_settings settings;
    settings_of(config, &settings);
    settings.ethdev |= supervisor->settings.ethdev; /* the last uplink's removal is no reason for a restart */
    return memcmp(&settings, &supervisor->settings, sizeof(settings)) != 0;
}

void supervisor_start(struct supervisor *supervisor)
{
    if (supervisor->unit)
        launch_remember(supervisor->state_dir, &supervisor->settings); /* for the host's next start */
    supervisor->state = SUPERVISOR_STARTING;
    step_in(supervisor, 0);
}

/* Waits for the process's end; kills it if it does not end by itself. */
static void process_end(struct supervisor *supervisor)
{
    struct pollfd poll_fd = {.fd = supervisor->pidfd, .events = POLLIN};
    if (!supervisor->pid)
        return;
    if (supervisor->pidfd >= 0 && poll(&poll_fd, 1, STOP_SECONDS * 1000) == 0) {
        log_warning("the dataplane (pid %d) did not stop in %d s, ending it", supervisor->pid, STOP_SECONDS);
        kill(supervisor->pid, SIGKILL);
        poll(&poll_fd, 1, STOP_SECONDS * 1000);
    }
    process_forget(supervisor);
}

static void dataplane_stop(struct supervisor *supervisor)
{
    if (supervisor->client && dp_client_stop(supervisor->client) < 0)
        log_warning("the dataplane does not stop: %s", dp_client_error(supervisor->client));
    if (supervisor->pid && (!supervisor->client || supervisor->child))
        kill(supervisor->pid, SIGTERM);
    connection_close(supervisor);
    process_end(supervisor);
}

int supervisor_replace(struct supervisor *supervisor)
{
    bool foreign;
    dataplane_stop(supervisor);
    spawn(supervisor);
    evtimer_del(supervisor->timer);
    while (supervisor->state == SUPERVISOR_STARTING) {
        struct pollfd poll_fd = {.fd = supervisor->pidfd, .events = POLLIN};
        if (try_connect(supervisor, &foreign)) {
            supervisor->was_up = true;
            return 0;
        }
        ask_again(supervisor);
        if (poll(&poll_fd, 1, STEP_MS) == 1) {
            describe_death(supervisor);
            break;
        }
        if (clock_ms() - supervisor->started_ms > REPLACE_SECONDS * 1000) {
            snprintf(supervisor->reason, sizeof(supervisor->reason), "the new dataplane does not answer");
            break;
        }
    }
    step_in(supervisor, 0);
    return -EIO;
}

void supervisor_free(struct supervisor *supervisor, bool stop_dataplane)
{
    if (!supervisor)
        return;
    if (stop_dataplane && (supervisor->child || (supervisor->unit && !supervisor->adopted)))
        dataplane_stop(supervisor);
    connection_close(supervisor);
    process_forget(supervisor);
    event_free(supervisor->timer);
    free(supervisor);
}

struct dp_client *supervisor_client(const struct supervisor *supervisor)
{
    return supervisor->client;
}

enum supervisor_state supervisor_state(const struct supervisor *supervisor)
{
    return supervisor->state;
}

const char *supervisor_reason(const struct supervisor *supervisor)
{
    return supervisor->reason;
}

bool supervisor_adopted(const struct supervisor *supervisor)
{
    return supervisor->adopted;
}

unsigned supervisor_restarts(const struct supervisor *supervisor)
{
    return supervisor->restarts;
}
