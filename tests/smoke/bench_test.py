#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""weft bench on a live instance of two tenants: what it reports, and that its ports are gone however it ends.

      acme: web (vlan 120), lab     beta: net          two ports of bench in each segment that is measured
"""
import json
import os
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from processes import alive, children  # noqa: E402
from weft import BUILD, Weft, skip, wait_for  # noqa: E402

CONFIG = {"version": 1, "tenants": {
    "acme": {"segments": {"web": {"mode": "isolated", "vlan": 120}, "lab": {"mode": "isolated"}}, "ports": {"vm1": {"segment": "web"}}},
    "beta": {"segments": {"net": {"mode": "isolated"}}}}}
NUMBERS = ("mpps", "gbps", "loss", "offered", "received", "ring_full", "generator_cycles_per_packet", "verified", "corrupt", "foreign")


def check_item(item, latency=True):
    assert all(isinstance(item[key], (int, float)) and item[key] >= 0 for key in NUMBERS), item
    assert item["received"] > 0 and item["received"] <= item["offered"] and item["loss"] <= 1, item
    assert item["corrupt"] == 0 and item["foreign"] == 0 and item["verified"] > 0, item
    assert item["limit"] in ("switch", "generator", "rate"), item
    for load in ("10", "50", "90") if latency else ():
        values = item["latency_ns"][load]
        assert values["count"] > 0 and 0 < values["p50"] <= values["p99"] <= values["p999"], item


def sockets(weft):
    return sorted(os.listdir(os.path.join(weft.run_dir, "vhost")))


def bench(weft, *arguments, **keywords):
    result = weft.cli("bench", *arguments, "-o", "json", **keywords)
    return json.loads(result.stdout) if result.returncode == 0 else result


def killed(weft, how):
    """A bench that is ended while it runs: ports, sockets and weft-bench are gone."""
    process = subprocess.Popen([os.path.join(BUILD, "cli/weft"), "--run-dir", weft.run_dir, "bench", "acme/web", "--time", "30s"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(sockets(weft)) == 3, "ports of the bench")
    wait_for(lambda: os.listdir(f"/proc/{process.pid}/task") and children(process.pid), "weft-bench")
    child = children(process.pid)[0]
    process.send_signal(how)
    process.wait()
    wait_for(lambda: sockets(weft) == ["acme.vm1"], f"no port left after {how.name}")
    wait_for(lambda: not alive(child), "weft-bench ended")


if os.geteuid() != 0:
    skip("not root")
if not os.path.exists(os.path.join(BUILD, "control/weftd")) or not os.path.exists(os.path.join(BUILD, "perf/weft-bench")):
    skip("weftd or weft-bench is not built")
with Weft(CONFIG) as instance, tempfile.TemporaryDirectory(prefix="weft-bench-test-") as directory:
    before = instance.cli("config", "export").stdout
    one = bench(instance, "acme/web", "--size", "64,imix,tso", "--time", "2s", "--flows", "1000", "--direction", "both")
    assert one["schema"] == "weft.bench.v1" and [i["size"] for i in one["items"]] == ["64", "imix", "tso"], one
    for entry in one["items"]:
        check_item(entry)
        assert entry["segment"] == "acme/web"
    assert one["items"][2]["bytes"] == [64000] and all(s["switch_cycles_per_packet"] > 0 for s in one["sizes"]), one

    report = os.path.join(directory, "report.html")
    everyone = bench(instance, "--all-tenants", "--size", "64", "--time", "2s", "--report", report)
    assert [i["segment"] for i in everyone["items"]] == ["acme/web", "beta/net"], everyone
    for entry in everyone["items"]:
        check_item(entry)
    assert 0 < everyone["sizes"][0]["fairness"] <= 1, everyone
    with open(report, encoding="utf-8") as text:
        html = text.read()
    assert "<svg" in html and "beta/net" in html and "http" not in html and html.endswith("</html>\n"), html

    tagged = bench(instance, "acme/web", "--tagged", "--size", "68", "--time", "2s", "--loss-free", "--tolerance", "1000", "--no-latency")
    check_item(tagged["items"][0], latency=False)
    assert tagged["items"][0]["loss_free"]["trials"] > 0, tagged
    paced = bench(instance, "acme/web", "--rate", "100000", "--size", "64", "--time", "2s", "--no-latency")
    assert paced["items"][0]["limit"] == "rate" and paced["items"][0]["offered"] > 0, paced

    for arguments, code, words in [
            (["acme/web", "acme/lab", "--size", "64", "--time", "2s"], 1, "no frame arrived"),
            (["acme/lab", "--tagged"], 4, "no vlan"), (["acme/wbe"], 3, "did you mean"), ([], 2, "--all-tenants"),
            (["acme/web", "--size", "63"], 2, "frame size")]:
        refused = bench(instance, *arguments, check=False)
        assert refused.returncode == code and words in refused.stderr, (arguments, refused)
    wait_for(lambda: sockets(instance) == ["acme.vm1"], "temporary ports gone")
    for signal_number in (signal.SIGKILL, signal.SIGINT):
        killed(instance, signal_number)
    assert instance.cli("config", "export").stdout == before
    assert [p["name"] for p in instance.items("port", "list")] == ["acme/vm1"]
