/* SPDX-License-Identifier: BSD-3-Clause */
/* Objects of routers and address translation: what is refused when it is put, and what when it is committed.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "dp_objects.h"
#include "objects.h"

static void map(uint8_t address[16], uint32_t ipv4)
{
    memset(address, 0, 16);
    address[10] = address[11] = 0xff;
    for (unsigned i = 0; i < 4; i++)
        address[12 + i] = (uint8_t)(ipv4 >> (24 - 8 * i));
}

struct world {
    struct dp_port inside_port, outside_port;
    struct dp_router router;
    struct dp_interface inside, outside;
    struct dp_route route;
    struct dp_neighbour neighbour;
    struct dp_nat_address address;
    struct dp_nat_source source;
    struct dp_nat_one_to_one one_to_one;
    struct dp_nat_forward forward;
};

static struct world make_world(void)
{
    struct world w = {.router = {.id = 1, .name = "t1"}};
    w.inside_port = make_port(1, 1);
    w.outside_port = make_port(2, 9);
    struct dp_port *ports[] = {&w.inside_port, &w.outside_port};
    for (unsigned i = 0; i < 2; i++) {
        ports[i]->type = DP_PORT_ROUTER;
        ports[i]->mac[0] = 2;
        memset(ports[i]->device, 0, sizeof(ports[i]->device));
        memcpy(ports[i]->device, "router", 6);
    }
    w.inside = (struct dp_interface){.port = 1,
                                     .router = 1,
                                     .ipv4_prefix_length = 120,
                                     .ipv6_prefix_length = 64,
                                     .ipv6 = {0xfd, [15] = 1}};
    map(w.inside.ipv4, 0x0a000001);
    w.outside = (struct dp_interface){.port = 2, .ipv4_prefix_length = 120};
    map(w.outside.ipv4, 0xc0000201);
    w.route = (struct dp_route){.router = 1, .prefix_length = 112, .port = 1};
    map(w.route.prefix, 0x0a630000);
    map(w.route.next_hop, 0x0a000002);
    w.neighbour = (struct dp_neighbour){.port = 1, .mac = {2, 0, 0, 0, 0, 1}};
    map(w.neighbour.address, 0x0a000002);
    w.address = (struct dp_nat_address){.port = 2, .port_first = 1024, .port_last = 2048};
    map(w.address.address, 0xc0000201);
    w.source = (struct dp_nat_source){.port = 1, .outside = 2};
    map(w.source.address, 0xc0000201);
    w.one_to_one = (struct dp_nat_one_to_one){.outside = 2, .port = 1};
    map(w.one_to_one.address, 0xc0000202);
    map(w.one_to_one.inside, 0x0a000009);
    w.forward = (struct dp_nat_forward){
        .outside = 2, .protocol = 6, .first = 80, .last = 90, .to_first = 8080, .port = 1};
    map(w.forward.address, 0xc0000201);
    map(w.forward.inside, 0x0a000009);
    return w;
}

/* 0, or the first error: of a put, then of the whole. */
static int check(const struct world *w, const struct dp_nat_forward *second, char *text)
{
    const struct {
        enum dp_kind kind;
        const void *object;
    } all[] = {{DP_KIND_PORT, &w->inside_port},    {DP_KIND_PORT, &w->outside_port},
               {DP_KIND_ROUTER, &w->router},       {DP_KIND_INTERFACE, &w->inside},
               {DP_KIND_INTERFACE, &w->outside},   {DP_KIND_ROUTE, &w->route},
               {DP_KIND_NEIGHBOUR, &w->neighbour}, {DP_KIND_NAT_ADDRESS, &w->address},
               {DP_KIND_NAT_SOURCE, &w->source},   {DP_KIND_NAT_ONE_TO_ONE, &w->one_to_one},
               {DP_KIND_NAT_FORWARD, &w->forward}, {DP_KIND_NAT_FORWARD, second}};
    struct objects *objects = objects_new();
    int error = 0;
    text[0] = 0;
    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]) && !error; i++)
        if (all[i].object)
            error = objects_put(objects, all[i].kind, all[i].object, text);
    if (!error)
        error = objects_check(objects, text);
    objects_free(objects);
    return error;
}

#define REFUSED(status, change)                                                                              \
    do {                                                                                                     \
        struct world w = make_world();                                                                       \
        char text[OBJECT_TEXT_SIZE];                                                                         \
        change;                                                                                              \
        assert_int_equal(check(&w, NULL, text), status);                                                     \
        assert_true(text[0] != 0);                                                                           \
    } while (0)

static void a_good_configuration(void **state)
{
    struct world w = make_world();
    char text[OBJECT_TEXT_SIZE];
    if (check(&w, NULL, text))
        fail_msg("%s", text);
}

static void one_object(void **state)
{
    REFUSED(-ERANGE, w.router.id = 0);
    REFUSED(-EINVAL, w.router.pad = 1);
    REFUSED(-EINVAL, w.router.name[0] = 0);
    REFUSED(-ERANGE, w.inside.port = 0);
    REFUSED(-EINVAL, w.inside.flags = 64);
    REFUSED(-EINVAL, w.inside.ipv4_prefix_length = 129);
    REFUSED(-EINVAL, w.inside.ipv4_prefix_length = 95);
    REFUSED(-EINVAL, map(w.inside.ipv4, 0x7f000001));
    REFUSED(-EINVAL, map(w.inside.ipv4, 0xe0000001));
    REFUSED(-EINVAL, w.inside.ipv6[0] = 0xff);
    REFUSED(-EINVAL, w.inside.pad[1] = 1);
    REFUSED(-EINVAL, w.route.prefix[15] = 1);
    REFUSED(-EINVAL, w.route.prefix_length = 129);
    REFUSED(-EINVAL, memset(w.route.next_hop, 0x20, 16));
    REFUSED(-EINVAL, w.route.pad[0] = 1);
    REFUSED(-EINVAL, w.neighbour.mac[0] = 1);
    REFUSED(-EINVAL, memset(w.neighbour.address, 0, 16));
    REFUSED(-ERANGE, w.address.port_first = 0);
    REFUSED(-ERANGE, w.address.port_last = 1000);
    REFUSED(-EINVAL, w.address.flags = 2);
    REFUSED(-EINVAL, w.source.flags = 2);
    REFUSED(-EINVAL, w.forward.protocol = 1);
    REFUSED(-ERANGE, w.forward.last = 70);
    REFUSED(-ERANGE, w.forward.to_first = 65530);
    REFUSED(-EINVAL, w.one_to_one.inside[10] = 0x20);
}

static void the_whole(void **state)
{
    REFUSED(-ENOENT, w.inside_port.type = DP_PORT_TAP);
    REFUSED(-EINVAL, memset(w.inside_port.mac, 0, 6));
    REFUSED(-EPERM, w.inside_port.tenant = 2);
    REFUSED(-ENOENT, w.router.id = 3);
    REFUSED(-ENOENT, w.route.port = 3);
    REFUSED(-EPERM, w.route.router = 2);
    REFUSED(-EINVAL, map(w.route.next_hop, 0x0a000102));
    REFUSED(-ENOENT, w.neighbour.port = 3);
    REFUSED(-EPERM, w.address.port = 1);
    REFUSED(-EPERM, w.source.port = 2);
    REFUSED(-ENOENT, map(w.source.address, 0xc0000203));
    REFUSED(-EEXIST, map(w.one_to_one.address, 0xc0000201));
    REFUSED(-EPERM, w.one_to_one.port = 2);
    REFUSED(-EPERM, w.forward.outside = 1);
    REFUSED(-ENOENT, w.forward.port = 7);
    struct world w = make_world();
    struct dp_nat_forward second = w.forward;
    char text[OBJECT_TEXT_SIZE];
    second.first = 90;
    second.last = 95;
    assert_int_equal(check(&w, &second, text), -EEXIST);
    second.first = 91;
    assert_int_equal(check(&w, &second, text), 0);
}

static void too_many_routes(void **state)
{
    struct world w = make_world();
    struct objects *objects = objects_new();
    char text[OBJECT_TEXT_SIZE];
    assert_int_equal(objects_put(objects, DP_KIND_PORT, &w.inside_port, text), 0);
    assert_int_equal(objects_put(objects, DP_KIND_ROUTER, &w.router, text), 0);
    assert_int_equal(objects_put(objects, DP_KIND_INTERFACE, &w.inside, text), 0);
    w.route.prefix_length = 128;
    for (uint32_t i = 0; i < 1025; i++) {
        map(w.route.prefix, 0x0a630000 + i);
        assert_int_equal(objects_check(objects, text), 0);
        assert_int_equal(objects_put(objects, DP_KIND_ROUTE, &w.route, text), 0);
    }
    assert_int_equal(objects_check(objects, text), -ENOSPC);
    objects_free(objects);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_configuration),
        cmocka_unit_test(one_object),
        cmocka_unit_test(the_whole),
        cmocka_unit_test(too_many_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
