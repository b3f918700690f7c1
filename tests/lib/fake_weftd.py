#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A weftd that only talks: docs/api.md over a few objects in memory, for tests of the command line.

usage: fake_weftd.py RUN-DIR [--mode MODE] [--log FILE]

It is strict where weftd is strict: a parameter that docs/api.md does not name is refused with code 2.
Prints "ready" when the socket listens. --log: each request, one JSON line.
Modes: normal; silent (never answers), mute (answers hello only), garbage, close (after hello), read (role read),
version (hello refused), hostile (answers that try to hurt the terminal).
"""
import argparse
import json
import os
import socket
import sys
import threading
import time

PARAMS = {
    "hello": {"version"}, "status": set(), "list": {"noun", "tenant", "segment", "port", "limit"}, "show": {"noun", "name"},
    "add": {"noun", "name", "values", "dry_run", "expect_generation"},
    "set": {"noun", "name", "values", "dry_run", "expect_generation"},
    "del": {"noun", "name", "dry_run", "expect_generation", "cascade"},
    "port.snippet": {"name", "for"}, "fdb.flush": {"segment", "port", "dry_run"},
    "config.apply": {"text", "filename", "dry_run", "confirm_within", "expect_generation"},
    "config.diff": {"text", "filename"}, "config.confirm": set(), "config.rollback": {"generation", "dry_run"},
    "config.history": set(), "config.export": {"generation"}, "events": {"follow", "since"}, "doctor": {"fix"},
    "bench.open": {"segment", "to", "trunk"},
    "vm.run": {"name", "values", "dry_run", "expect_generation"}, "vm.stop": {"name", "force"},
    **{f"vm.{action}": {"name"} for action in ("start", "restart", "reset", "pause", "resume", "console")},
    "forward.add": {"segment", "proto", "port", "to", "address", "dry_run", "expect_generation"},
    "forward.del": {"segment", "proto", "port", "address", "dry_run", "expect_generation"},
}
CHANGING = {"vm.run", "vm.stop", "vm.start", "vm.restart", "vm.reset", "vm.pause", "vm.resume", "vm.console",
            "bench.open", "forward.add", "forward.del", "add", "set", "del", "fdb.flush", "config.apply", "config.confirm", "config.rollback"}
HOSTILE = "a\x1b]0;owned\x07\x1b[31m\x9b2J\u202etxt\x7f"


class Refused(Exception):
    def __init__(self, code, message, details=None):
        super().__init__(message)
        self.error = {"code": code, "message": message}
        if details:
            self.error["details"] = details


def counters(n):
    return {"rx_packets": n, "rx_bytes": n * 100, "tx_packets": n + 1, "tx_bytes": n * 100 + 60}


def port(name, segment, **more):
    tenant = name.split("/")[0]
    return {"name": name, "tenant": tenant, "kind": "vhost-user", "segment": segment, "queues": 1, "mtu": 1500,
            "spoof": "deny", "isolated": False, "enabled": True, "socket": "/run/weft/vhost/" + name.replace("/", "."),
            "client": False, "state": "up", "queues_enabled": 1, "features": "0x130000000", "connects": 1,
            "protocol_errors": 0, "ring_errors": 0, "memory_bytes": 1 << 30, "addresses": 1, **counters(1234567),
            "tx_segments": 0, "rx_forwarded": 1234500, "rx_flooded": 55, "tx_offered": 1269135, "drops_from": 12,
            "drops_to": 34567, **more}


def machine(name, state):
    return {"name": name, "tenant": name.split("/")[0], "state": state, "restart_pending": False, "restarts": 1,
            "pid": 4711, "uptime": 75, "resets": 0, "link": True, "hugepages": False, "read_bytes": 1 << 20,
            "written_bytes": 0, "console_bytes": 99, "cpus": 2, "memory": 512 << 20, "kernel": "/boot/vmlinuz",
            "disks": ["/srv/vm2.img"], "stop_timeout": 30, "mac": "52:54:00:00:00:02",
            "console": "/run/weft/vm/acme.vm2/console", "console_log": "/run/weft/vm/acme.vm2/console.log"}


class State:
    def __init__(self, mode):
        self.mode = mode
        self.lock = threading.Lock()
        self.generation = 7
        self.unconfirmed = False
        self.drops = 100
        self.reset()

    def reset(self):
        self.objects = {
            "tenant": {"acme": {"name": "acme", "limits": {"ports": 64}, "segments": 2, "ports": 2, "ports_up": 1,
                                **counters(5), "drops": 3}},
            "segment": {
                "acme/web": {"name": "acme/web", "tenant": "acme", "mode": "isolated", "ageing": 300,
                             "isolate_ports": False, "static": {"52:54:00:00:00:09": "vm1"}, "ports": 2,
                             "ports_up": 1, "addresses": 2},
                "acme/lab": {"name": "acme/lab", "tenant": "acme", "mode": "bridged", "vlan": 120, "uplink": "lan0",
                             "ageing": 300, "isolate_ports": True, "static": {}, "ports": 0, "ports_up": 0,
                             "addresses": 0},
                "acme/app": {"name": "acme/app", "tenant": "acme", "mode": "nat", "uplink": "lan0", "ageing": 300,
                             "isolate_ports": False, "static": {}, "ports": 1, "ports_up": 0, "addresses": 0,
                             "gateway": ["10.0.1.1/24"]}},
            "port": {
                "acme/vm1": port("acme/vm1", "web", mac="52:54:00:00:00:01", ip=["10.0.1.1", "10.0.1.2"]),
                "acme/vm2": port("acme/vm2", "web", state="error", error="ring 0: available index jumped")},
            "nat": {"acme/app": {"name": "acme/app", "tenant": "acme", "uplink": "lan0", "address": ["uplink"],
                                 "filtering": "address-and-port", "forwards": 0, "one_to_one": {}}},
            "vm": {"acme/vm2": machine("acme/vm2", "running")},
            "uplink": {"lan0": {"name": "lan0", "device": "vdev:net_null0", "mtu": 1500, "segments": ["acme/lab"],
                                "state": "up", **counters(9), "drops_from": 0, "drops_to": 0}},
        }

    def find(self, noun, name):
        known = self.objects.get(noun)
        if known is None:
            raise Refused(2, f"unknown noun \"{noun}\"")
        if name not in known:
            raise Refused(3, f"{noun} {name} does not exist; there is: {', '.join(known) or 'none'}")
        return known[name]

    def changed(self, params, changes):
        dry = params.get("dry_run", False)
        if changes and not dry:
            self.generation += 1
        return {"changed": bool(changes), "generation": self.generation, "changes": changes}

    def hello(self, params):
        if self.mode == "version" or params.get("version") != 1:
            raise Refused(2, "API version 1 is not known; this weftd speaks 9")
        return {"version": 1, "build": "0.1.0", "role": "read" if self.mode == "read" else "admin",
                "generation": self.generation}

    def status(self, _params):
        self.drops += 10
        tenants = list(self.objects["tenant"].values())
        return {"schema": "weft.status.v1",
                "controller": {"pid": 4242, "build": "0.1.0", "generation": self.generation,
                               "started": "2026-01-01T00:00:00.000Z", "run_dir": "/run/weft",
                               "state_dir": "/var/lib/weft", "config": "/etc/weft/weft.yaml"},
                "dataplane": {"state": "up", "pid": 4243, "build": "0.1.0", "started": "2026-01-01T00:00:01.000Z",
                              "restarts": 1, "adopted": False, "converged": True},
                "workers": [{"id": 0, "core": 1, "queues": 3, "asleep": True, "busy": 0.125,
                             "busy_cycles": self.drops * 5, "total_cycles": self.drops * 10, "packets": 123456789,
                             "rounds": 5, "sleeps": 2, "flow_hits": 7, "flow_misses": 3}],
                "totals": {"tenants": len(tenants), "segments": 2, "ports": 2, "ports_up": 1, **counters(7), "drops": 3},
                "tenants": tenants, "warnings": ["port acme/vm2: ring 0: available index jumped"]}

    def forward_add(self, params):
        self.find("segment", params["segment"])
        return self.changed(params, [f"~ nat {params['segment']} forwards none -> {params['port']}"])

    forward_del = forward_add

    def list(self, params):
        noun = params["noun"]
        if noun == "fdb":
            items = [{"segment": "acme/web", "mac": "52:54:00:00:00:01", "port": "acme/vm1", "static": False, "age": 75},
                     {"segment": "acme/web", "mac": "52:54:00:00:00:09", "port": "acme/vm1", "static": True, "age": 0}]
        elif noun == "drops":
            self.drops += 10
            items = [{"tenant": "acme", "port": "acme/vm1", "direction": "from", "reason": "spoof_mac",
                      "text": "source MAC address not this port's", "packets": self.drops}]
        elif noun == "sessions":
            items = [{"tenant": "acme", "segment": "acme/app", "port": "acme/vm5", "uplink": "lan0", "protocol": "tcp",
                      "state": "established", "direction": "out", "inside": "10.0.1.10:1024",
                      "translated": "203.0.113.2:40000", "remote": "198.51.100.1:443", "packets_out": 9,
                      "packets_in": 7, "age": 1, "expires_s": 7439}]
        elif noun in ("forward", "lease", "neighbour", "route"):
            items = []
        elif noun in self.objects:
            items = list(self.objects[noun].values())
        else:
            raise Refused(2, f"unknown noun \"{noun}\"")
        if self.mode == "hostile":
            items = [{key: HOSTILE if isinstance(value, str) else value for key, value in item.items()}
                     for item in items]
        tenant, segment = params.get("tenant"), params.get("segment")
        if tenant is not None and noun not in ("tenant", "uplink"):
            self.find("tenant", tenant)
            items = [item for item in items if item["tenant" if "tenant" in item else "name"].split("/")[0] == tenant]
        if segment is not None:
            self.find("segment", segment)
            items = [item for item in items if item.get("segment", "web") in (segment, segment.split("/")[1])]
        return {"schema": f"weft.{noun}.v1", "items": items}

    def show(self, params):
        item = dict(self.find(params["noun"], params["name"]))
        if params["noun"] == "port":
            item["queue"] = [{"queue": 0, "worker": 0, "core": 1, "ring_size": 256, "usable": True, **counters(77)}]
        return {"schema": f"weft.{params['noun']}.v1", "items": [item]}

    def add(self, params):
        noun, name, values = params["noun"], params["name"], params["values"]
        if "/" in name:
            self.find("tenant", name.split("/")[0])
        if name in self.objects[noun]:
            if values and not all(str(self.objects[noun][name].get(key)) == str(values[key]) for key in values):
                raise Refused(4, f"{noun} {name} exists with other values")
            return self.changed(params, [])
        if values.get("queues", "1") not in "12345678":
            raise Refused(6, "the configuration is invalid", [{"file": "", "line": 0, "column": 0,
                          "path": f"{noun}s.{name}.queues", "message": "\"many\" is not a number from 1 to 8"}])
        if not params.get("dry_run"):
            self.objects[noun][name] = (port(name, values.get("segment", "web")) if noun == "port" else
                                        {"name": name, "tenant": name.split("/")[0]})
        text = "".join(f" {key} {value}" for key, value in values.items())
        return self.changed(params, [f"+ {noun} {name}{text}"])

    def set(self, params):
        self.find(params["noun"], params["name"])
        return self.changed(params, [f"~ {params['noun']} {params['name']} {key} -> {value}"
                                     for key, value in params["values"].items()])

    def delete(self, params):
        noun, name = params["noun"], params["name"]
        if name not in self.objects[noun]:
            return self.changed(params, [])
        if noun == "tenant" and not params.get("cascade"):
            raise Refused(4, f"tenant {name} has ports vm1, vm2; --cascade deletes them as well")
        if not params.get("dry_run"):
            del self.objects[noun][name]
        return self.changed(params, [f"- {noun} {name}"])

    def config_apply(self, params):
        text = params["text"]
        if "bad" in text:
            name = params["filename"]
            raise Refused(6, "the configuration is invalid: 2 errors", [
                {"file": name, "line": 3, "column": 5, "path": "tenants.acme", "message": "unknown key \"segmets\""},
                {"file": name, "line": 9, "column": 1, "path": "tenants.beta", "message": "given twice"}])
        if "slow" in text:
            raise Refused(8, "generation 8 is in force, the dataplane has not taken it yet")
        if "limit" in text:
            raise Refused(9, "tenant acme has its 64 ports")
        if not params.get("dry_run"):
            self.reset()
        result = self.changed(params, ["+ segment acme/new mode isolated"] if "new" in text else [])
        if "confirm_within" in params:
            result["confirm_within"] = params["confirm_within"]
            self.unconfirmed = True
        return result

    def config_diff(self, params):
        result = self.config_apply({**params, "dry_run": True})
        return {"same": not result["changed"], "changes": result["changes"]}

    def config_confirm(self, _params):
        if not self.unconfirmed:
            raise Refused(4, "nothing waits to be confirmed")
        self.unconfirmed = False
        return {"generation": self.generation}

    def config_rollback(self, params):
        if params.get("generation", 6) > self.generation:
            raise Refused(3, f"there is no generation {params['generation']}")
        return self.changed(params, ["- segment acme/lab"])

    def config_history(self, _params):
        return {"schema": "weft.history.v1", "items": [
            {"generation": 6, "time": "2026-01-01T00:00:00.000Z", "by": 0, "summary": "start", "current": False,
             "unconfirmed": False},
            {"generation": 7, "time": "2026-01-02T03:04:05.678Z", "by": 0, "summary": "+ port acme/vm2",
             "current": True, "unconfirmed": False}]}

    def config_export(self, _params):
        return {"text": "version: 1\ntenants:\n  acme: {}\n", "generation": self.generation}

    def port_snippet(self, params):
        self.find("port", params["name"])
        return {"text": f"# {params['for']}\n-chardev socket,id=c0,path=/run/weft/vhost/acme.vm1,reconnect=1\n"}

    def fdb_flush(self, params):
        if "segment" in params:
            self.find("segment", params["segment"])
        return {"flushed": 2}

    def doctor(self, params):
        state = "fixed" if params.get("fix") else "warning"
        return {"schema": "weft.doctor.v1", "items": [
            {"check": "dataplane", "state": "ok", "text": "runs", "fix": ""},
            {"check": "hugepages", "state": state, "text": "none reserved", "fix": "weft doctor --fix"}]}

    def events(self):
        return [{"sequence": 1, "time": "2026-01-02T03:04:05.678Z", "type": "dataplane-started", "text": "pid 4243"},
                {"sequence": 2, "time": "2026-01-02T03:04:06.678Z", "type": "port-up", "tenant": "acme", "port": "vm1",
                 "text": "port acme/vm1 is up"}]

    def vm_run(self, params):
        self.find("port", params["name"])
        result = self.add({**params, "noun": "vm"})
        if not params.get("dry_run"):
            self.objects["vm"][params["name"]] = machine(params["name"], "running")
        return result

    def vm_act(self, params, state):
        item = self.find("vm", params["name"])
        item["state"], item["pid"] = state, item["pid"] + 1
        return {"changed": True, "name": params["name"], "state": state}

    def vm_console(self, params):
        item = self.find("vm", params["name"])
        return {"socket": item["console"], "log": item["console_log"], "state": item["state"]}

    def bench_open(self, params):
        self.find("segment", params["segment"])
        raise Refused(1, "there is no dataplane here")

    def answer(self, method, params):
        if method not in PARAMS:
            raise Refused(2, f"unknown method \"{method}\"")
        strange = set(params) - PARAMS[method]
        if strange:
            raise Refused(2, f"{method}: unknown parameter {sorted(strange)}")
        if self.mode == "read" and method in CHANGING:
            raise Refused(7, f"{method} is not permitted for group weft-ro")
        expected = params.get("expect_generation")
        if expected is not None and expected != self.generation:
            raise Refused(4, f"generation {self.generation} is in force, not {expected}: another change came between")
        name = {"del": "delete"}.get(method, method.replace(".", "_"))
        states = {"vm_stop": "off", "vm_pause": "paused"}
        with self.lock:
            if method.startswith("vm.") and not hasattr(self, name):
                return self.vm_act(params, states.get(name, "running"))
            return getattr(self, name)(params)


def serve(connection, state, log):
    stream = connection.makefile("rwb")

    def send(message):
        stream.write(json.dumps(message).encode() + b"\n")
        stream.flush()

    try:
        for line in stream:
            request = json.loads(line)
            if log:
                log.write(json.dumps(request) + "\n")
                log.flush()
            number, method, params = request["id"], request["method"], request.get("params", {})
            if state.mode == "silent" or (state.mode == "mute" and method != "hello"):
                time.sleep(3600)
            if state.mode == "garbage":
                stream.write(b"\xff\xfe not JSON\n")
                stream.flush()
                continue
            if state.mode == "close" and method != "hello":
                break
            if method == "events" and not set(params) - PARAMS["events"]:
                for event in state.events():
                    if event["sequence"] > params.get("since", 0):
                        send({"id": number, "item": event})
                if not params.get("follow"):
                    send({"id": number, "result": {}})
                continue
            try:
                send({"id": number, "result": state.answer(method, params)})
            except Refused as refused:
                send({"id": number, "error": refused.error})
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        connection.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("run_dir")
    parser.add_argument("--mode", default="normal")
    parser.add_argument("--log")
    options = parser.parse_args()
    path = os.path.join(options.run_dir, "api.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)
    state = State(options.mode)
    log = open(options.log, "a", encoding="utf-8") if options.log else None
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, state, log), daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
