/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Every key of the configuration, in one table: the validator, `add`/`set` values, weft.yaml(5) and the
 * options of the command line are made from it. A `*` in a path stands for a name that the user chose.
 *
 * X(path, type, minimum, maximum, choices, fallback, refused, help)
 *   - minimum, maximum: of the number, in the type's base unit; of the elements for lists; else 0, 0
 *   - choices: "a|b|!c": the words allowed; one with ! belongs to the format but is not built
 *   - fallback: text of the default; NULL: none
 *   - refused: what the key belongs to; the validator says that it is not built. NULL: built
 *
 * Types. Scalars are typed by this table, never guessed:
 *   - TABLE: mapping with the keys below it
 *   - NAMED: mapping from names to tables
 *   - BOOL: true, false
 *   - INTEGER: decimal number
 *   - COUNT: number; k, M, G are powers of 1000
 *   - SECONDS: number, or 30s, 5m, 2h, 1d
 *   - CHOICE: one of the words
 *   - NAME, NAMES: another object; one or a list of them
 *   - INTEGERS: one or a list of numbers
 *   - MAC: unicast address aa:bb:cc:dd:ee:ff
 *   - ADDRESSES: one or a list of IPv4/IPv6 host addresses
 *   - PATH, PATHS: absolute path; one or a list of them
 *   - TEXT: printable ASCII; minimum and maximum are its length
 *   - SIZE: MiB; 512M, 2G are accepted
 *   - INTERFACE: name of a network interface
 *   - DEVICE: KIND:ARGUMENTS
 *   - STATICS: mapping from MAC addresses to ports
 *   - ADDRESS: one IPv4/IPv6 host address
 *   - SUBNETS: one or a list of prefixes without host bits, like 10.0.1.0/24
 *   - PREFIXES: one or a list of addresses with a prefix length, like 203.0.113.2/24
 *   - RANGE: IPv4 addresses FIRST-LAST
 *   - PORTS: number or FIRST-LAST
 *   - TARGET: PORT:NUMBER, a port of the tenant and a TCP or UDP port of its guest
 *   - POOL: the word uplink, or as ADDRESSES
 *   - PINS: mapping from ports of the tenant to addresses
 *   - DOMAIN: host or domain name
 *   - TABLES: list of tables; * is an element
 *   - ANY: not looked at (refused keys)
 */
#define WEFT_KEYS(X)                                                                                         \
    X("version", INTEGER, 1, 1, NULL, NULL, NULL, "format of the document, always 1")                        \
    X("dataplane", TABLE, 0, 0, NULL, NULL, NULL, "how weft-dataplane runs")                                 \
    X("dataplane.cores", INTEGERS, 1, 16, NULL, "the last core", NULL,                                       \
      "CPUs that the workers are pinned to, one worker each; a change restarts the dataplane")               \
    X("dataplane.hugepages", CHOICE, 0, 0, "auto|require|never", "auto", NULL,                               \
      "whether the dataplane uses hugepages; a change restarts the dataplane")                               \
    X("uplinks", NAMED, 0, 0, NULL, NULL, NULL, "ways to the physical network")                              \
    X("uplinks.*", TABLE, 0, 0, NULL, NULL, NULL, "an uplink")                                               \
    X("uplinks.*.device", DEVICE, 0, 0, "af_packet|af_xdp|pci|vdev|vlan", NULL, NULL,                        \
      "af_xdp:IF or af_packet:IF, an interface shared with the host; pci:ADDRESS, a whole NIC; "             \
      "vdev:DEVARGS, a DPDK device; vlan:UPLINK.NUMBER, a VLAN of another uplink, for mode nat")             \
    X("uplinks.*.take-over", BOOL, 0, 0, NULL, "false", NULL,                                                \
      "pci: take the NIC although the host uses it (an address, the default route, a bridge)")               \
    X("uplinks.*.mtu", INTEGER, 68, 9216, NULL, "the interface's, else 1500", NULL,                          \
      "bytes of IP packet that the uplink carries")                                                          \
    X("uplinks.*.address", PREFIXES, 0, 2, NULL, NULL, NULL,                                                 \
      "addresses of weft on the network behind a device that the host's kernel does not have (vlan, vdev, "  \
      "pci), one of IPv4, one of IPv6, each with the network's prefix length")                               \
    X("uplinks.*.gateway", ADDRESSES, 0, 2, NULL, NULL, NULL,                                                \
      "next hops of the way out behind such a device; the one of IPv6 may be a link-local address")          \
    X("uplinks.*.ports", PORTS, 1024, 65535, NULL, "32768-49151", NULL,                                      \
      "ports (TCP, UDP; ICMP ids) of the uplink's own address that address translation may use; the "        \
      "host's programs are not given them meanwhile (net.ipv4.ip_local_reserved_ports)")                     \
    X("vtep", ANY, 0, 0, NULL, NULL, "VXLAN tunnels to other hosts", "this host's tunnel endpoint")          \
    X("tenants", NAMED, 0, 0, NULL, NULL, NULL,                                                              \
      "who owns segments and ports; tenants never hear each other")                                          \
    X("tenants.*", TABLE, 0, 0, NULL, NULL, NULL, "a tenant")                                                \
    X("tenants.*.limits", TABLE, 0, 0, NULL, NULL, NULL, "what the tenant may use at most")                  \
    X("tenants.*.limits.ports", COUNT, 0, 4095, NULL, NULL, NULL, "ports of the tenant")                     \
    X("tenants.*.limits.macs", COUNT, 1, 1000000, NULL, NULL, NULL,                                          \
      "addresses learned in all of the tenant's segments; segments that set no macs share what the others "  \
      "leave")                                                                                               \
    X("tenants.*.limits.sessions", COUNT, 1, 100000000, NULL, NULL, NULL,                                    \
      "translated sessions of the tenant")                                                                   \
    X("tenants.*.limits.sessions-per-guest", COUNT, 1, 100000000, NULL, "half of sessions, at most 250k",    \
      NULL, "translated sessions of each address of a guest")                                                \
    X("tenants.*.limits.rate", ANY, 0, 0, NULL, NULL, "rate limits", "bits a second of the tenant")          \
    X("tenants.*.segments", NAMED, 0, 0, NULL, NULL, NULL, "the tenant's networks")                          \
    X("tenants.*.segments.*", TABLE, 0, 0, NULL, NULL, NULL, "a segment: one layer 2 network")               \
    X("tenants.*.segments.*.mode", CHOICE, 0, 0, "isolated|host-only|bridged|nat", NULL, NULL,               \
      "isolated: guests reach each other; host-only: and the host; bridged: and the network behind "         \
      "the uplink; nat: and, through address translation, what the uplink leads to")                         \
    X("tenants.*.segments.*.uplink", NAME, 0, 0, NULL, NULL, NULL,                                           \
      "bridged, nat: the uplink that the segment is joined to or leaves by")                                 \
    X("tenants.*.segments.*.follow-uplink", BOOL, 0, 0, NULL, "true", NULL,                                  \
      "bridged: guests see link down while the uplink's interface has no link")                              \
    X("tenants.*.segments.*.vlan", INTEGER, 1, 4094, NULL, NULL, NULL,                                       \
      "the segment's tag on trunk ports and, bridged, on its uplink")                                        \
    X("tenants.*.segments.*.ageing", SECONDS, 0, 1000000, NULL, "5m", NULL,                                  \
      "how long a learned address is kept that is not heard from; 0: for ever")                              \
    X("tenants.*.segments.*.isolate-ports", BOOL, 0, 0, NULL, "false", NULL,                                 \
      "guest ports do not reach each other, except those with isolated: false")                              \
    X("tenants.*.segments.*.macs", COUNT, 1, 1000000, NULL, NULL, NULL,                                      \
      "addresses learned in the segment at most")                                                            \
    X("tenants.*.segments.*.static", STATICS, 0, 0, NULL, NULL, NULL,                                        \
      "addresses that are not learned: MAC to port")                                                         \
    X("tenants.*.segments.*.subnet", SUBNETS, 1, 2, NULL, NULL, NULL,                                        \
      "host-only, nat: addresses of the segment, like 10.0.1.0/24; an IPv6 prefix may stand beside "         \
      "it, of length 64: guests make their addresses of it (SLAAC)")                                         \
    X("tenants.*.segments.*.gateway", ADDRESSES, 1, 2, NULL, "the first of each subnet", NULL,               \
      "host-only: the host's addresses in the segment; nat: the router's")                                   \
    X("tenants.*.segments.*.host-interface", INTERFACE, 0, 0, NULL, "weft-SEGMENT, 15 characters", NULL,     \
      "host-only: name of the host's interface")                                                             \
    X("tenants.*.segments.*.mtu", INTEGER, 1280, 9216, NULL, "1500", NULL,                                   \
      "host-only, nat: bytes of IP packet that the host's or router's interface carries")                    \
    X("tenants.*.segments.*.dhcp", TABLE, 0, 0, NULL, NULL, NULL,                                            \
      "host-only, nat: how guests are given IPv4 addresses")                                                 \
    X("tenants.*.segments.*.dhcp.enabled", BOOL, 0, 0, NULL, "true", NULL,                                   \
      "whether weft answers DHCP in the segment")                                                            \
    X("tenants.*.segments.*.dhcp.range", RANGE, 0, 0, NULL, "the subnet", NULL,                              \
      "addresses for guests without ip, FIRST-LAST; those of ports and the gateway are left out")            \
    X("tenants.*.segments.*.dhcp.lease-time", SECONDS, 120, 31536000, NULL, "1h", NULL,                      \
      "how long a guest may use an address without asking again")                                            \
    X("tenants.*.segments.*.dhcp.dns", ADDRESSES, 0, 3, NULL, "nat: the gateway", NULL,                      \
      "name servers that guests are told of, IPv4; [] for none")                                             \
    X("tenants.*.segments.*.dhcp.domain", DOMAIN, 0, 0, NULL, "TENANT.internal", NULL,                       \
      "domain that guests are told of")                                                                      \
    X("tenants.*.segments.*.ipv6", CHOICE, 0, 0, "nat|none", "none", NULL,                                   \
      "nat: IPv6 to the outside through address translation as well; none: IPv6 inside the tenant "          \
      "only")                                                                                                \
    X("tenants.*.segments.*.vni", ANY, 0, 0, NULL, NULL, "VXLAN tunnels to other hosts",                     \
      "the segment's overlay id")                                                                            \
    X("tenants.*.segments.*.peers", ANY, 0, 0, NULL, NULL, "VXLAN tunnels to other hosts",                   \
      "the other hosts")                                                                                     \
    X("tenants.*.ports", NAMED, 0, 0, NULL, NULL, NULL, "the tenant's ports: one NIC of a guest each")       \
    X("tenants.*.ports.*", TABLE, 0, 0, NULL, NULL, NULL, "a port")                                          \
    X("tenants.*.ports.*.segment", NAME, 0, 0, NULL, NULL, NULL, "the segment of an access port")            \
    X("tenants.*.ports.*.trunk", NAMES, 1, 4094, NULL, NULL, NULL,                                           \
      "segments of a trunk port; the guest sees their vlan numbers as tags")                                 \
    X("tenants.*.ports.*.native", NAME, 0, 0, NULL, NULL, NULL,                                              \
      "the trunk's segment whose frames are untagged")                                                       \
    X("tenants.*.ports.*.mac", MAC, 0, 0, NULL, NULL, NULL,                                                  \
      "the guest's address; the only source that it may use")                                                \
    X("tenants.*.ports.*.ip", ADDRESSES, 1, 64, NULL, NULL, NULL,                                            \
      "the guest's addresses; the only IP sources that it may use")                                          \
    X("tenants.*.ports.*.queues", INTEGER, 1, 8, NULL, "1", NULL, "queue pairs")                             \
    X("tenants.*.ports.*.mtu", INTEGER, 68, 9216, NULL, "1500", NULL,                                        \
      "bytes of IP packet that the port carries")                                                            \
    X("tenants.*.ports.*.client", BOOL, 0, 0, NULL, "false", NULL,                                           \
      "dial the guest's vhost-user socket instead of listening")                                             \
    X("tenants.*.ports.*.socket", PATH, 0, 0, NULL, "RUN-DIR/vhost/TENANT.PORT", NULL,                       \
      "the vhost-user socket")                                                                               \
    X("tenants.*.ports.*.tap", INTERFACE, 0, 0, NULL, NULL, NULL,                                            \
      "the port is an interface of the host, of this name, instead of a guest's")                            \
    X("tenants.*.ports.*.spoof", CHOICE, 0, 0, "deny|allow", "deny", NULL,                                   \
      "allow: the guest may use other source addresses than mac and ip, serve DHCP and send router "         \
      "advertisements")                                                                                      \
    X("tenants.*.ports.*.isolated", BOOL, 0, 0, NULL, NULL, NULL,                                            \
      "the port does not reach other isolated ports; default: the segment's isolate-ports")                  \
    X("tenants.*.ports.*.storm-limit", COUNT, 1, 1000000000, NULL, NULL, NULL,                               \
      "broadcast, multicast and unknown frames a second that the guest may send")                            \
    X("tenants.*.ports.*.macs", COUNT, 1, 1000000, NULL, NULL, NULL,                                         \
      "addresses learned at the port at most")                                                               \
    X("tenants.*.ports.*.enabled", BOOL, 0, 0, NULL, "true", NULL, "false: link down, nothing in or out")    \
    X("tenants.*.ports.*.vm", TABLE, 0, 0, NULL, NULL, NULL,                                                 \
      "a virtual machine at the port, which weftd keeps running with weft-vmm(1)")                           \
    X("tenants.*.ports.*.vm.kernel", PATH, 0, 0, NULL, NULL, NULL,                                           \
      "Linux bzImage, or ELF with a PVH entry; a machine has one")                                           \
    X("tenants.*.ports.*.vm.initrd", PATH, 0, 0, NULL, NULL, NULL, "initial RAM disk")                       \
    X("tenants.*.ports.*.vm.cmdline", TEXT, 0, 4095, NULL, "console=ttyS0", NULL, "kernel command line")     \
    X("tenants.*.ports.*.vm.memory", SIZE, 16, 1048576, NULL, "256", NULL, "RAM in MiB")                     \
    X("tenants.*.ports.*.vm.cpus", INTEGER, 1, 16, NULL, "1", NULL, "virtual CPUs")                          \
    X("tenants.*.ports.*.vm.disk", PATHS, 1, 8, NULL, NULL, NULL,                                            \
      "raw disk images or block devices that the guest may write to")                                        \
    X("tenants.*.ports.*.vm.disk-readonly", PATHS, 1, 8, NULL, NULL, NULL,                                   \
      "the same, that it may only read; they follow the others")                                             \
    X("tenants.*.ports.*.vm.disk-vhost", PATHS, 1, 8, NULL, NULL, NULL,                                      \
      "sockets of vhost-user-blk backends; the last disks")                                                  \
    X("tenants.*.ports.*.vm.cloud-init", PATH, 0, 0, NULL, NULL, NULL,                                       \
      "directory with user-data and meta-data, or a user-data file: a seed disk")                            \
    X("tenants.*.ports.*.vm.hugepages", CHOICE, 0, 0, "auto|on|off", "auto", NULL,                           \
      "RAM from 2 MiB hugepages; auto: if enough are free when it starts")                                   \
    X("tenants.*.ports.*.vm.stop-timeout", SECONDS, 1, 3600, NULL, "30s", NULL,                              \
      "how long the guest may take to power off before it is ended")                                         \
    X("tenants.*.ports.*.rate-in", ANY, 0, 0, NULL, NULL, "rate limits", "bits a second to the guest")       \
    X("tenants.*.ports.*.rate-out", ANY, 0, 0, NULL, NULL, "rate limits", "bits a second from the guest")    \
    X("tenants.*.nat", NAMED, 0, 0, NULL, NULL, NULL, "address translation, by segments of mode nat")        \
    X("tenants.*.nat.*", TABLE, 0, 0, NULL, NULL, NULL, "address translation of a segment")                  \
    X("tenants.*.nat.*.address", POOL, 1, 64, NULL, "uplink", NULL,                                          \
      "what guests' addresses are translated to: uplink (the uplink's own), or one or a list of "            \
      "addresses, which weft answers for")                                                                   \
    X("tenants.*.nat.*.filtering", CHOICE, 0, 0, "address-and-port|endpoint-independent",                    \
      "address-and-port", NULL,                                                                              \
      "whom an open UDP port takes answers from: those that the guest sent to, or everybody (RFC "           \
      "4787)")                                                                                               \
    X("tenants.*.nat.*.forwards", TABLES, 0, 1024, NULL, NULL, NULL,                                         \
      "ports of the outside that lead to a guest")                                                           \
    X("tenants.*.nat.*.forwards.*", TABLE, 0, 0, NULL, NULL, NULL, "a port forward")                         \
    X("tenants.*.nat.*.forwards.*.proto", CHOICE, 0, 0, "tcp|udp", NULL, NULL, "protocol")                   \
    X("tenants.*.nat.*.forwards.*.port", PORTS, 1, 65535, NULL, NULL, NULL,                                  \
      "port or ports of the outside, like 8443 or 8000-8010")                                                \
    X("tenants.*.nat.*.forwards.*.to", TARGET, 0, 0, NULL, NULL, NULL,                                       \
      "port of the tenant and port there, like vm2:443; of several, the first")                              \
    X("tenants.*.nat.*.forwards.*.address", ADDRESS, 0, 0, NULL, "the first of the segment's", NULL,         \
      "outside address, one of address")                                                                     \
    X("tenants.*.nat.*.one-to-one", PINS, 0, 0, NULL, NULL, NULL,                                            \
      "ports of the tenant that have an outside address of their own: PORT: ADDRESS")                        \
    X("tenants.*.flows", ANY, 0, 0, NULL, NULL, "flow rules", "match/action rules of the tenant")
