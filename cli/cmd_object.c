/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * list, show, add, set and del of tenants, segments, ports, uplinks, address translation and machines:
 * weftd's generic methods, with the columns that each noun is shown with.
 */
#include <stdlib.h>
#include <string.h>

#include "change.h"
#include "client.h"
#include "commands.h"
#include "output.h"
#include "show.h"

#define PACKETS_AND_BYTES                                                                                    \
    {"RX-PKTS", "rx_packets", NULL, COLUMN_COUNT, false},                                                    \
        {"RX-BYTES", "rx_bytes", NULL, COLUMN_BYTES, true},                                                  \
        {"TX-PKTS", "tx_packets", NULL, COLUMN_COUNT, false},                                                \
    {                                                                                                        \
        "TX-BYTES", "tx_bytes", NULL, COLUMN_BYTES, true                                                     \
    }

static const struct column tenant_columns[] = {
    {"TENANT", "name", NULL, COLUMN_TEXT, false},
    {"SEGMENTS", "segments", NULL, COLUMN_COUNT, false},
    {"PORTS", "ports", NULL, COLUMN_COUNT, false},
    {"UP", "ports_up", NULL, COLUMN_COUNT, false},
    PACKETS_AND_BYTES,
    {"DROPS", "drops", NULL, COLUMN_COUNT, false},
    {"SESSIONS", "sessions", NULL, COLUMN_COUNT, true},
    {"REFUSED", "sessions_refused", NULL, COLUMN_COUNT, true},
    {"LIMITS", "limits", NULL, COLUMN_TEXT, true},
    {NULL},
};

static const struct column segment_columns[] = {
    {"SEGMENT", "name", NULL, COLUMN_TEXT, false},
    {"MODE", "mode", NULL, COLUMN_TEXT, false},
    {"VLAN", "vlan", NULL, COLUMN_COUNT, false},
    {"UPLINK", "uplink", NULL, COLUMN_TEXT, false},
    {"PORTS", "ports", NULL, COLUMN_COUNT, false},
    {"UP", "ports_up", NULL, COLUMN_COUNT, false},
    {"ADDRESSES", "addresses", NULL, COLUMN_COUNT, false},
    {"AGEING", "ageing", NULL, COLUMN_SECONDS, true},
    {"MACS", "macs", NULL, COLUMN_COUNT, true},
    {"ISOLATE-PORTS", "isolate_ports", NULL, COLUMN_YES, true},
    {"STATIC", "static", NULL, COLUMN_TEXT, true},
    {"GATEWAY", "gateway", "host_address", COLUMN_TEXT, true},
    {"HOST-INTERFACE", "host_interface", NULL, COLUMN_TEXT, true},
    {"DHCP", "dhcp", NULL, COLUMN_TEXT, true},
    {"NAT", "nat", NULL, COLUMN_TEXT, true},
    {NULL},
};

/* What `segment show` knows beyond the list. */
static const struct column segment_details[] = {
    {"segment", "name", NULL, COLUMN_TEXT, false},
    {"mode", "mode", NULL, COLUMN_TEXT, false},
    {"vlan", "vlan", NULL, COLUMN_COUNT, false},
    {"uplink", "uplink", NULL, COLUMN_TEXT, false},
    {"gateway", "gateway", NULL, COLUMN_TEXT, false},
    {"host interface", "host_interface", NULL, COLUMN_TEXT, false},
    {"host address", "host_address", NULL, COLUMN_TEXT, false},
    {"host interface is", "host_state", NULL, COLUMN_STATE, false},
    {"dhcp", "dhcp", NULL, COLUMN_TEXT, false},
    {"translated to", "nat", NULL, COLUMN_TEXT, false},
    {"port forwards", "forwards", NULL, COLUMN_COUNT, false},
    {"1:1 addresses", "one_to_one", NULL, COLUMN_COUNT, false},
    {"ports", "ports", NULL, COLUMN_COUNT, false},
    {"ports up", "ports_up", NULL, COLUMN_COUNT, false},
    {"addresses learned", "addresses", NULL, COLUMN_COUNT, false},
    {"ageing", "ageing", NULL, COLUMN_SECONDS, false},
    {"macs", "macs", NULL, COLUMN_COUNT, false},
    {"isolate-ports", "isolate_ports", NULL, COLUMN_YES, false},
    {"static", "static", NULL, COLUMN_TEXT, false},
    {NULL},
};

static const struct column port_columns[] = {
    {"PORT", "name", NULL, COLUMN_TEXT, false},
    {"STATE", "state", NULL, COLUMN_STATE, false},
    {"SEGMENT", "segment", "trunk", COLUMN_TEXT, false},
    {"KIND", "kind", NULL, COLUMN_TEXT, true},
    {"MAC", "mac", NULL, COLUMN_TEXT, false},
    {"IP", "ip", NULL, COLUMN_TEXT, true},
    {"QUEUES", "queues", NULL, COLUMN_COUNT, false},
    {"MTU", "mtu", NULL, COLUMN_COUNT, true},
    {"ADDRESSES", "addresses", NULL, COLUMN_COUNT, true},
    PACKETS_AND_BYTES,
    {"DROPS-FROM", "drops_from", NULL, COLUMN_COUNT, false},
    {"DROPS-TO", "drops_to", NULL, COLUMN_COUNT, false},
    {"CONNECTS", "connects", NULL, COLUMN_COUNT, true},
    {"SOCKET", "socket", "tap", COLUMN_TEXT, true},
    {"ERROR", "error", NULL, COLUMN_TEXT, true},
    {NULL},
};

static const struct column uplink_columns[] = {
    {"UPLINK", "name", NULL, COLUMN_TEXT, false},
    {"STATE", "state", NULL, COLUMN_STATE, false},
    {"DEVICE", "device", NULL, COLUMN_TEXT, false},
    {"MTU", "mtu", NULL, COLUMN_COUNT, false},
    {"LINK", "link", NULL, COLUMN_TEXT, true},
    {"MAC", "mac", NULL, COLUMN_TEXT, true},
    {"INTERFACE-MTU", "interface_mtu", NULL, COLUMN_COUNT, true},
    {"QUEUES", "interface_queues", NULL, COLUMN_COUNT, true},
    {"COUNTED-AT", "counted_at", NULL, COLUMN_TEXT, true},
    {"XDP", "xdp", NULL, COLUMN_TEXT, true},
    {"ZERO-COPY", "zero_copy", NULL, COLUMN_YES, true},
    {"SEGMENTS", "segments", NULL, COLUMN_TEXT, false},
    PACKETS_AND_BYTES,
    {"DROPS-FROM", "drops_from", NULL, COLUMN_COUNT, false},
    {"DROPS-TO", "drops_to", NULL, COLUMN_COUNT, false},
    {"NAT-PORTS", "nat_ports", NULL, COLUMN_TEXT, true},
    {"ROUTES-LEFT-OUT", "routes_left_out", NULL, COLUMN_COUNT, true},
    {"ERROR", "error", NULL, COLUMN_TEXT, true},
    {NULL},
};

static const struct column nat_address_columns[] = {
    {"ADDRESS", "address", NULL, COLUMN_TEXT, false},
    {"PORTS", "ports", NULL, COLUMN_COUNT, false},
    {"TCP-USED", "tcp_used", NULL, COLUMN_COUNT, false},
    {"UDP-USED", "udp_used", NULL, COLUMN_COUNT, false},
    {"ICMP-USED", "icmp_used", NULL, COLUMN_COUNT, false},
    {"REFUSED", "refused", NULL, COLUMN_COUNT, false},
    {NULL},
};

static const struct column nat_columns[] = {
    {"SEGMENT", "name", NULL, COLUMN_TEXT, false},
    {"UPLINK", "uplink", NULL, COLUMN_TEXT, false},
    {"ADDRESS", "address", NULL, COLUMN_TEXT, false},
    {"FORWARDS", "forwards", NULL, COLUMN_COUNT, false},
    {"ONE-TO-ONE", "one_to_one", NULL, COLUMN_TEXT, false},
    {"FILTERING", "filtering", NULL, COLUMN_TEXT, true},
    {NULL},
};

/* What `port show` knows beyond the list. */
static const struct column port_details[] = {
    {"port", "name", NULL, COLUMN_TEXT, false},
    {"state", "state", NULL, COLUMN_STATE, false},
    {"error", "error", NULL, COLUMN_TEXT, false},
    {"kind", "kind", NULL, COLUMN_TEXT, false},
    {"segment", "segment", NULL, COLUMN_TEXT, false},
    {"trunk", "trunk", NULL, COLUMN_TEXT, false},
    {"native", "native", NULL, COLUMN_TEXT, false},
    {"mac", "mac", NULL, COLUMN_TEXT, false},
    {"ip", "ip", NULL, COLUMN_TEXT, false},
    {"spoof", "spoof", NULL, COLUMN_TEXT, false},
    {"isolated", "isolated", NULL, COLUMN_TEXT, false},
    {"enabled", "enabled", NULL, COLUMN_TEXT, false},
    {"queues", "queues", NULL, COLUMN_COUNT, false},
    {"queues enabled", "queues_enabled", NULL, COLUMN_COUNT, false},
    {"mtu", "mtu", NULL, COLUMN_COUNT, false},
    {"storm-limit", "storm_limit", NULL, COLUMN_COUNT, false},
    {"macs", "macs", NULL, COLUMN_COUNT, false},
    {"addresses learned", "addresses", NULL, COLUMN_COUNT, false},
    {"socket", "socket", NULL, COLUMN_TEXT, false},
    {"client", "client", NULL, COLUMN_YES, false},
    {"tap", "tap", NULL, COLUMN_TEXT, false},
    {"features", "features", NULL, COLUMN_TEXT, false},
    {"connects", "connects", NULL, COLUMN_COUNT, false},
    {"protocol errors", "protocol_errors", NULL, COLUMN_COUNT, false},
    {"ring errors", "ring_errors", NULL, COLUMN_COUNT, false},
    {"guest memory", "memory_bytes", NULL, COLUMN_BYTES, false},
    {"received packets", "rx_packets", NULL, COLUMN_COUNT, false},
    {"received bytes", "rx_bytes", NULL, COLUMN_BYTES, false},
    {"forwarded packets", "rx_forwarded", NULL, COLUMN_COUNT, false},
    {"flooded packets", "rx_flooded", NULL, COLUMN_COUNT, false},
    {"sent packets", "tx_packets", NULL, COLUMN_COUNT, false},
    {"sent bytes", "tx_bytes", NULL, COLUMN_BYTES, false},
    {"made by segmentation", "tx_segments", NULL, COLUMN_COUNT, false},
    {"drops from guest", "drops_from", NULL, COLUMN_COUNT, false},
    {"drops to guest", "drops_to", NULL, COLUMN_COUNT, false},
    {NULL},
};

static const struct column queue_columns[] = {
    {"QUEUE", "queue", NULL, COLUMN_COUNT, false},       {"WORKER", "worker", NULL, COLUMN_COUNT, false},
    {"CORE", "core", NULL, COLUMN_COUNT, false},         {"RING", "ring_size", NULL, COLUMN_COUNT, false},
    {"USABLE", "usable", NULL, COLUMN_TEXT, false},      {"RX-PKTS", "rx_packets", NULL, COLUMN_COUNT, false},
    {"RX-BYTES", "rx_bytes", NULL, COLUMN_BYTES, false}, {"TX-PKTS", "tx_packets", NULL, COLUMN_COUNT, false},
    {"TX-BYTES", "tx_bytes", NULL, COLUMN_BYTES, false}, {NULL},
};

static const struct column vm_columns[] = {
    {"MACHINE", "name", NULL, COLUMN_TEXT, false},
    {"STATE", "state", NULL, COLUMN_STATE, false},
    {"CPUS", "cpus", NULL, COLUMN_COUNT, false},
    {"MEMORY", "memory", NULL, COLUMN_BYTES, false},
    {"UPTIME", "uptime", NULL, COLUMN_SECONDS, false},
    {"LINK", "link", NULL, COLUMN_YES, false},
    {"RESTARTS", "restarts", NULL, COLUMN_COUNT, false},
    {"PENDING", "restart_pending", NULL, COLUMN_YES, false},
    {"PID", "pid", NULL, COLUMN_TEXT, true},
    {"MAC", "mac", NULL, COLUMN_TEXT, true},
    {"KERNEL", "kernel", NULL, COLUMN_TEXT, true},
    {"DISKS", "disks", NULL, COLUMN_TEXT, true},
    {"READ", "read_bytes", NULL, COLUMN_BYTES, true},
    {"WRITTEN", "written_bytes", NULL, COLUMN_BYTES, true},
    {"CONSOLE", "console_bytes", NULL, COLUMN_BYTES, true},
    {"REASON", "reason", NULL, COLUMN_TEXT, true},
    {NULL},
};

static const struct column vm_details[] = {
    {"MACHINE", "name", NULL, COLUMN_TEXT, false},
    {"STATE", "state", NULL, COLUMN_STATE, false},
    {"REASON", "reason", NULL, COLUMN_TEXT, false},
    {"RESTART PENDING", "restart_pending", NULL, COLUMN_YES, false},
    {"PID", "pid", NULL, COLUMN_TEXT, false},
    {"CPUS", "cpus", NULL, COLUMN_COUNT, false},
    {"MEMORY", "memory", NULL, COLUMN_BYTES, false},
    {"HUGEPAGES", "hugepages", NULL, COLUMN_YES, false},
    {"MAC", "mac", NULL, COLUMN_TEXT, false},
    {"LINK", "link", NULL, COLUMN_YES, false},
    {"KERNEL", "kernel", NULL, COLUMN_TEXT, false},
    {"INITRD", "initrd", NULL, COLUMN_TEXT, false},
    {"CMDLINE", "cmdline", NULL, COLUMN_TEXT, false},
    {"DISKS", "disks", NULL, COLUMN_TEXT, false},
    {"CLOUD-INIT", "cloud_init", NULL, COLUMN_TEXT, false},
    {"UPTIME", "uptime", NULL, COLUMN_SECONDS, false},
    {"RESTARTS", "restarts", NULL, COLUMN_COUNT, false},
    {"RESETS", "resets", NULL, COLUMN_COUNT, false},
    {"READ", "read_bytes", NULL, COLUMN_BYTES, false},
    {"WRITTEN", "written_bytes", NULL, COLUMN_BYTES, false},
    {"CONSOLE", "console_bytes", NULL, COLUMN_BYTES, false},
    {"CONSOLE LOG", "console_log", NULL, COLUMN_TEXT, false},
    {NULL},
};

static const struct noun {
    const char *name;
    const struct column *columns, *details; /* details NULL: those of the list */
    const char *parts;                      /* a list in the item, shown below it; NULL: none */
    const struct column *part_columns;
} nouns[] = {
    {"tenant", tenant_columns, NULL, NULL, NULL},
    {"segment", segment_columns, segment_details, NULL, NULL},
    {"port", port_columns, port_details, "queue", queue_columns},
    {"uplink", uplink_columns, NULL, "nat", nat_address_columns},
    {"nat", nat_columns, NULL, NULL, NULL},
    {"vm", vm_columns, vm_details, NULL, NULL},
};

static const struct noun *noun_of(const struct cli_context *context)
{
    size_t i = 0;
    while (i + 1 < sizeof(nouns) / sizeof(nouns[0]) && strcmp(nouns[i].name, context->command->noun) != 0)
        i++;
    return &nouns[i];
}

int cmd_object_list(struct cli_context *context)
{
    json_t *params = json_pack("{ss}", "noun", context->command->noun);
    const char *segment = cli_given_value(context, "segment");
    if (context->tenant)
        json_object_set_new(params, "tenant", output_json_string(context->tenant));
    if (segment)
        json_object_set_new(params, "segment", output_json_string(segment));
    return show_items(context, "list", params, noun_of(context)->columns);
}

int cmd_object_show(struct cli_context *context)
{
    json_t *result, *params = json_pack("{ss}", "noun", context->command->noun);
    json_object_set_new(params, "name", output_json_string(context->arguments[0]));
    int code = client_call(context, "show", params, false, &result);
    if (code)
        return code;
    const struct noun *noun = noun_of(context);
    const json_t *item = json_array_get(json_object_get(result, "items"), 0);
    const json_t *parts = noun->parts ? json_object_get(item, noun->parts) : NULL;
    bool wide = context->format == CLI_FORMAT_WIDE;
    if (context->format == CLI_FORMAT_JSON || context->format == CLI_FORMAT_NAME) {
        output_items(context->out, context, result, noun->columns);
    } else {
        output_record(context->out, item, noun->details ? noun->details : noun->columns, wide,
                      context->colour);
        if (json_array_size(parts)) {
            fputc('\n', context->out);
            output_table(context->out, parts, noun->part_columns, wide, context->colour);
        }
    }
    json_decref(result);
    return WEFT_OK;
}

static json_t *change_params(const struct cli_context *context)
{
    json_t *params = json_pack("{ss}", "noun", context->command->noun);
    json_object_set_new(params, "name", output_json_string(context->arguments[0]));
    return params;
}

int cmd_object_add(struct cli_context *context)
{
    json_t *params = change_params(context);
    json_object_set_new(params, "values", change_values(context, false));
    return change_run(context, "add", params);
}

int cmd_object_set(struct cli_context *context)
{
    json_t *values = change_values(context, true);
    if (json_object_size(values) == 0) {
        json_decref(values);
        output_error("%s set: nothing to set; \"weft %s set --help\" lists what can be set",
                     context->command->noun, context->command->noun);
        return WEFT_USAGE;
    }
    json_t *params = change_params(context);
    json_object_set_new(params, "values", values);
    return change_run(context, "set", params);
}

int cmd_object_del(struct cli_context *context)
{
    json_t *params = change_params(context);
    if (cli_is_given(context, "cascade"))
        json_object_set_new(params, "cascade", json_true());
    return change_run(context, "del", params);
}

int cmd_port_snippet(struct cli_context *context)
{
    json_t *params = json_object();
    const char *program = cli_given_value(context, "for");
    json_object_set_new(params, "name", output_json_string(context->arguments[0]));
    json_object_set_new(params, "for", json_string(program ? program : "qemu"));
    return show_text(context, "port.snippet", params);
}
