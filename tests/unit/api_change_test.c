/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * add, set, del, port.snippet: requests to answers, as docs/api.md says. Changes are dry runs, since there is
 * no dataplane; one that is not shows that nothing changes then.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "api_ask.h"

static const char CONFIG[] =
    "version: 1\n"
    "uplinks: {lan0: {device: 'vdev:net_null0'}}\n"
    "tenants:\n"
    "  acme:\n"
    "    limits: {ports: 4}\n"
    "    segments: {web: {mode: isolated, vlan: 5, static: {52:54:00:00:00:0a: vm1}},\n"
    "               lab: {mode: bridged, uplink: lan0, vlan: 6}}\n"
    "    ports:\n"
    "      vm1: {segment: web, mac: 52:54:00:00:00:01, queues: 2}\n"
    "      vm2: {segment: web, client: true, mtu: 9000}\n"
    "      tr: {trunk: [web, lab], native: web}\n"
    "  beta: {segments: {web: {mode: isolated}}, ports: {h: {segment: web, tap: t0}}}\n"
    "  none: {}\n";

static int setup(void **state)
{
    *state = controller_fixture_new(CONFIG);
    return 0;
}

static int teardown(void **state)
{
    controller_fixture_free(*state);
    return 0;
}

/* A dry run that says these lines, NULL at the end. */
static void expect(struct controller *controller, const char *method, const char *params,
                   const char *const *lines)
{
    char request[1024];
    snprintf(request, sizeof(request), "{'method':'%s','params':{'dry_run':true,%s}}", method, params);
    json_t *answer = api_ask(controller, request), *changes = NULL;
    int changed = 0, generation = 0;
    assert_int_equal(json_unpack(answer, "{s:{s:b, s:i, s:o}}", "result", "changed", &changed, "generation",
                                 &generation, "changes", &changes),
                     0);
    size_t count = 0;
    for (; lines[count]; count++)
        assert_string_equal(json_string_value(json_array_get(changes, count)), lines[count]);
    assert_int_equal(json_array_size(changes), count);
    assert_int_equal(changed, count > 0);
    assert_int_equal(generation, 5);
    json_decref(answer);
}
#define EXPECT(controller, method, params, ...)                                                              \
    expect(controller, method, params, (const char *const[]){__VA_ARGS__, NULL})
#define UNCHANGED(controller, method, params) expect(controller, method, params, (const char *const[]){NULL})

static void add_makes(void **state)
{
    EXPECT(*state, "add", "'noun':'tenant','name':'new'", "+ tenant new");
    EXPECT(*state, "add", "'noun':'tenant','name':'new','values':{'limits.ports':'1','limits.macs':5}",
           "+ tenant new limits.ports 1 limits.macs 5");
    EXPECT(*state, "add", "'noun':'segment','name':'none/s','values':{'mode':'isolated','ageing':'2m'}",
           "+ segment none/s mode isolated ageing 120");
    EXPECT(*state, "add",
           "'noun':'port','name':'acme/vm3','values':{'segment':'web','queues':'2','ip':'10.0.0.1, 10.0.0.2',"
           "'client':'true','mtu':9000}",
           "+ port acme/vm3 segment web queues 2 ip 10.0.0.1,10.0.0.2 client true mtu 9000");
    EXPECT(*state, "add", "'noun':'port','name':'acme/t2','values':{'trunk':'web,lab'}",
           "+ port acme/t2 trunk web,lab");
    EXPECT(*state, "add", "'noun':'uplink','name':'lan1','values':{'device':'vdev:net_null1','mtu':null}",
           "+ uplink lan1 device vdev:net_null1");
}

static void add_of_the_same_is_unchanged(void **state)
{
    UNCHANGED(*state, "add", "'noun':'tenant','name':'acme','values':{'limits.ports':'4'}");
    UNCHANGED(*state, "add", "'noun':'tenant','name':'acme','values':{'limits':{'ports':4}}");
    UNCHANGED(*state, "add", "'noun':'tenant','name':'none'");
    UNCHANGED(
        *state, "add",
        "'noun':'port','name':'acme/vm1','values':{'queues':2,'mac':'52-54-00-00-00-01','segment':'web'}");
    api_refused(*state, "{'method':'add','params':{'noun':'tenant','name':'acme'}}", WEFT_CONFLICT,
                "tenant acme exists with other values (limits); \"weft tenant set\" changes them");
    api_refused(*state,
                "{'method':'add','params':{'noun':'port','name':'acme/"
                "vm1','values':{'segment':'lab','ip':'10.0.0.1'}}}",
                WEFT_CONFLICT, "(segment, mac, queues, ip)");
}

static void set_changes(void **state)
{
    EXPECT(*state, "set", "'noun':'port','name':'acme/vm1','values':{'queues':1,'mac':null,'spoof':'allow'}",
           "~ port acme/vm1 queues 2 -> 1, spoof none -> allow, mac 52:54:00:00:00:01 -> none");
    EXPECT(*state, "set", "'noun':'tenant','name':'acme','values':{'limits.ports':null,'limits.macs':'1k'}",
           "~ tenant acme limits.macs none -> 1000, limits.ports 4 -> none");
    EXPECT(*state, "set", "'noun':'tenant','name':'acme','values':{'limits':null}",
           "~ tenant acme limits.ports 4 -> none");
    EXPECT(*state, "set", "'noun':'segment','name':'acme/web','values':{'static.52-54-00-00-00-0B':'vm1'}",
           "~ segment acme/web static 52:54:00:00:00:0a=vm1 -> 52:54:00:00:00:0a=vm1,52:54:00:00:00:0b=vm1");
    EXPECT(*state, "set", "'noun':'segment','name':'acme/web','values':{'static.52:54:00:00:00:0A':null}",
           "~ segment acme/web static 52:54:00:00:00:0a=vm1 -> none");
    EXPECT(*state, "set", "'noun':'segment','name':'beta/web','values':{'static':{'52:54:00:00:00:0A':'h'}}",
           "~ segment beta/web static none -> 52:54:00:00:00:0a=h");
    UNCHANGED(*state, "set", "'noun':'port','name':'acme/vm1','values':{}");
    UNCHANGED(*state, "set", "'noun':'port','name':'acme/vm1','values':{'queues':'2','native':null}");
}

static void del_removes(void **state)
{
    EXPECT(*state, "del", "'noun':'tenant','name':'none'", "- tenant none");
    EXPECT(*state, "del", "'noun':'port','name':'acme/vm2'", "- port acme/vm2");
    UNCHANGED(*state, "del", "'noun':'port','name':'acme/vm9'");
    UNCHANGED(*state, "del", "'noun':'segment','name':'nobody/s'");
    UNCHANGED(*state, "del", "'noun':'uplink','name':'l','cascade':true");
    api_refused(*state, "{'method':'del','params':{'noun':'tenant','name':'beta'}}", WEFT_CONFLICT,
                "tenant beta is used by port beta/h, segment beta/web");
    api_refused(*state, "{'method':'del','params':{'noun':'segment','name':'acme/lab'}}", WEFT_CONFLICT,
                "port acme/tr");
    api_refused(*state, "{'method':'del','params':{'noun':'port','name':'acme/vm1'}}", WEFT_CONFLICT,
                "static addresses of segment acme/web");
    api_refused(*state, "{'method':'del','params':{'noun':'uplink','name':'lan0'}}", WEFT_CONFLICT,
                "segment acme/lab");
}

static void cascade_takes_what_needs_it(void **state)
{
    EXPECT(*state, "del", "'noun':'tenant','name':'beta','cascade':true", "- segment beta/web",
           "- port beta/h", "- tenant beta");
    EXPECT(*state, "del", "'noun':'segment','name':'acme/web','cascade':true", "- segment acme/web",
           "- port acme/vm1", "- port acme/vm2", "~ port acme/tr trunk web,lab -> lab, native web -> none");
    EXPECT(*state, "del", "'noun':'port','name':'acme/vm1','cascade':true",
           "~ segment acme/web static 52:54:00:00:00:0a=vm1 -> none", "- port acme/vm1");
    EXPECT(*state, "del", "'noun':'uplink','name':'lan0','cascade':true", "- uplink lan0",
           "- segment acme/lab", "~ port acme/tr trunk web,lab -> web");
}

static void names_that_are_wrong(void **state)
{
    api_refused(*state, "{'method':'add','params':{'noun':'ports','name':'acme/x'}}", WEFT_USAGE,
                "did you mean \"port\"?");
    api_refused(*state, "{'method':'add','params':{'noun':'fdb','name':'acme/x'}}", WEFT_USAGE,
                "cannot be changed");
    api_refused(*state, "{'method':'add','params':{'noun':'port','name':'vm1'}}", WEFT_USAGE, "TENANT/NAME");
    api_refused(*state, "{'method':'add','params':{'noun':'port','name':'acme/a/b'}}", WEFT_USAGE,
                "TENANT/NAME");
    api_refused(*state, "{'method':'add','params':{'noun':'tenant','name':'a/b'}}", WEFT_USAGE, "NAME");
    api_refused(*state, "{'method':'add','params':{'noun':'tenant','name':''}}", WEFT_USAGE, "no name");
    api_refused(*state,
                "{'method':'add','params':{'noun':'tenant','name':'abcdefghijklmnopqrstuvwxyzabcdef'}}",
                WEFT_USAGE, "1 to 31");
    api_refused(*state, "{'method':'add','params':{'noun':'tenant','name':'Acme'}}", WEFT_USAGE, "a-z");
    api_refused(*state, "{'method':'del','params':{'noun':'tenant','name':'..'}}", WEFT_USAGE, "a-z");
    api_refused(*state,
                "{'method':'add','params':{'noun':'port','name':'acne/x','values':{'segment':'web'}}}",
                WEFT_NOT_FOUND, "did you mean \"acme\"?");
    api_refused(*state, "{'method':'set','params':{'noun':'port','name':'acme/vm9','values':{}}}",
                WEFT_NOT_FOUND, "vm9");
    api_refused(*state, "{'method':'set','params':{'noun':'tenant','name':'nobody','values':{}}}",
                WEFT_NOT_FOUND, "nobody");
    api_refused(*state, "{'method':'set','params':{'noun':'segment','name':'acme/wbe','values':{}}}",
                WEFT_NOT_FOUND, "did you mean \"web\"?");
    api_refused(*state, "{'method':'set','params':{'noun':'uplink','name':'lan','values':{}}}",
                WEFT_NOT_FOUND, "did you mean \"lan0\"?");
}

static void values_that_are_wrong(void **state)
{
#define SET_PORT(values)   "{'method':'set','params':{'noun':'port','name':'acme/vm1','values':{" values "}}}"
#define SET_TENANT(values) "{'method':'set','params':{'noun':'tenant','name':'acme','values':{" values "}}}"
    api_refused(*state, SET_PORT("'queus':1"), WEFT_USAGE, "unknown key; did you mean \"queues\"?");
    api_refused(*state, SET_PORT("'*':1"), WEFT_USAGE, "unknown key");
    api_refused(*state, SET_PORT("'':1"), WEFT_USAGE, "unknown key");
    api_refused(*state, SET_PORT("'.queues':1"), WEFT_USAGE, "unknown key");
    api_refused(*state, SET_PORT("'queues.x':1"), WEFT_USAGE, "has no key \"x\" below it");
    api_refused(*state, SET_TENANT("'limits.porst':1"), WEFT_USAGE, "did you mean \"ports\"?");
    api_refused(*state, SET_TENANT("'ports':{}"), WEFT_USAGE, "holds objects");
    api_refused(*state, SET_TENANT("'segments.web':null"), WEFT_USAGE, "holds objects");
    api_refused(*state, SET_TENANT("'flows':[]"), WEFT_INVALID, "not built");
    api_refused(*state, SET_TENANT("'nat':{}"), WEFT_USAGE, "commands of their own");
    api_refused(*state, SET_PORT("'queues':'many'"), WEFT_INVALID, "\"many\" is not a number");
    api_refused(*state, SET_PORT("'queues':true"), WEFT_INVALID, "\"true\" is not a number");
    api_refused(*state, SET_PORT("'queues':[1]"), WEFT_INVALID, "must be one value");
    api_refused(*state, SET_PORT("'segment':'wbe'"), WEFT_INVALID, "did you mean \"web\"?");
    api_refused(*state, SET_PORT("'segment':null"), WEFT_INVALID, "needs a segment");
    api_refused(*state, SET_PORT("'ip':''"), WEFT_INVALID, "empty list");
    api_refused(*state, SET_TENANT("'limits.ports':2"), WEFT_LIMIT,
                "tenant acme has 3 ports, its limit is 2");
    api_refused(*state, SET_PORT("'queues':1,'x':1,'mtu':1"), WEFT_INVALID, "(and 1 more)");
    api_refused(*state, "{'method':'set','params':{'noun':'port','name':'acme/vm1','values':[]}}", WEFT_USAGE,
                "values");
    api_refused(*state, "{'method':'set','params':{'noun':'port','name':'acme/vm1'}}", WEFT_USAGE,
                "values is missing");
    api_refused(*state, "{'method':'del','params':{'noun':'port','name':'acme/vm1','values':{}}}", WEFT_USAGE,
                "no parameter \"values\"");
}

static void somebody_else_changed_it(void **state)
{
    EXPECT(*state, "set", "'noun':'port','name':'acme/vm1','values':{'queues':1},'expect_generation':5",
           "~ port acme/vm1 queues 2 -> 1");
    api_refused(*state,
                "{'method':'set','params':{'noun':'port','name':'acme/"
                "vm1','values':{'queues':1},'expect_generation':4}}",
                WEFT_CONFLICT, "generation 5 is in force, not 4");
}

/* Without a dataplane a change fails, and nothing is left of it. */
static void a_failed_change_changes_nothing(void **state)
{
    struct controller *controller = *state;
    json_t *before = json_deep_copy(controller->model->config);
    api_refused(controller, "{'method':'del','params':{'noun':'port','name':'acme/vm2'}}", WEFT_FAILED,
                "the dataplane is not running; the old generation stays in force");
    assert_true(json_equal(before, controller->model->config));
    assert_int_equal(controller->generation, 5);
    assert_int_equal(store_current(controller->store), 0);
    json_decref(before);
}

static void snippet(struct controller *controller, const char *port, const char *program, const char *wanted)
{
    char request[200];
    const char *text = NULL;
    snprintf(request, sizeof(request), "{'method':'port.snippet','params':{'name':'%s','for':'%s'}}", port,
             program);
    json_t *answer = api_ask(controller, request);
    json_unpack(answer, "{s:{s:s}}", "result", "text", &text);
    assert_non_null(text);
    assert_non_null(strstr(text, wanted));
    json_decref(answer);
}

static void snippets(void **state)
{
    snippet(*state, "acme/vm1", "qemu",
            "-chardev socket,id=c0,path=/run/weft/vhost/acme.vm1,reconnect=1 -netdev "
            "vhost-user,id=n0,chardev=c0,queues=2 "
            "-device virtio-net-pci,netdev=n0,mac=52:54:00:00:00:01,mq=on,vectors=6\n");
    snippet(*state, "acme/vm2", "qemu",
            "path=/run/weft/vhost/acme.vm2,server=on,wait=off -netdev vhost-user,id=n0,chardev=c0,queues=1 "
            "-device virtio-net-pci,netdev=n0,host_mtu=9000\n");
    snippet(*state, "acme/vm1", "proxmox", "path=/run/weft/vhost/acme.vm1,reconnect=1");
    snippet(*state, "acme/vm1", "libvirt",
            "<source type='unix' path='/run/weft/vhost/acme.vm1' mode='client'>");
    snippet(*state, "acme/vm2", "libvirt", "mode='server'/>");
    snippet(*state, "acme/vm1", "cloud-hypervisor",
            "--memory size=1G,shared=on --net "
            "vhost_user=true,socket=/run/weft/vhost/acme.vm1,num_queues=4,queue_size=256,"
            "mac=52:54:00:00:00:01\n");
    snippet(*state, "acme/vm2", "cloud-hypervisor", "vhost_mode=server,mtu=9000");
    snippet(*state, "acme/vm1", "weft-vmm",
            "--net socket=/run/weft/vhost/acme.vm1,mac=52:54:00:00:00:01,queues=2\n");
    api_refused(*state, "{'method':'port.snippet','params':{'name':'acme/vm2','for':'weft-vmm'}}",
                WEFT_CONFLICT, "dials");
    api_refused(*state, "{'method':'port.snippet','params':{'name':'beta/h','for':'qemu'}}", WEFT_CONFLICT,
                "interface t0");
    api_refused(*state, "{'method':'port.snippet','params':{'name':'acme/vm1','for':'qemo'}}", WEFT_USAGE,
                "did you mean \"qemu\"?");
    api_refused(*state, "{'method':'port.snippet','params':{'name':'acme/x','for':'qemu'}}", WEFT_NOT_FOUND,
                "no port \"x\"");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(add_makes),
        TEST(add_of_the_same_is_unchanged),
        TEST(set_changes),
        TEST(del_removes),
        TEST(cascade_takes_what_needs_it),
        TEST(names_that_are_wrong),
        TEST(values_that_are_wrong),
        TEST(somebody_else_changed_it),
        TEST(a_failed_change_changes_nothing),
        TEST(snippets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
