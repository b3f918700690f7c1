/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands of weft. See command.h for what is made from this table.
 *
 * Examples are run by tests/smoke/cli_examples_test.sh against a weftd that holds tenant acme with the
 * segments web, lab (bridged, VLAN 120, uplink lan0) and app (nat, uplink lan0), the ports vm1, vm2 and, in
 * app, vm5, and weft.yaml in the working directory.
 */
#include <string.h>

#include "command.h"
#include "commands.h"

#define KEYS_TENANT  "tenants.*."
#define KEYS_SEGMENT "tenants.*.segments.*."
#define KEYS_PORT    "tenants.*.ports.*."
#define KEYS_UPLINK  "uplinks.*."
#define KEYS_VM      "tenants.*.ports.*.vm."

const struct cli_noun cli_nouns[] = {
    {"status", "Look", NULL},
    {"drops", "Look", NULL},
    {"fdb", "Look", "addresses that segments have learned"},
    {"events", "Look", NULL},
    {"doctor", "Look", NULL},
    {"bench", "Look", NULL},
    {"tenant", "Wire guests", "owners of segments and ports; tenants never hear each other"},
    {"segment", "Wire guests", "a tenant's layer 2 networks"},
    {"port", "Wire guests", "a tenant's ports, one for each network card of a guest"},
    {"uplink", "Wire guests", "ways to the physical network"},
    {"vm", "Wire guests", "machines at ports, which weftd keeps running with weft-vmm(1)"},
    {"forward", "Ways out", "ports of the outside that lead to a guest"},
    {"sessions", "Ways out", "what address translation translates now"},
    {"lease", "Ways out", "addresses that guests were given by DHCP"},
    {"route", "Ways out", "where the routers send what"},
    {"neighbour", "Ways out", "who has which address, as the routers know it"},
    {"config", "Configure", "the whole configuration, as one document with numbered generations"},
    {"completion", "Help", NULL},
    {"help", "Help", NULL},
    {NULL, NULL, NULL},
};

/* Words of the documented language whose commands are not in this version. */
static const char *const reserved_words[] = {"top", "trace", "reach", "capture", "flow", "tunnel", "mirror"};

const struct cli_option cli_global_options[] = {
    {"run-dir", 0, false, CLI_FILE, "DIR",
     "run directory of the weftd to talk to (default $WEFT_RUN_DIR or /run/weft)"},
    {"timeout", 0, false, CLI_DURATION, "TIME", "wait at most so long for weftd's answer (default 30s)"},
    {"help", 'h', false, CLI_FLAG, NULL, "show help and exit"},
    {"version", 0, false, CLI_FLAG, NULL, "show weft's version and exit"},
    {NULL},
};
const struct cli_option cli_output_options[] = {
    {"output", 'o', false, CLI_CHOICE, "FORMAT", "text, wide (all columns, exact numbers), json or name",
     "text|wide|json|name"},
    {NULL},
};
const struct cli_option cli_watch_options[] = {
    {"watch", 0, true, CLI_DURATION, "TIME", "show it again and again, every second or every TIME"},
    {NULL},
};
const struct cli_option cli_change_options[] = {
    {"dry-run", 0, false, CLI_FLAG, NULL, "say what would change, and change nothing"},
    {NULL},
};
const struct cli_option cli_tenant_options[] = {
    {"tenant", 'T', false, CLI_TENANT, "TENANT",
     "tenant of names without one, and of lists (default $WEFT_TENANT)"},
    {NULL},
};

#define OPTION_EXPECT                                                                                        \
    {                                                                                                        \
        "expect-generation", 0, false, CLI_NUMBER, "NUMBER",                                                 \
            "refuse when another change has come in between"                                                 \
    }

static const struct cli_option edit_options[] = {OPTION_EXPECT, {NULL}};
static const struct cli_option del_options[] = {
    {"cascade", 0, false, CLI_FLAG, NULL, "also delete what is in it"},
    OPTION_EXPECT,
    {NULL},
};
static const struct cli_option port_list_options[] = {
    {"segment", 0, false, CLI_SEGMENT, "SEGMENT", "only the ports of this segment"},
    {NULL},
};
static const struct cli_option snippet_options[] = {
    {"for", 0, false, CLI_CHOICE, "PROGRAM",
     "qemu (the default), libvirt, cloud-hypervisor, weft-vmm or proxmox",
     "qemu|libvirt|cloud-hypervisor|weft-vmm|proxmox"},
    {NULL},
};
static const struct cli_option fdb_options[] = {
    {"port", 0, false, CLI_PORT, "PORT", "only addresses behind this port"},
    {NULL},
};
static const struct cli_option sessions_options[] = {
    {"segment", 0, false, CLI_SEGMENT, "SEGMENT", "only those of this segment"},
    {"port", 0, false, CLI_PORT, "PORT", "only those of this port's addresses"},
    {"limit", 0, false, CLI_NUMBER, "NUMBER", "show so many at most (default 1000)"},
    {NULL},
};
static const struct cli_option lease_options[] = {
    {"segment", 0, false, CLI_SEGMENT, "SEGMENT", "only those of this segment"},
    {"port", 0, false, CLI_PORT, "PORT", "only those of this port"},
    {NULL},
};
static const struct cli_option forward_options[] = {
    {"address", 0, false, CLI_TEXT, "ADDRESS", "outside address (default: the first of the segment's)"},
    OPTION_EXPECT,
    {NULL},
};
static const struct cli_option drops_options[] = {
    {"port", 0, false, CLI_PORT, "PORT", "only drops at this port"},
    {NULL},
};
static const struct cli_option doctor_options[] = {
    {"fix", 0, false, CLI_FLAG, NULL, "put right what can be put right on this host"},
    {NULL},
};
static const struct cli_option bench_options[] = {
    {"size", 0, false, CLI_TEXT, "SIZES",
     "frame sizes with FCS: 64 to 9216, imix, tso; by commas (default 64,1518)"},
    {"time", 0, false, CLI_DURATION, "TIME", "time for each size (default 5s)"},
    {"all-tenants", 0, false, CLI_FLAG, NULL, "in the first segment of each tenant, all at once"},
    {"direction", 0, false, CLI_CHOICE, "DIRECTION", "one (the default) or both", "one|both"},
    {"flows", 0, false, CLI_NUMBER, "NUMBER", "UDP flows a direction (default 1)"},
    {"macs", 0, false, CLI_NUMBER, "NUMBER", "addresses behind each port (default 1)"},
    {"tagged", 0, false, CLI_FLAG, NULL, "frames carry the segment's tag, through trunk ports"},
    {"rate", 0, false, CLI_NUMBER, "NUMBER", "frames a second for each segment (default: as many as go)"},
    {"loss-free", 0, false, CLI_FLAG, NULL, "search for the highest rate without loss, as RFC 2544 does"},
    {"tolerance", 0, false, CLI_NUMBER, "NUMBER",
     "frames of a million that --loss-free may lose (default 0)"},
    {"no-latency", 0, false, CLI_FLAG, NULL, "throughput only"},
    {"packed", 0, false, CLI_FLAG, NULL, "packed rings"},
    {"report", 0, false, CLI_FILE, "FILE", "also write a report with charts, one HTML file"},
    {NULL},
};
static const struct cli_option events_options[] = {
    {"follow", 0, false, CLI_FLAG, NULL, "go on with new events as they come"},
    {"since", 0, false, CLI_NUMBER, "SEQUENCE", "only events after the one with this sequence number"},
    {NULL},
};
static const struct cli_option document_options[] = {
    {"file", 'f', false, CLI_FILE, "FILE", "the document, - for standard input (instead of the argument)"},
    {NULL},
};
static const struct cli_option apply_options[] = {
    {"file", 'f', false, CLI_FILE, "FILE", "the document, - for standard input (instead of the argument)"},
    {"confirm-within", 0, false, CLI_DURATION, "TIME",
     "go back to the generation before unless \"weft config confirm\" comes within TIME"},
    OPTION_EXPECT,
    {NULL},
};

#define OPTION_NO_WAIT                                                                                       \
    {                                                                                                        \
        "no-wait", 0, false, CLI_FLAG, NULL, "do not wait for the machine"                                   \
    }
static const struct cli_option vm_run_options[] = {OPTION_NO_WAIT, OPTION_EXPECT, {NULL}};
static const struct cli_option vm_wait_options[] = {OPTION_NO_WAIT, {NULL}};
static const struct cli_option vm_stop_options[] = {
    {"force", 0, false, CLI_FLAG, NULL, "end it at once, as if its power cord were pulled"},
    OPTION_NO_WAIT,
    {NULL},
};

#define NAME_TENANT                                                                                          \
    {                                                                                                        \
        {                                                                                                    \
            "TENANT", CLI_TENANT                                                                             \
        }                                                                                                    \
    }
#define NAME_SEGMENT                                                                                         \
    {                                                                                                        \
        {                                                                                                    \
            "TENANT/SEGMENT", CLI_SEGMENT                                                                    \
        }                                                                                                    \
    }
#define NAME_PORT                                                                                            \
    {                                                                                                        \
        {                                                                                                    \
            "TENANT/PORT", CLI_PORT                                                                          \
        }                                                                                                    \
    }
#define NAME_UPLINK                                                                                          \
    {                                                                                                        \
        {                                                                                                    \
            "UPLINK", CLI_UPLINK                                                                             \
        }                                                                                                    \
    }

#define DOCUMENT_ARGUMENT                                                                                    \
    {                                                                                                        \
        {                                                                                                    \
            "FILE", CLI_FILE, true                                                                           \
        }                                                                                                    \
    }

#define ADD_TEXT                                                                                             \
    "Adding what exists with the same values changes nothing and succeeds; with other values it is a "       \
    "conflict. "                                                                                             \
    "Options left out take the defaults of weft.yaml(5), where each is described under the same name."
#define SET_TEXT                                                                                             \
    "An empty value (as in \"--mac=\") takes the key away, so that its default is in force again."
#define DEL_TEXT "Deleting what does not exist changes nothing and succeeds."

const struct cli_command cli_commands[] = {
    {.noun = "status",
     .common = CLI_OUTPUT,
     .summary = "one screen: workers, tenants, ports, warnings",
     .examples = {"weft status", "weft status --watch=2s"},
     .run = cmd_status},
    {.noun = "drops",
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .options = drops_options,
     .summary = "dropped frames by tenant, port and reason, with what each reason means",
     .description =
         "A frame is counted at the port that sent it (from) when it was dropped before an output was "
         "chosen, and at the port that it was for (to) when that port could not take it. With --watch, the "
         "last column says how many came since the screen before.",
     .examples = {"weft drops", "weft drops -T acme --watch"},
     .run = cmd_drops},
    {.noun = "fdb",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .arguments = {{"TENANT/SEGMENT", CLI_SEGMENT, true}},
     .options = fdb_options,
     .summary = "list learned and static addresses",
     .examples = {"weft fdb list acme/web", "weft fdb list --port acme/vm1 -o json"},
     .run = cmd_fdb_list},
    {.noun = "fdb",
     .verb = "flush",
     .common = CLI_FORMAT | CLI_IN_TENANT,
     .arguments = {{"TENANT/SEGMENT", CLI_SEGMENT, true}},
     .options = fdb_options,
     .summary = "forget learned addresses: of a segment, of a port, or all",
     .examples = {"weft fdb flush acme/web"},
     .run = cmd_fdb_flush},
    {.noun = "events",
     .common = CLI_FORMAT,
     .options = events_options,
     .summary = "what happened: ports up and down, configuration, the dataplane",
     .description = "With -o json each event is one line.",
     .examples = {"weft events", "weft events --follow -o json"},
     .run = cmd_events},
    {.noun = "doctor",
     .common = CLI_FORMAT,
     .options = doctor_options,
     .summary = "check this host and weft, and say what would make it work or faster",
     .description =
         "Works without a running weftd as well: then the checks of the host are made by weftd --doctor. "
         "Exits 1 when a check failed.",
     .examples = {"weft doctor", "weft doctor -o json"},
     .run = cmd_doctor},
    {.noun = "bench",
     .common = CLI_FORMAT | CLI_IN_TENANT,
     .arguments = {{"TENANT/SEGMENT", CLI_SEGMENT, true}, {"TO", CLI_SEGMENT, true}},
     .options = bench_options,
     .summary = "measure throughput and latency inside a segment, between two, or of all tenants at once",
     .description =
         "Adds two ports to the segment for as long as it runs, sends frames from one to the other as fast "
         "as "
         "they are taken, then at parts of that rate for the latency (at 10, 50 and 90 percent; the table "
         "shows that at 50). Guests of the segment share the switch with it. LIMIT says what held the rate "
         "down: the switch, or the generator, whose figure then says nothing about the switch.",
     .examples = {"weft bench acme/web --size 64,512,1518 --time 5s -o json",
                  "weft bench --all-tenants --time 1s --report bench.html"},
     .run = cmd_bench},

    {.noun = "tenant",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT,
     .summary = "list tenants",
     .examples = {"weft tenant list", "weft tenant -o name"},
     .run = cmd_object_list},
    {.noun = "tenant",
     .verb = "show",
     .common = CLI_OUTPUT,
     .arguments = NAME_TENANT,
     .summary = "show one tenant",
     .examples = {"weft tenant show acme"},
     .run = cmd_object_show},
    {.noun = "tenant",
     .verb = "add",
     .common = CLI_CHANGE,
     .arguments = NAME_TENANT,
     .keys = KEYS_TENANT,
     .options = edit_options,
     .summary = "add a tenant",
     .description = ADD_TEXT,
     .examples = {"weft tenant add beta --ports 16"},
     .run = cmd_object_add},
    {.noun = "tenant",
     .verb = "set",
     .common = CLI_CHANGE,
     .arguments = NAME_TENANT,
     .keys = KEYS_TENANT,
     .options = edit_options,
     .summary = "change a tenant",
     .description = SET_TEXT,
     .examples = {"weft tenant set acme --macs 4096"},
     .run = cmd_object_set},
    {.noun = "tenant",
     .verb = "del",
     .common = CLI_CHANGE,
     .arguments = NAME_TENANT,
     .options = del_options,
     .summary = "delete a tenant",
     .description = DEL_TEXT,
     .examples = {"weft tenant del acme --cascade --dry-run"},
     .run = cmd_object_del},

    {.noun = "segment",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .summary = "list segments",
     .examples = {"weft segment list", "weft segment -T acme -o wide"},
     .run = cmd_object_list},
    {.noun = "segment",
     .verb = "show",
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .arguments = NAME_SEGMENT,
     .summary = "show one segment",
     .examples = {"weft segment show acme/web"},
     .run = cmd_object_show},
    {.noun = "segment",
     .verb = "add",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = NAME_SEGMENT,
     .keys = KEYS_SEGMENT,
     .options = edit_options,
     .summary = "add a segment",
     .description = ADD_TEXT,
     .examples = {"weft segment add acme/db --mode isolated",
                  "weft segment add acme/db --mode isolated --vlan 7 --dry-run"},
     .run = cmd_object_add},
    {.noun = "segment",
     .verb = "set",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = NAME_SEGMENT,
     .keys = KEYS_SEGMENT,
     .options = edit_options,
     .summary = "change a segment",
     .description = SET_TEXT,
     .examples = {"weft segment set acme/web --ageing 10m"},
     .run = cmd_object_set},
    {.noun = "segment",
     .verb = "del",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = NAME_SEGMENT,
     .options = del_options,
     .summary = "delete a segment",
     .description = DEL_TEXT,
     .examples = {"weft segment del acme/lab"},
     .run = cmd_object_del},

    {.noun = "port",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .options = port_list_options,
     .summary = "list ports, with what passed them",
     .examples = {"weft port list -o wide", "weft port --segment acme/web"},
     .run = cmd_object_list},
    {.noun = "port",
     .verb = "show",
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .summary = "show one port and its queues",
     .examples = {"weft port show acme/vm1"},
     .run = cmd_object_show},
    {.noun = "port",
     .verb = "add",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .keys = KEYS_PORT,
     .options = edit_options,
     .summary = "add a port",
     .description = ADD_TEXT,
     .examples = {"weft port add acme/vm3 --segment web --queues 2",
                  "weft port add vm4 -T acme --segment web --mac 52:54:00:00:00:04 --ip 10.0.1.4,10.0.1.5"},
     .run = cmd_object_add},
    {.noun = "port",
     .verb = "set",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .keys = KEYS_PORT,
     .options = edit_options,
     .summary = "change a port",
     .description = SET_TEXT,
     .examples = {"weft port set acme/vm1 --enabled false", "weft port set acme/vm1 --mac="},
     .run = cmd_object_set},
    {.noun = "port",
     .verb = "del",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .options = edit_options,
     .summary = "delete a port",
     .description = DEL_TEXT,
     .examples = {"weft port del acme/vm2"},
     .run = cmd_object_del},
    {.noun = "port",
     .verb = "snippet",
     .common = CLI_FORMAT | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .options = snippet_options,
     .summary = "what to paste into a virtual machine's definition to attach it to the port",
     .examples = {"weft port snippet acme/vm1 --for qemu", "weft port snippet acme/vm1 --for libvirt"},
     .run = cmd_port_snippet},

    {.noun = "uplink",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT,
     .summary = "list uplinks",
     .examples = {"weft uplink list"},
     .run = cmd_object_list},
    {.noun = "uplink",
     .verb = "show",
     .common = CLI_OUTPUT,
     .arguments = NAME_UPLINK,
     .summary = "show one uplink",
     .examples = {"weft uplink show lan0"},
     .run = cmd_object_show},
    {.noun = "uplink",
     .verb = "add",
     .common = CLI_CHANGE,
     .arguments = NAME_UPLINK,
     .keys = KEYS_UPLINK,
     .options = edit_options,
     .summary = "add an uplink",
     .description = ADD_TEXT,
     .examples = {"weft uplink add lan1 --device vdev:net_null1"},
     .run = cmd_object_add},
    {.noun = "uplink",
     .verb = "set",
     .common = CLI_CHANGE,
     .arguments = NAME_UPLINK,
     .keys = KEYS_UPLINK,
     .options = edit_options,
     .summary = "change an uplink",
     .description = SET_TEXT,
     .examples = {"weft uplink set lan0 --mtu 1400 --dry-run"},
     .run = cmd_object_set},
    {.noun = "uplink",
     .verb = "del",
     .common = CLI_CHANGE,
     .arguments = NAME_UPLINK,
     .options = edit_options,
     .summary = "delete an uplink",
     .description = DEL_TEXT,
     .examples = {"weft uplink del lan9"},
     .run = cmd_object_del},

    {.noun = "vm",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .options = port_list_options,
     .summary = "list machines, with what they do",
     .examples = {"weft vm list -o wide", "weft vm --watch"},
     .run = cmd_object_list},
    {.noun = "vm",
     .verb = "show",
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .summary = "show one machine",
     .examples = {"weft vm show acme/vm2"},
     .run = cmd_object_show},
    {.noun = "vm",
     .verb = "run",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .keys = KEYS_VM,
     .options = vm_run_options,
     .summary = "give a port a machine and start it",
     .description =
         "The machine becomes part of the configuration, like one under the port's vm key in weft.yaml(5): "
         "it stays, weftd keeps it running and starts it again after a crash, until \"weft vm del\". A "
         "machine "
         "that is there already with the same values, or that is asked for without any, is started if it is "
         "off; with other values it is a conflict. The machine is called like its port. Returns when it "
         "runs.",
     .examples =
         {"weft vm run acme/vm1 --kernel vmlinuz --initrd initrd --disk disk.img --memory 512M --cpus 2"},
     .run = cmd_vm_run},
    {.noun = "vm",
     .verb = "set",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .keys = KEYS_VM,
     .options = edit_options,
     .summary = "change a machine; it runs on as it is until \"weft vm restart\"",
     .description = SET_TEXT,
     .examples = {"weft vm set acme/vm2 --memory 1G"},
     .run = cmd_object_set},
    {.noun = "vm",
     .verb = "del",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .options = edit_options,
     .summary = "take a port's machine away; it is powered off",
     .description = DEL_TEXT " The port stays.",
     .examples = {"weft vm del acme/vm2"},
     .run = cmd_object_del},
    {.noun = "vm",
     .verb = "start",
     .common = CLI_FORMAT | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .options = vm_wait_options,
     .summary = "start a machine that is off",
     .examples = {"weft vm start acme/vm2"},
     .run = cmd_vm_start},
    {.noun = "vm",
     .verb = "stop",
     .common = CLI_FORMAT | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .options = vm_stop_options,
     .summary = "power a machine off; it stays off until \"weft vm start\"",
     .description =
         "Presses the power button. A guest that has not powered off after its stop-timeout (weft.yaml(5), "
         "30 s) "
         "is ended. The state is kept in the run directory: when the host starts again, so does the machine.",
     .examples = {"weft vm stop acme/vm2", "weft vm stop acme/vm2 --force"},
     .run = cmd_vm_stop},
    {.noun = "vm",
     .verb = "restart",
     .common = CLI_FORMAT | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .options = vm_wait_options,
     .summary = "power a machine off and start it, as the configuration says now",
     .examples = {"weft vm restart acme/vm2"},
     .run = cmd_vm_restart},
    {.noun = "vm",
     .verb = "reset",
     .common = CLI_FORMAT | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .summary = "press a machine's reset button",
     .examples = {"weft vm reset acme/vm2"},
     .run = cmd_vm_reset},
    {.noun = "vm",
     .verb = "pause",
     .common = CLI_FORMAT | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .options = vm_wait_options,
     .summary = "stop a machine's CPUs until \"weft vm resume\"",
     .examples = {"weft vm pause acme/vm2"},
     .run = cmd_vm_pause},
    {.noun = "vm",
     .verb = "resume",
     .common = CLI_FORMAT | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .options = vm_wait_options,
     .summary = "let a paused machine run on",
     .examples = {"weft vm resume acme/vm2"},
     .run = cmd_vm_resume},
    {.noun = "vm",
     .verb = "console",
     .common = CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .summary = "use a machine's serial console; Ctrl-] leaves it",
     .description =
         "Shows the last 64 KiB that the guest said and nobody took, then what it says. Bytes go through as "
         "they "
         "are, in both directions: a guest can do to your terminal what any program there can, so that a "
         "console "
         "of a guest that you do not trust belongs into a file. A console has one user; the newest has it. "
         "When "
         "standard input is not a terminal, its end is not the end: output goes on until the machine ends.",
     .examples = {"weft vm console acme/vm2"},
     .run = cmd_vm_console},
    {.noun = "forward",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .arguments = {{"TENANT/SEGMENT", CLI_SEGMENT, true}},
     .summary = "list port forwards",
     .examples = {"weft forward list", "weft forward list acme/app -o json"},
     .run = cmd_forward_list},
    {.noun = "forward",
     .verb = "add",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = {{"TENANT/SEGMENT", CLI_SEGMENT},
                   {"PROTO", CLI_CHOICE, false, "tcp|udp"},
                   {"PORT", CLI_TEXT},
                   {"TO", CLI_TEXT}},
     .options = forward_options,
     .summary = "let a port of the outside lead to a guest: TO is PORT:NUMBER, like vm2:443",
     .description = "The segment is of mode nat, and the port has an ip in its subnet. Several ports are "
                    "FIRST-LAST, which lead to as many from NUMBER on. Adding what is there changes nothing; "
                    "with another guest it is a conflict.",
     .examples = {"weft forward add acme/app tcp 8443 vm5:443",
                  "weft forward add acme/app udp 5000-5010 vm5:6000 --dry-run"},
     .run = cmd_forward_add},
    {.noun = "forward",
     .verb = "del",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = {{"TENANT/SEGMENT", CLI_SEGMENT},
                   {"PROTO", CLI_CHOICE, false, "tcp|udp"},
                   {"PORT", CLI_TEXT}},
     .options = forward_options,
     .summary = "delete a port forward",
     .description = DEL_TEXT,
     .examples = {"weft forward del acme/app tcp 8443"},
     .run = cmd_forward_del},
    {.noun = "sessions",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .options = sessions_options,
     .summary = "list translated sessions: guest, outside address, the other end",
     .examples = {"weft sessions list -T acme", "weft sessions --segment acme/app --limit 10 -o json"},
     .run = cmd_sessions_list},
    {.noun = "lease",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .options = lease_options,
     .summary = "list addresses that guests were given by DHCP",
     .examples = {"weft lease list", "weft lease list --segment acme/app"},
     .run = cmd_lease_list},
    {.noun = "route",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .summary = "list routes of the tenants' routers and of the outside",
     .description = "Those of an uplink that is shared with the host are the host's own (ip route).",
     .examples = {"weft route list", "weft route -T acme"},
     .run = cmd_route_list},
    {.noun = "neighbour",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .summary = "list neighbours of the routers, those of uplinks as the host's kernel has them",
     .examples = {"weft neighbour list"},
     .run = cmd_neighbour_list},

    {.noun = "config",
     .verb = "diff",
     .common = CLI_FORMAT,
     .arguments = DOCUMENT_ARGUMENT,
     .options = document_options,
     .summary = "what applying a document would change; exits 10 when it would, 0 when not",
     .examples = {"weft config diff weft.yaml"},
     .run = cmd_config_diff},
    {.noun = "config",
     .verb = "apply",
     .common = CLI_CHANGE,
     .arguments = DOCUMENT_ARGUMENT,
     .options = apply_options,
     .summary = "make a document the configuration, all of it or, when anything is wrong, nothing",
     .description =
         "The document is checked as a whole and every mistake is reported at once with file, line and "
         "column (exit code 6). Objects that it does not name are removed.",
     .examples = {"weft config apply weft.yaml", "weft config apply -f weft.yaml --confirm-within 60s"},
     .run = cmd_config_apply},
    {.noun = "config",
     .verb = "confirm",
     .common = CLI_FORMAT,
     .summary = "keep what was applied with --confirm-within",
     .examples = {"weft config confirm"},
     .run = cmd_config_confirm},
    {.noun = "config",
     .verb = "rollback",
     .common = CLI_CHANGE,
     .arguments = {{"GENERATION", CLI_NUMBER, true}},
     .summary = "go back to a generation (default: the one before), as a new generation",
     .examples = {"weft config rollback --dry-run"},
     .run = cmd_config_rollback},
    {.noun = "config",
     .verb = "history",
     .is_default = true,
     .common = CLI_OUTPUT,
     .summary = "list generations: when, by whom, what changed",
     .examples = {"weft config history"},
     .run = cmd_config_history},
    {.noun = "config",
     .verb = "export",
     .common = CLI_FORMAT,
     .arguments = {{"GENERATION", CLI_NUMBER, true}},
     .summary = "print the configuration as a YAML document (default: the one in force)",
     .examples = {"weft config export"},
     .run = cmd_config_export},

    {.noun = "completion",
     .arguments = {{"SHELL", CLI_CHOICE, false, "bash"}},
     .summary = "print the completion script of a shell: bash",
     .description =
         "Installed packages load it by themselves. For one shell: source <(weft completion bash).",
     .examples = {"weft completion bash"},
     .run = cmd_completion},
    {.noun = "help",
     .arguments = {{"COMMAND", CLI_TEXT, true}, {"VERB", CLI_TEXT, true}},
     .summary = "show what a command does and takes; the same as --help",
     .examples = {"weft help", "weft help port add"}}, /* answered by the parser */
};
const size_t cli_command_count = sizeof(cli_commands) / sizeof(cli_commands[0]);

bool cli_word_is_reserved(const char *word)
{
    for (size_t i = 0; i < sizeof(reserved_words) / sizeof(reserved_words[0]); i++)
        if (strcmp(reserved_words[i], word) == 0)
            return true;
    return false;
}
