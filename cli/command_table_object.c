/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands that wire guests: the objects of the configuration. See command.h for what is made from this
 * table. */
#include "command_table.h"

#define KEYS_TENANT  "tenants.*."
#define KEYS_SEGMENT "tenants.*.segments.*."
#define KEYS_PORT    "tenants.*.ports.*."
#define KEYS_UPLINK  "uplinks.*."
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
#define NAME_UPLINK                                                                                          \
    {                                                                                                        \
        {                                                                                                    \
            "UPLINK", CLI_UPLINK                                                                             \
        }                                                                                                    \
    }
#define ADD_TEXT                                                                                             \
    "Adding what exists with the same values changes nothing and succeeds; with other values it is a "       \
    "conflict. "                                                                                             \
    "Options left out take the defaults of weft.yaml(5), where each is described under the same name."

static const struct cli_option del_options[] = {
    {"cascade", 0, false, CLI_FLAG, NULL, "also delete what is in it"},
    OPTION_EXPECT,
    {NULL},
};
static const struct cli_option snippet_options[] = {
    {"for", 0, false, CLI_CHOICE, "PROGRAM",
     "qemu (the default), libvirt, cloud-hypervisor, weft-vmm or proxmox",
     "qemu|libvirt|cloud-hypervisor|weft-vmm|proxmox"},
    {NULL},
};

const struct cli_command cli_tenant_commands[] = {
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
     .options = cli_edit_options,
     .summary = "add a tenant",
     .description = ADD_TEXT,
     .examples = {"weft tenant add beta --ports 16"},
     .run = cmd_object_add},
    {.noun = "tenant",
     .verb = "set",
     .common = CLI_CHANGE,
     .arguments = NAME_TENANT,
     .keys = KEYS_TENANT,
     .options = cli_edit_options,
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
    {NULL},
};

const struct cli_command cli_segment_commands[] = {
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
     .options = cli_edit_options,
     .summary = "add a segment",
     .description = ADD_TEXT,
     .examples = {"weft segment add acme/db --mode isolated",
                  "weft segment add acme/out --mode nat --subnet 10.0.2.0/24 --uplink lan0",
                  "weft segment add acme/db --mode isolated --vlan 7 --dry-run"},
     .run = cmd_object_add},
    {.noun = "segment",
     .verb = "set",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = NAME_SEGMENT,
     .keys = KEYS_SEGMENT,
     .options = cli_edit_options,
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
    {NULL},
};

const struct cli_command cli_port_commands[] = {
    {.noun = "port",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .options = cli_port_list_options,
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
     .options = cli_edit_options,
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
     .options = cli_edit_options,
     .summary = "change a port",
     .description = SET_TEXT,
     .examples = {"weft port set acme/vm1 --enabled false", "weft port set acme/vm1 --mac="},
     .run = cmd_object_set},
    {.noun = "port",
     .verb = "del",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .options = cli_edit_options,
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
    {NULL},
};

const struct cli_command cli_uplink_commands[] = {
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
     .options = cli_edit_options,
     .summary = "add an uplink",
     .description = ADD_TEXT,
     .examples =
         {"weft uplink add lan1 --device vdev:net_null1",
          "weft uplink add isp --device vlan:lan0.7 --address 198.51.100.2/24 --gateway 198.51.100.1"},
     .run = cmd_object_add},
    {.noun = "uplink",
     .verb = "set",
     .common = CLI_CHANGE,
     .arguments = NAME_UPLINK,
     .keys = KEYS_UPLINK,
     .options = cli_edit_options,
     .summary = "change an uplink",
     .description = SET_TEXT,
     .examples = {"weft uplink set lan0 --mtu 1400 --dry-run"},
     .run = cmd_object_set},
    {.noun = "uplink",
     .verb = "del",
     .common = CLI_CHANGE,
     .arguments = NAME_UPLINK,
     .options = cli_edit_options,
     .summary = "delete an uplink",
     .description = DEL_TEXT,
     .examples = {"weft uplink del lan9"},
     .run = cmd_object_del},
    {NULL},
};
