#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The files a packet walks through must not allocate, log, make system calls, wait for locks or divide per packet.

A line may be exempted with a reason:  /* lint: REASON */ at its end, a function by the same comment on the line before
its opening brace's name line, a whole file by the comment "lint: syscalls allowed, REASON" in its first 40 lines
(port kinds whose transmission is a system call).
"""
import os
import re
import sys

FILES = ["vhost/vring.c", "vhost/vring_split.c", "vhost/vring_packed.c", "dataplane/program.c", "dataplane/bridge.c",
         "dataplane/fdb.c", "dataplane/vlan.c", "dataplane/flood.c", "dataplane/output.c", "dataplane/storm.c",
         "dataplane/parse.c", "dataplane/offload.c", "dataplane/checksum.c", "dataplane/segment.c",
         "dataplane/port_tap.c", "dataplane/vnet_header.h", "dataplane/packet_socket.c", "dataplane/port_packet.c", "dataplane/port_xdp.c",
         "dataplane/port_router.c", "dataplane/router.c", "dataplane/router_forward.c",
         "dataplane/router_local.c", "dataplane/router_nd.c", "dataplane/router_nat.c", "dataplane/router_ring.c",
         "dataplane/icmp.c", "dataplane/ip_fragment.c", "dataplane/port_ethdev.c", "dataplane/port_vhost.c", "dataplane/worker.c",
         "dataplane/conntrack.c", "dataplane/conntrack_index.c", "dataplane/conntrack_create.c", "dataplane/conntrack_guest.c",
         "dataplane/conntrack_timer.c", "dataplane/conntrack_tcp.c", "dataplane/nat.c", "dataplane/nat_lookup.c",
         "dataplane/nat_mapping.c", "dataplane/nat_icmp.c", "dataplane/nat_fragment.c", "dataplane/nat_held.c"]
FORBIDDEN = [
    (r"\b(malloc|calloc|realloc|free|strdup|mmap|munmap|rte_malloc|rte_zmalloc|aligned_alloc|posix_memalign)\s*\(", "allocation"),
    (r"\b(printf|fprintf|syslog|control_log|rte_log|perror|snprintf)\s*\(", "log"),
    (r"\b(read|write|readv|writev|recv|send|sendmsg|recvmsg|ioctl|open|close|poll|epoll_wait|usleep|nanosleep|sleep)\s*\(", "system call"),
    (r"\b(pthread_mutex_lock|rte_spinlock_lock|sem_wait|pthread_cond_wait)\s*\(", "lock wait"),
]
DIVISION = re.compile(r"[\w\)\]]\s(/|%)=?\s*(?!\d|\(?[A-Z_]+\b|\(?sizeof)[\w\(]")

status = 0
for path in FILES:
    if not os.path.exists(path):
        continue
    text = open(path, encoding="utf-8").read()
    head = "\n".join(text.splitlines()[:40])
    syscalls_allowed = "lint: syscalls allowed" in head
    # Comments and strings out, line numbers kept; exemption marks stay visible in the original lines.
    lines = text.splitlines()
    bare = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S)
    bare = re.sub(r'"(\\.|[^"\\\n])*"', '""', bare)
    control = False  # inside a function marked as control path
    for number, line in enumerate(bare.splitlines(), 1):
        original = lines[number - 1]
        if "lint: control path" in original:
            control = True
        if line.startswith("}"):
            control = False
        if control or "lint:" in original or line.lstrip().startswith("#"):
            continue
        for pattern, what in FORBIDDEN:
            if what == "system call" and syscalls_allowed:
                continue
            if re.search(pattern, line):
                print(f"{path}:{number}: {what} on the packet path: {original.strip()}")
                status = 1
        if DIVISION.search(line):
            print(f"{path}:{number}: division by a variable on the packet path: {original.strip()}")
            status = 1
sys.exit(status)
