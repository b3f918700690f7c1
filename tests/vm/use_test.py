#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Bad use: an error that names the thing and the way out, an exit code, nothing left behind. And the sandbox as seen from outside."""
import os
import re
import subprocess
from vm import FAILED, GUEST, KILLED, OFF, USAGE, VMM, run


def refused(bench, text, *arguments, code=FAILED, prefix=(), kernel=GUEST):
    """weft-vmm ends with `code`, says `text`, and leaves no file."""
    before = sorted(os.listdir(bench.directory))
    command = [*prefix, VMM, *(["--kernel", kernel] if kernel else []), "--console", "none", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False)
    assert result.returncode == code, f"{command}: {result.returncode}, {result.stderr}"
    assert text in result.stderr and result.stderr.startswith("weft-vmm"), f"{command}: {result.stderr}"
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert sorted(os.listdir(bench.directory)) == before, "something was left behind"


def usage(bench):
    for text, *arguments in (("--kernel FILE is missing",), ("from 16M", "--kernel", GUEST, "--memory", "8M"),
                             ("from 16M", "--kernel", GUEST, "--memory", "1000000G"), ("1 to 16", "--kernel", GUEST, "--cpus", "17"),
                             ("1 to 16", "--kernel", GUEST, "--cpus", "2x"), ("socket=PATH is missing", "--net", "queues=2"),
                             ("unicast MAC", "--net", "socket=x,mac=01:00:00:00:00:01"), ("keys are", "--net", "socket=x,speed=1"),
                             ("at most 20 characters", "--disk", "path=x,serial=123456789012345678901"),
                             ("CPU numbers", "--kernel", GUEST, "--pin", "1;2"), ("need --cgroup", "--kernel", GUEST, "--cpu-limit", "50"),
                             ("is not an option", "--kernel", GUEST, "stray"), ("letters, digits", "--name", "a b")):
        refused(bench, text, *arguments, code=USAGE, kernel=None)


def files(bench):
    directory = bench.path("directory")
    os.mkdir(directory)
    for name, data in (("text", b"not a kernel\n" * 500), ("empty", b""), ("elf", b"\x7fELF" + bytes(5000)),
                       ("odd", b"x" * 1000)):
        with open(bench.path(name), "wb") as file:
            file.write(data)
    with open(GUEST, "rb") as image, open(bench.path("cut"), "wb") as cut:
        cut.write(image.read()[:9000])
    refused(bench, "missing: No such file", "--kernel", bench.path("missing"))
    refused(bench, "not a regular file", "--kernel", directory)
    refused(bench, "neither a Linux bzImage nor an ELF", "--kernel", bench.path("text"))
    refused(bench, "neither a Linux bzImage nor an ELF", "--kernel", bench.path("empty"))
    refused(bench, "not a 64-bit x86", "--kernel", bench.path("elf"))
    refused(bench, "truncated", "--kernel", bench.path("cut"))
    refused(bench, "missing: No such file", "--initrd", bench.path("missing"))
    with open(bench.path("big"), "wb") as file:
        file.truncate(100 << 20)
    refused(bench, "give the machine more memory", "--initrd", bench.path("big"), "--memory", "64M")
    refused(bench, "command line is too long", "--cmdline", "x" * 5000)
    refused(bench, "missing: No such file", "--disk", f"path={bench.path('missing')}")
    refused(bench, "not a multiple of 512", "--disk", f"path={bench.path('odd')}")
    refused(bench, "not a multiple of 512", "--disk", f"path={bench.path('empty')}")
    refused(bench, "neither a file nor a block device", "--disk", f"path={directory},readonly")
    refused(bench, "cannot read user-data", "--cloud-init", directory)
    refused(bench, "unknown name in the CPU mask", "--cpu=-flux")
    refused(bench, "cannot open the console's file", "--console", f"file:{bench.path('no/such')}")
    refused(bench, "No such file", "--control", bench.path("no/such"))
    refused(bench, "cannot be had", "--memory", "900G", "--preallocate", "--hugepages", "on")


def backends(bench):
    refused(bench, "is the switch running", "--net", f"socket={bench.path('nobody')}")
    refused(bench, "cannot connect", "--disk", f"vhost={bench.path('nobody')}")
    refused(bench, "client: true", "--net", f"socket={bench.path('nobody')},listen", "--wait", "1")
    hub = bench.hub("port0")
    first = bench.machine("--net", f"socket={bench.path('port0')}", cmdline="mode=link seconds=600")
    first.wait_line("link up=1")
    refused(bench, "port0: cannot", "--net", f"socket={bench.path('port0')}")
    assert first.status()["nets"][0]["connected"], "the second machine hurt the first"
    bench.kill(hub)
    refused(bench, "is the switch running", "--net", f"socket={bench.path('port0')}", "--wait", "1")
    first.process.terminate()
    first.wait(OFF)


def kvm(bench):
    refused(bench, "/dev/kvm: No such file", prefix=("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev; exec "$0" "$@"'))
    if os.geteuid() == 0 and not os.stat("/dev/kvm").st_mode & 0o006:  # some hosts let everybody
        os.chmod(bench.directory, 0o755)
        others = bench.path("not-for-all")  # whatever this host says of its own /dev/kvm
        os.close(os.open(others, os.O_CREAT | os.O_WRONLY, 0o600))
        refused(bench, "must be in the group kvm",
                prefix=("unshare", "-m", "sh", "-c", f'mount --bind {others} /dev/kvm && exec setpriv --reuid=65534 --regid=65534 '
                        '--clear-groups "$0" "$@"'))


def control_in_use(bench):
    first = bench.machine(cmdline="stay=1")
    first.wait_line("done")
    refused(bench, "a machine with this socket is running", "--control", first.control_path)
    assert first.status()["state"] == "running"
    first.process.kill()
    first.process.wait()
    second = bench.machine("--control", first.control_path, cmdline="stay=1", name="again")
    second.wait_line("done")
    second.control_path = first.control_path
    second.call("quit")
    second.wait(KILLED)


def what_stays(bench):
    """The console's copy and the exit code, in files."""
    log, code = bench.path("copy"), bench.path("code")
    first = bench.machine("--console-log", log, "--exit-file", code, cmdline="mode=console lines=2000").right()
    with open(log, encoding="latin-1") as copy:
        assert copy.read() == first.console(), "the copy differs from the console"
    with open(code, encoding="ascii") as text:
        assert text.read() == "0\n"
    second = bench.machine("--exit-file", code, cmdline="stay=1")
    second.wait_line("done")
    second.call("quit")
    second.wait(KILLED)
    with open(code, encoding="ascii") as text:
        assert text.read() == f"{KILLED}\n"
    third = bench.machine("--exit-file", code, cmdline="stay=1")
    third.wait_line("done")
    bench.kill(third.process)
    assert os.path.getsize(code) == 0, "a killed machine wrote its exit code"
    refused(bench, "--console-log", "--console-log", bench.path("none/log"))
    refused(bench, "--exit-file", "--exit-file", bench.path("none/code"))


def sandbox(bench):
    """What /proc says of a running machine: user, capabilities, filters of every thread, root, network, descriptors."""
    if os.environ.get("WEFT_VMM_ARGUMENTS"):
        return
    bench.hub("port0")
    disk = bench.disk("disk", 1 << 20)
    machine = bench.machine("--net", f"socket={bench.path('port0')}", "--disk", f"path={disk}", cmdline="mode=link seconds=600")
    machine.wait_line("link up=1")
    pid = machine.process.pid
    tasks = os.listdir(f"/proc/{pid}/task")
    assert len(tasks) >= 5, tasks
    for task in tasks:
        with open(f"/proc/{pid}/task/{task}/status", encoding="utf-8") as text:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in text if ":\t" in line)
        if status["Name"].startswith("kvm-"):
            continue  # a thread of the kernel
        assert int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0, status
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", (status["Name"], status["Seccomp"])
        if os.geteuid() == 0:
            assert "0" not in status["Uid"].split() and "0" not in status["Gid"].split(), status
    if os.geteuid() == 0:
        assert os.listdir(f"/proc/{pid}/root/") == [], "the root is not empty"
        for name in ("net", "mnt", "ipc", "uts"):
            assert os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}"), name
        with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as mounts:
            assert [line.split()[4] for line in mounts] == ["/"], "more than an empty root is mounted"
        # Of files, only those that the machine was told to use; the directory is that of the port's socket.
        granted = {"/dev/null", "/dev/kvm", os.path.realpath(GUEST), machine.log_path, machine.console_path, disk, bench.directory}
        own = re.compile(r"(socket|pipe):|anon_inode:|/memfd:weft-vmm-ram")
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        assert all(link in granted or own.match(link) for link in links), links
    machine.call("stop")
    machine.wait(OFF)


def limits(bench):
    if os.environ.get("WEFT_VMM_ARGUMENTS"):
        return
    machine = bench.machine(cmdline="stay=1")
    machine.wait_line("done")
    with open(f"/proc/{machine.process.pid}/limits", encoding="utf-8") as text:
        values = {line[:26].strip(): line[26:].split() for line in text}
    assert values["Max core file size"][0] == "0" and int(values["Max open files"][0]) < 256, values
    machine.call("quit")
    machine.wait(KILLED)


def cgroup(bench):
    """Limits by cgroup v2. Where its controllers are not to be had (version 1 has them) only the refusals are seen."""
    if os.geteuid() != 0 or os.environ.get("WEFT_VMM_ARGUMENTS"):
        return
    refused(bench, "cgroup version 2", "--cgroup", bench.directory)
    with open("/proc/mounts", encoding="utf-8") as mounts:
        tops = [line.split()[1] for line in mounts if line.split()[2] == "cgroup2"]
    if not tops:
        print("no cgroup version 2: limits are not tested")
        return
    parent = os.path.join(tops[0], f"weft-test-{os.getpid()}")
    try:
        os.mkdir(parent)
        with open(os.path.join(tops[0], "cgroup.subtree_control"), "w", encoding="utf-8") as file:
            file.write("+cpu +memory")
    except OSError as error:
        if os.path.isdir(parent):
            refused(bench, "are the controllers memory and cpu", "--cgroup", parent, "--memory-limit", "128M")
            os.rmdir(parent)
        print(f"cgroup version 2 without cpu and memory ({error.strerror}): limits are not tested")
        return
    own = os.path.join(parent, "weft-vmm.acme.vm1")
    try:
        with open(os.path.join(parent, "cgroup.subtree_control"), "w", encoding="utf-8") as file:
            file.write("+cpu +memory")
        machine = bench.machine("--cgroup", parent, "--memory-limit", "128M", "--cpu-limit", "150", "--name", "acme/vm1",
                                cmdline="stay=1")
        machine.wait_line("done", 120)
        for name, wanted in (("memory.max", [str(128 << 20)]), ("cpu.max", ["150000", "100000"]),
                             ("cgroup.procs", [str(machine.process.pid)])):
            with open(os.path.join(own, name), encoding="utf-8") as file:
                assert file.read().split() == wanted, name
        machine.call("quit")
        machine.wait(KILLED)
        print("limits by cgroup version 2 are in force")
    finally:
        for path in (own, parent):
            if os.path.isdir(path):
                os.rmdir(path)


def every_option_is_documented(bench):
    text = subprocess.run([VMM, "--help"], capture_output=True, text=True, check=True).stdout
    options = [line.split()[0][2:] for line in text.splitlines() if line.startswith("  --")]
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/weft-vmm.1"), encoding="utf-8") as page:
        manual = page.read()
    assert len(options) > 25 and bench
    for option in options:
        assert "Fl \\-" + option.replace("-", "\\-") in manual, f"--{option} is not in weft-vmm(1)"


run(usage, every_option_is_documented, files, backends, kvm, control_in_use, what_stays, sandbox, limits, cgroup)
