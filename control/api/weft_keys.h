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
 *   - PATH: absolute path
 *   - INTERFACE: name of a network interface
 *   - DEVICE: KIND:ARGUMENTS
 *   - STATICS: mapping from MAC addresses to ports
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
    X("uplinks.*.device", DEVICE, 0, 0, "af_packet|af_xdp|vdev|!pci", NULL, NULL,                            \
      "af_xdp:IF or af_packet:IF, an interface shared with the host; vdev:DEVARGS, a DPDK device")           \
    X("uplinks.*.mtu", INTEGER, 68, 9216, NULL, "the interface's, else 1500", NULL,                          \
      "bytes of IP packet that the uplink carries")                                                          \
    X("vtep", ANY, 0, 0, NULL, NULL, "VXLAN tunnels to other hosts", "this host's tunnel endpoint")          \
    X("tenants", NAMED, 0, 0, NULL, NULL, NULL,                                                              \
      "who owns segments and ports; tenants never hear each other")                                          \
    X("tenants.*", TABLE, 0, 0, NULL, NULL, NULL, "a tenant")                                                \
    X("tenants.*.limits", TABLE, 0, 0, NULL, NULL, NULL, "what the tenant may use at most")                  \
    X("tenants.*.limits.ports", COUNT, 0, 4095, NULL, NULL, NULL, "ports of the tenant")                     \
    X("tenants.*.limits.macs", COUNT, 1, 1000000, NULL, NULL, NULL,                                          \
      "addresses learned in all of the tenant's segments; segments that set no macs share what the others "  \
      "leave")                                                                                               \
    X("tenants.*.limits.rate", ANY, 0, 0, NULL, NULL, "rate limits", "bits a second of the tenant")          \
    X("tenants.*.limits.sessions", ANY, 0, 0, NULL, NULL, "address translation",                             \
      "translated sessions of the tenant")                                                                   \
    X("tenants.*.segments", NAMED, 0, 0, NULL, NULL, NULL, "the tenant's networks")                          \
    X("tenants.*.segments.*", TABLE, 0, 0, NULL, NULL, NULL, "a segment: one layer 2 network")               \
    X("tenants.*.segments.*.mode", CHOICE, 0, 0, "isolated|bridged|!host-only|!nat", NULL, NULL,             \
      "isolated: guests reach each other; bridged: and the network behind the uplink")                       \
    X("tenants.*.segments.*.uplink", NAME, 0, 0, NULL, NULL, NULL,                                           \
      "bridged: the uplink that joins the segment")                                                          \
    X("tenants.*.segments.*.follow-uplink", BOOL, 0, 0, NULL, "true", NULL,                                  \
      "bridged: guests see link down while the uplink's interface has no link")                              \
    X("tenants.*.segments.*.vlan", INTEGER, 1, 4094, NULL, NULL, NULL,                                       \
      "the segment's tag on trunk ports and its uplink")                                                     \
    X("tenants.*.segments.*.ageing", SECONDS, 0, 1000000, NULL, "5m", NULL,                                  \
      "how long a learned address is kept that is not heard from; 0: for ever")                              \
    X("tenants.*.segments.*.isolate-ports", BOOL, 0, 0, NULL, "false", NULL,                                 \
      "guest ports do not reach each other, except those with isolated: false")                              \
    X("tenants.*.segments.*.macs", COUNT, 1, 1000000, NULL, NULL, NULL,                                      \
      "addresses learned in the segment at most")                                                            \
    X("tenants.*.segments.*.static", STATICS, 0, 0, NULL, NULL, NULL,                                        \
      "addresses that are not learned: MAC to port")                                                         \
    X("tenants.*.segments.*.subnet", ANY, 0, 0, NULL, NULL, "modes nat and host-only",                       \
      "addresses of the segment")                                                                            \
    X("tenants.*.segments.*.host-interface", ANY, 0, 0, NULL, NULL, "mode host-only",                        \
      "the host's interface")                                                                                \
    X("tenants.*.segments.*.vni", ANY, 0, 0, NULL, NULL, "VXLAN tunnels to other hosts",                     \
      "the segment's overlay id")                                                                            \
    X("tenants.*.segments.*.peers", ANY, 0, 0, NULL, NULL, "VXLAN tunnels to other hosts",                   \
      "the other hosts")                                                                                     \
    X("tenants.*.ports", NAMED, 0, 0, NULL, NULL, NULL,                                                      \
      "the tenant's ports: one network card of a guest each")                                                \
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
      "allow: the guest may use other source addresses than mac and ip")                                     \
    X("tenants.*.ports.*.isolated", BOOL, 0, 0, NULL, NULL, NULL,                                            \
      "the port does not reach other isolated ports; default: the segment's isolate-ports")                  \
    X("tenants.*.ports.*.storm-limit", COUNT, 1, 1000000000, NULL, NULL, NULL,                               \
      "broadcast, multicast and unknown frames a second that the guest may send")                            \
    X("tenants.*.ports.*.macs", COUNT, 1, 1000000, NULL, NULL, NULL,                                         \
      "addresses learned at the port at most")                                                               \
    X("tenants.*.ports.*.enabled", BOOL, 0, 0, NULL, "true", NULL, "false: link down, nothing in or out")    \
    X("tenants.*.ports.*.rate-in", ANY, 0, 0, NULL, NULL, "rate limits", "bits a second to the guest")       \
    X("tenants.*.ports.*.rate-out", ANY, 0, 0, NULL, NULL, "rate limits", "bits a second from the guest")    \
    X("tenants.*.nat", ANY, 0, 0, NULL, NULL, "address translation", "address translation of the tenant")    \
    X("tenants.*.flows", ANY, 0, 0, NULL, NULL, "flow rules", "match/action rules of the tenant")
