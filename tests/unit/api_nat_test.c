/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Address translation through the API: set and del of noun nat, forward.add and forward.del, what they say
 * they change, and what they refuse. Changes are dry runs, since there is no dataplane.
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
    "uplinks: {lan0: {device: 'vdev:net_null0', address: 203.0.113.2/24}}\n"
    "tenants:\n"
    "  acme:\n"
    "    segments: {app: {mode: nat, subnet: 10.0.1.0/24, uplink: lan0},\n"
    "               own: {mode: nat, subnet: 10.0.2.0/24, uplink: lan0}, web: {mode: isolated}}\n"
    "    ports: {vm1: {segment: app, ip: 10.0.1.10}, vm2: {segment: app}, vm3: {segment: own, ip: "
    "10.0.2.9}}\n"
    "    nat: {own: {address: [203.0.113.7, 203.0.113.8], one-to-one: {vm3: 203.0.113.9},\n"
    "                forwards: [{proto: tcp, port: 80, to: 'vm3:80'},\n"
    "                           {proto: tcp, port: 80, to: 'vm3:81', address: 203.0.113.8}]}}\n"
    "  beta: {}\n";

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

/* The answer to a method; ' stands for ". */
static json_t *ask(struct controller *controller, const char *method, const char *params)
{
    char request[1024];
    snprintf(request, sizeof(request), "{'method':'%s','params':{%s}}", method, params);
    return api_ask(controller, request);
}

static void refused(struct controller *controller, const char *method, const char *params, int code,
                    const char *words)
{
    char request[1024];
    snprintf(request, sizeof(request), "{'method':'%s','params':{%s}}", method, params);
    api_refused(controller, request, code, words);
}

/* What a dry run says: its lines, with a newline after each. */
static void expect(struct controller *controller, const char *method, const char *params, const char *lines)
{
    char dry[900], got[900] = "";
    snprintf(dry, sizeof(dry), "'dry_run':true,%s", params);
    json_t *answer = ask(controller, method, dry), *line;
    json_t *changes = json_object_get(json_object_get(answer, "result"), "changes");
    size_t index;
    assert_non_null(changes);
    json_array_foreach (changes, index, line)
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s\n", json_string_value(line));
    assert_string_equal(got, lines);
    json_decref(answer);
}

#define APP "'noun':'nat','name':'acme/app'"
#define OWN "'noun':'nat','name':'acme/own'"

static void set_needs_no_add(void **state)
{
    expect(*state, "set", APP ",'values':{'address':'203.0.113.20,203.0.113.21'}",
           "~ nat acme/app address none -> 203.0.113.20,203.0.113.21\n");
    expect(*state, "set", APP ",'values':{'one-to-one.vm1':'203.0.113.20'}",
           "~ nat acme/app one-to-one none -> vm1=203.0.113.20\n");
    expect(*state, "set", APP ",'values':{'address':null,'one-to-one.vm1':null}", "");
    expect(*state, "del", APP, "");
    refused(*state, "add", APP, WEFT_USAGE, "weft nat set");
}

static void entries_and_defaults(void **state)
{
    expect(*state, "set", OWN ",'values':{'one-to-one.vm3':null}",
           "~ nat acme/own one-to-one vm3=203.0.113.9 -> none\n");
    expect(*state, "set", OWN ",'values':{'one-to-one':null,'filtering':'endpoint-independent'}",
           "~ nat acme/own filtering none -> endpoint-independent, one-to-one vm3=203.0.113.9 -> none\n");
    refused(*state, "del", OWN, WEFT_INVALID, "203.0.113.8 is not in the segment's list of addresses");
}

static void forwards(void **state)
{
    expect(*state, "forward.add", "'segment':'acme/app','proto':'tcp','port':'8443','to':'acme/vm1:443'",
           "+ forward acme/app tcp 8443 to vm1:443\n");
    expect(*state, "forward.del", "'segment':'acme/own','proto':'tcp','port':'80'",
           "- forward acme/own tcp 80 to vm3:80\n");
    /* the first address is the default, by whichever word */
    expect(*state, "forward.del", "'segment':'acme/own','proto':'tcp','port':'80','address':'203.0.113.7'",
           "- forward acme/own tcp 80 to vm3:80\n");
    expect(*state, "forward.del", "'segment':'acme/own','proto':'tcp','port':'80','address':'203.0.113.8'",
           "- forward acme/own tcp 80 to vm3:81 address 203.0.113.8\n");
    expect(*state, "forward.del", "'segment':'acme/own','proto':'udp','port':'80'", "");
    expect(*state, "forward.add",
           "'segment':'acme/own','proto':'tcp','port':'80','to':'vm3:80','address':'203.0.113.7'", "");
}

static void refusals(void **state)
{
    static const char to[] = "'segment':'acme/app','proto':'tcp','port':'1','to':";
    char params[200];
    snprintf(params, sizeof(params), "%s'beta/vm1:443'", to);
    refused(*state, "forward.add", params, WEFT_INVALID, "a port of another tenant");
    snprintf(params, sizeof(params), "%s'acme/:443'", to);
    refused(*state, "forward.add", params, WEFT_INVALID, "is not PORT:NUMBER");
    snprintf(params, sizeof(params), "%s'vm2:443'", to);
    refused(*state, "forward.add", params, WEFT_INVALID, "\"weft port set acme/vm2 --ip ADDRESS\"");
    refused(*state, "forward.add", "'segment':'acme/web','proto':'tcp','port':'1','to':'vm1:1'", WEFT_INVALID,
            "mode isolated; only mode nat");
    refused(*state, "set", "'noun':'nat','name':'acme/web','values':{'address':'203.0.113.9'}", WEFT_INVALID,
            "mode isolated, not nat");
    refused(*state, "set", "'noun':'nat','name':'acme/ap','values':{}", WEFT_NOT_FOUND,
            "did you mean \"app\"");
    refused(*state, "set", APP ",'values':{'one-to-one.vm1':''}", WEFT_INVALID, "is not an address");
    refused(*state, "set", APP ",'values':{'one-to-one.a.b':'203.0.113.9'}", WEFT_INVALID, "name of a port");
    refused(*state, "set", APP ",'values':{'one-to-one.vm3':'203.0.113.9'}", WEFT_INVALID, "not in segment");
    refused(*state, "show", "'noun':'nat','name':'acme/web'", WEFT_INVALID, "only mode nat");
}

static void shown(void **state)
{
    json_t *answer = ask(*state, "list", "'noun':'nat'"), *result = json_object_get(answer, "result");
    json_t *own = json_array_get(json_object_get(result, "items"), 1);
    const char *schema, *name, *pin;
    int forward_count;
    assert_int_equal(json_unpack(result, "{s:s}", "schema", &schema), 0);
    assert_string_equal(schema, "weft.nat.v1");
    assert_int_equal(json_unpack(own, "{s:s, s:i, s:{s:s}}", "name", &name, "forwards", &forward_count,
                                 "one_to_one", "vm3", &pin),
                     0);
    assert_string_equal(name, "acme/own");
    assert_int_equal(forward_count, 2);
    assert_string_equal(pin, "203.0.113.9");
    json_decref(answer);
    answer = ask(*state, "show", "'noun':'segment','name':'acme/app'");
    json_t *item = json_array_get(json_object_get(json_object_get(answer, "result"), "items"), 0);
    const char *range;
    assert_int_equal(json_unpack(item, "{s:{s:s}}", "dhcp", "range", &range), 0);
    assert_string_equal(range, "10.0.1.2-10.0.1.254"); /* without the gateway, as it is given */
    json_decref(answer);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(set_needs_no_add, setup, teardown),
        cmocka_unit_test_setup_teardown(entries_and_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(forwards, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(shown, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
