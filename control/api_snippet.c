/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * port.snippet: what a virtual machine's program must be told to use a port. Command lines are one line, so
 * that they can be pasted as well as put into a script by $(weft port snippet ...). The guest's memory must
 * be shared with the dataplane; all of them say so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api_call.h"
#include "values.h"

#define MTU_DEFAULT 1500u

struct snippet {
    const struct model_port *port;
    FILE *out;
};

/* For a shell, and with `commas` for a list of options in which a comma is written twice. */
static void write_path(FILE *out, const char *path, bool commas)
{
    bool plain = strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%,") ==
                 strlen(path);
    if (!plain)
        fputc('\'', out);
    for (; *path; path++) {
        if (*path == '\'')
            fputs("'\\'", out);
        if (*path == ',' && commas)
            fputc(',', out);
        fputc(*path, out);
    }
    if (!plain)
        fputc('\'', out);
}

static void write_xml(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '&')
            fputs("&amp;", out);
        else if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '\'')
            fputs("&apos;", out);
        else
            fputc(*text, out);
    }
}

/* "BEFOREaa:bb:cc:dd:ee:ffAFTER" if the port has an address. */
static void write_mac(const struct snippet *snippet, const char *before, const char *after)
{
    char text[VALUE_MAC_SIZE];
    if (!snippet->port->has_mac)
        return;
    value_mac_text(snippet->port->mac, text);
    fprintf(snippet->out, "%s%s%s", before, text, after);
}

static void write_mtu(const struct snippet *snippet, const char *format)
{
    if (snippet->port->mtu != MTU_DEFAULT)
        fprintf(snippet->out, format, snippet->port->mtu);
}

static void write_qemu_network(const struct snippet *snippet)
{
    const struct model_port *port = snippet->port;
    fputs("-chardev socket,id=c0,path=", snippet->out);
    write_path(snippet->out, port->socket, true);
    fputs(port->client ? ",server=on,wait=off" : ",reconnect=1", snippet->out);
    fprintf(snippet->out, " -netdev vhost-user,id=n0,chardev=c0,queues=%u -device virtio-net-pci,netdev=n0",
            port->queues);
    write_mac(snippet, ",mac=", "");
    write_mtu(snippet, ",host_mtu=%u");
    if (port->queues > 1)
        fprintf(snippet->out, ",mq=on,vectors=%u", 2 * port->queues + 2);
}

static void write_qemu(const struct snippet *snippet)
{
    fputs("-m 1G -object memory-backend-memfd,id=m,size=1G,share=on -numa node,memdev=m ", snippet->out);
    write_qemu_network(snippet);
    fputs("\n", snippet->out);
}

/* Proxmox gives the machine its memory itself; the size here must be the same. */
static void write_proxmox(const struct snippet *snippet)
{
    fputs("# /etc/pve/qemu-server/VMID.conf; 1024M is the machine's \"memory\"\n"
          "memory: 1024\n"
          "numa: 0\n"
          "args: -object memory-backend-memfd,id=m,size=1024M,share=on -numa node,memdev=m ",
          snippet->out);
    write_qemu_network(snippet);
    fputs("\n", snippet->out);
}

static void write_libvirt(const struct snippet *snippet)
{
    const struct model_port *port = snippet->port;
    fputs("<!-- below <domain> -->\n"
          "<memoryBacking>\n"
          "  <source type='memfd'/>\n"
          "  <access mode='shared'/>\n"
          "</memoryBacking>\n"
          "<!-- below <devices> -->\n"
          "<interface type='vhostuser'>\n",
          snippet->out);
    write_mac(snippet, "  <mac address='", "'/>\n");
    fputs("  <source type='unix' path='", snippet->out);
    write_xml(snippet->out, port->socket);
    fputs(port->client ? "' mode='server'/>\n"
                       : "' mode='client'>\n    <reconnect enabled='yes' timeout='1'/>\n  </source>\n",
          snippet->out);
    fputs("  <model type='virtio'/>\n", snippet->out);
    if (port->queues > 1)
        fprintf(snippet->out, "  <driver queues='%u'/>\n", port->queues);
    write_mtu(snippet, "  <mtu size='%u'/>\n");
    fputs("</interface>\n", snippet->out);
}

static void write_cloud_hypervisor(const struct snippet *snippet)
{
    const struct model_port *port = snippet->port;
    fputs("--memory size=1G,shared=on --net vhost_user=true,socket=", snippet->out);
    write_path(snippet->out, port->socket, false);
    fprintf(snippet->out, ",num_queues=%u,queue_size=256%s", 2 * port->queues,
            port->client ? ",vhost_mode=server" : "");
    write_mac(snippet, ",mac=", "");
    write_mtu(snippet, ",mtu=%u");
    fputs("\n", snippet->out);
}

static void write_weft_vmm(const struct snippet *snippet)
{
    fputs("--net socket=", snippet->out);
    write_path(snippet->out, snippet->port->socket, false);
    write_mac(snippet, ",mac=", "");
    if (snippet->port->queues > 1)
        fprintf(snippet->out, ",queues=%u", snippet->port->queues);
    write_mtu(snippet, ",mtu=%u");
    fputs("\n", snippet->out);
}

static const struct snippet_writer {
    const char *program;
    void (*write)(const struct snippet *snippet);
    bool listens; /* can: for ports that dial */
    bool commas;  /* in a path */
} writers[] = {
    {"qemu", write_qemu, true, true},
    {"libvirt", write_libvirt, true, true},
    {"cloud-hypervisor", write_cloud_hypervisor, true, false},
    {"weft-vmm", write_weft_vmm, false, false},
    {"proxmox", write_proxmox, true, true},
};
#define WRITER_COUNT (sizeof(writers) / sizeof(writers[0]))

static const struct snippet_writer *writer_find(struct api_call *call)
{
    const char *program = api_string(call, "for"), *words[WRITER_COUNT + 1] = {NULL};
    for (unsigned i = 0; i < WRITER_COUNT; i++) {
        words[i] = writers[i].program;
        if (strcmp(program, words[i]) == 0)
            return &writers[i];
    }
    const char *nearest = diagnostics_nearest(program, words);
    outcome_fail(
        &call->outcome, WEFT_USAGE,
        nearest
            ? "nothing is known for \"%.40s\"; did you mean \"%s\"?"
            : "nothing is known for \"%.40s\"; there is qemu, libvirt, cloud-hypervisor, weft-vmm, proxmox",
        program, nearest);
    return NULL;
}

void api_snippet(struct api_call *call)
{
    struct model_port *port;
    char *text = NULL;
    size_t size;
    if (!api_find_port(call, api_string(call, "name"), &port))
        return;
    const struct snippet_writer *writer = writer_find(call);
    if (!writer)
        return;
    const char *name = port->full_name;
    if (port->tap)
        outcome_fail(&call->outcome, WEFT_CONFLICT,
                     "port %s is interface %s of the host; no machine can have it", name, port->tap);
    else if (port->client && !writer->listens)
        outcome_fail(
            &call->outcome, WEFT_CONFLICT,
            "port %s dials and so does %s; \"weft port set %s --client false\" makes the port listen", name,
            writer->program, name);
    else if (!writer->commas && strchr(port->socket, ','))
        outcome_fail(&call->outcome, WEFT_CONFLICT, "%s takes no socket with a comma in its path",
                     writer->program);
    if (call->outcome.code != WEFT_OK)
        return;
    struct snippet snippet = {port, open_memstream(&text, &size)};
    if (!snippet.out)
        abort();
    writer->write(&snippet);
    fclose(snippet.out);
    call->result = json_pack("{s:s, s:s}", "schema", WEFT_SCHEMA_SNIPPET, "text", text);
    free(text);
}
