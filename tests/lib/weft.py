# SPDX-License-Identifier: BSD-3-Clause
"""A private weft for Python tests: weftd and its dataplane in temporary directories, removed on every exit.

    with Weft(config) as weft:
        guest = weft.guest("acme/vm1")
        weft.cli("port", "list", "-o", "json")
On leaving it checks what must hold after every test: counters balance, nothing at WARN or above in the logs (unless the
test expects it), no process and no file left.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from guest import Guest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("WEFT_BUILD_DIR", os.path.join(TOP, "build")))


def skip(reason):
    print("SKIP:", reason)
    sys.exit(77)


def guest_image():
    """The guest of machines that weftd keeps running (tests/guest); skips where they cannot run."""
    image = os.path.join(BUILD, "tests/guest/weft-vm-guest.elf")
    if not os.access("/dev/kvm", os.W_OK):
        skip("needs /dev/kvm")
    if not os.path.exists(image):
        skip(f"needs {image}")
    return image


def wait_for(condition, what, seconds=120.0):
    """Waits until condition() is true and returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.01)


class Weft:
    def __init__(self, config, expect_warnings=False, arguments=()):
        self.config, self.expect_warnings, self.arguments = config, expect_warnings, arguments
        self.directory = tempfile.mkdtemp(prefix="weft-test-")
        self.run_dir = os.path.join(self.directory, "run")
        self.log_path = os.path.join(self.directory, "weftd.log")
        self.config_path = os.path.join(self.directory, "weft.yaml")
        self.guests, self.daemon = [], None

    def __enter__(self):
        with open(self.config_path, "w", encoding="utf-8") as text:
            text.write(self.config if isinstance(self.config, str) else json.dumps(self.config))
        try:
            self.start()
        except BaseException:
            self.dump()
            self.stop()
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        return self

    def start(self):
        with open(self.log_path, "ab") as log:
            self.daemon = subprocess.Popen(
                [os.path.join(BUILD, "control/weftd"), "--config", self.config_path, "--run-dir", self.run_dir,
                 "--state-dir", os.path.join(self.directory, "state"), "--foreground", *self.arguments],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for(self.ready, "weftd ready")

    def ready(self):
        if self.daemon.poll() is not None:
            raise AssertionError(f"weftd ended with {self.daemon.returncode}")
        status = self.cli("status", "-o", "json", check=False)
        return status.returncode == 0 and self.item(status)["dataplane"]["state"] in ("running", "up", "connected")

    @staticmethod
    def item(result):
        document = json.loads(result.stdout)
        return document["items"][0] if "items" in document else document

    def status(self):
        return self.item(self.cli("status", "-o", "json"))

    def cli(self, *arguments, check=True, stdin=None):
        result = subprocess.run([os.path.join(BUILD, "cli/weft"), "--run-dir", self.run_dir, *arguments], text=True,
                                capture_output=True, input=stdin, timeout=300, check=False)
        if check and result.returncode != 0:
            raise AssertionError(f"weft {' '.join(arguments)}: exit {result.returncode}\n{result.stdout}{result.stderr}")
        return result

    def items(self, *arguments):
        return json.loads(self.cli(*arguments, "-o", "json").stdout)["items"]

    def socket(self, port):
        return os.path.join(self.run_dir, "vhost", port.replace("/", "."))

    def guest(self, port, **keywords):
        guest = Guest(self.socket(port), **keywords)
        self.guests.append(guest)
        wait_for(lambda: any(p["name"] == port and p["state"] == "up" for p in self.items("port", "list")), f"{port} up")
        return guest

    def counters(self):
        return {port["name"]: port for port in self.items("port", "list")}

    def check_counters(self):
        """received = forwarded + flooded + drops; offered = sent + drops: for every port, exactly, once no batch is half
        counted: hosts behind taps speak when they like."""
        wrong = []

        def balanced():
            wrong[:] = [c for c in self.counters().values() if c["rx_packets"] != c["rx_forwarded"] + c["rx_flooded"] + c["drops_from"]
                        or c["tx_offered"] != c["tx_packets"] + c["drops_to"]]
            return not wrong
        try:
            wait_for(balanced, "counters balance")
        except AssertionError as error:
            raise AssertionError(f"{error}: {wrong}") from None

    def dataplane_pid(self):
        return self.status()["dataplane"]["pid"]

    def converged(self):
        dataplane = self.status()["dataplane"]
        return dataplane["state"] == "up" and dataplane["converged"]

    def replace_dataplane(self):
        """One that was adopted would outlive weftd; the next one ends with it."""
        adopted = self.dataplane_pid()
        os.kill(adopted, signal.SIGTERM)
        wait_for(lambda: self.status()["dataplane"].get("pid", adopted) != adopted and self.converged(), "another dataplane")

    def stop(self):
        for guest in self.guests:
            guest.close()
        self.guests = []
        if self.daemon and self.daemon.poll() is None:
            self.daemon.send_signal(signal.SIGTERM)
            try:
                self.daemon.wait(60)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()
                raise AssertionError("weftd did not end within 60 s of SIGTERM") from None

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def check_log(self):
        bad = [line for line in self.log().splitlines()
               if line.startswith(("<0>", "<1>", "<2>", "<3>", "<4>")) or ": error: " in line or ": warning: " in line
               or "runtime error" in line or "Sanitizer" in line]
        assert not bad, "warnings or errors in the log:\n" + "\n".join(bad)

    def dump(self):
        print("---- log", self.log() if os.path.exists(self.log_path) else "none", sep="\n", file=sys.stderr)

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.check_counters()
                self.stop()
                if not self.expect_warnings:
                    self.check_log()
                wait_for(lambda: not self.processes(), "no process is left")
        except BaseException:
            kind = True
            raise
        finally:
            if kind is not None:
                self.dump()
            self.stop()
            for pid in self.processes():  # after a failure: an adopted one
                os.kill(pid, signal.SIGKILL)
            shutil.rmtree(self.directory, ignore_errors=True)

    def processes(self):
        """Those that have the run directory on their command line."""
        def mentions(pid):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as text:
                    return self.run_dir.encode() in text.read()
            except OSError:
                return False
        return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and mentions(pid)]
