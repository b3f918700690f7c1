/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What to paste into a virtual machine monitor to attach a guest to a port. Each asks for shared memory,
 * without which vhost-user cannot work, and for reconnecting where the monitor can.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api_call.h"
#include "values.h"

struct snippet {
    FILE *out;
    const struct model_port *port;
    char mac[VALUE_MAC_SIZE]; /* "" if the port has none */
    char id[80];              /* acme.vm1 */
};

/* Two interrupts a queue pair, one for configuration, one for control. */
static unsigned vectors(const struct model_port *port)
{
    return 2 * port->queues + 2;
}

static void snippet_qemu(const struct snippet *snippet)
{
    const struct model_port *port = snippet->port;
    fprintf(snippet->out,
            "-object memory-backend-memfd,id=m,size=1G,share=on -numa node,memdev=m \\\n"
            "-chardev socket,id=c0,path=%s%s \\\n"
            "-netdev vhost-user,id=n0,chardev=c0,queues=%u \\\n"
            "-device virtio-net-pci,netdev=n0%s%s%s",
            port->socket, port->client ? ",server=on,wait=off" : ",reconnect=1", port->queues,
            *snippet->mac ? ",mac=" : "", snippet->mac, port->queues > 1 ? ",mq=on" : "");
    if (port->queues > 1)
        fprintf(snippet->out, ",vectors=%u", vectors(port));
    fputs("\n", snippet->out);
}

static void snippet_libvirt(const struct snippet *snippet)
{
    const struct model_port *port = snippet->port;
    fprintf(
        snippet->out,
        "<!-- in <domain>: --> <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>\n"
        "<interface type='vhostuser'>\n");
    if (*snippet->mac)
        fprintf(snippet->out, "  <mac address='%s'/>\n", snippet->mac);
    if (port->client)
        fprintf(snippet->out, "  <source type='unix' path='%s' mode='server'/>\n", port->socket);
    else
        fprintf(snippet->out,
                "  <source type='unix' path='%s' mode='client'>\n"
                "    <reconnect enabled='yes' timeout='1'/>\n"
                "  </source>\n",
                port->socket);
    fprintf(snippet->out, "  <model type='virtio'/>\n");
    if (port->queues > 1)
        fprintf(snippet->out, "  <driver queues='%u'/>\n", port->queues);
    fputs("</interface>\n", snippet->out);
}

static void snippet_cloud_hypervisor(const struct snippet *snippet)
{
    const struct model_port *port = snippet->port;
    fprintf(snippet->out,
            "--memory size=1G,shared=on \\\n--net %s%s%svhost_user=true,socket=%s,num_queues=%u%s\n",
            *snippet->mac ? "mac=" : "", snippet->mac, *snippet->mac ? "," : "", port->socket,
            2 * port->queues, port->client ? ",vhost_mode=server" : "");
}

static void snippet_weft_vmm(const struct snippet *snippet)
{
    const struct model_port *port = snippet->port;
    fprintf(snippet->out, "--net socket=%s%s%s", port->socket, *snippet->mac ? ",mac=" : "", snippet->mac);
    if (port->queues > 1)
        fprintf(snippet->out, ",queues=%u", port->queues);
    fputs("\n", snippet->out);
}

/* qm has no vhost-user of its own: arguments are handed through to QEMU. Memory is the guest's, so its size
 * is given as a property of the machine. */
static void snippet_proxmox(const struct snippet *snippet)
{
    const struct model_port *port = snippet->port;
    fprintf(snippet->out,
            "qm set VMID --args '-object memory-backend-memfd,id=weftmem,size=SIZE,share=on "
            "-machine memory-backend=weftmem "
            "-chardev socket,id=%s,path=%s%s "
            "-netdev vhost-user,id=net.%s,chardev=%s,queues=%u "
            "-device virtio-net-pci,netdev=net.%s%s%s%s",
            snippet->id, port->socket, port->client ? ",server=on,wait=off" : ",reconnect=1", snippet->id,
            snippet->id, port->queues, snippet->id, *snippet->mac ? ",mac=" : "", snippet->mac,
            port->queues > 1 ? ",mq=on" : "");
    if (port->queues > 1)
        fprintf(snippet->out, ",vectors=%u", vectors(port));
    fprintf(snippet->out,
            "'\n# VMID is the guest's number, SIZE its memory as in its configuration, like 1024M\n");
}

static const struct {
    const char *name;
    void (*write)(const struct snippet *snippet);
} writers[] = {
    {"qemu", snippet_qemu},
    {"libvirt", snippet_libvirt},
    {"cloud-hypervisor", snippet_cloud_hypervisor},
    {"weft-vmm", snippet_weft_vmm},
    {"proxmox", snippet_proxmox},
};
#define WRITER_COUNT (sizeof(writers) / sizeof(writers[0]))

static void answer(struct api_call *call, const struct model_port *port, unsigned writer)
{
    char *text = NULL;
    size_t size;
    struct snippet snippet = {.out = open_memstream(&text, &size), .port = port};
    if (!snippet.out)
        abort();
    if (port->has_mac)
        value_mac_text(port->mac, snippet.mac);
    snprintf(snippet.id, sizeof(snippet.id), "%s.%s", port->tenant->name, port->name);
    writers[writer].write(&snippet);
    fclose(snippet.out);
    call->result = json_pack("{s:s}", "text", text);
    free(text);
}

void api_snippet(struct api_call *call)
{
    const char *kind = api_string(call, "for"), *words[WRITER_COUNT + 1];
    struct model_port *port;
    if (!api_find_port(call, api_string(call, "name"), &port))
        return;
    if (port->tap) {
        outcome_fail(&call->outcome, WEFT_USAGE,
                     "port %s is the host's interface %s: no guest attaches to it", port->full_name,
                     port->tap);
        return;
    }
    for (unsigned i = 0; i < WRITER_COUNT; i++) {
        words[i] = writers[i].name;
        if (strcmp(kind, writers[i].name) == 0) {
            answer(call, port, i);
            return;
        }
    }
    words[WRITER_COUNT] = NULL;
    const char *nearest = diagnostics_nearest(kind, words);
    outcome_fail(&call->outcome, WEFT_USAGE,
                 "\"%.40s\" is not one of: qemu, libvirt, cloud-hypervisor, weft-vmm, proxmox%s%s%s", kind,
                 nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
}
