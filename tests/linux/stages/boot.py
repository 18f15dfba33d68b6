# SPDX-License-Identifier: BSD-2-Clause
"""systemd comes up whole, on the console and by ssh; a package installs and runs."""

import re
import time

from machine import SLOW, check

TITLE = "systemd to multi-user, login on hvc0, DHCP, apt"
ORDER = 10


def wait_up(linux, limit=180):
    """Until systemd has finished; returns its word for it."""
    deadline = time.monotonic() + limit * SLOW
    while True:
        state = linux.run("systemctl is-system-running", 60, status=None).strip()
        if state not in ("initializing", "starting") or time.monotonic() > deadline:
            return state
        time.sleep(2)


def check_system(linux):
    state = wait_up(linux)
    failed = linux.run("systemctl --failed --plain --no-legend").strip()
    check(state == "running", f"systemd says {state!r}; failed units: {failed}")
    check(not failed, f"failed units: {failed}")
    check(linux.run("systemctl is-active multi-user.target").strip() == "active", "multi-user.target is not active")
    check(linux.run("nproc").strip() == str(linux.vcpus), "nproc differs from the vCPUs that were configured")


def run(linux, short):
    check_system(linux)
    check(linux.run("cat /sys/hypervisor/type /sys/hypervisor/guest_type").split() == ["xen", "PV"], "it is no PV guest")
    address = linux.run("ip -4 -o addr show dev eth0")
    check("10.0.2." in address, f"no address by DHCP: {address}")
    linux.run("apt-get -q remove -y hello || true", 240, None)
    linux.run("apt-get -q install -y /opt/packages/hello_*.deb", 240)
    check("Hello, world!" in linux.run("hello"), "the installed package does not run")
    linux.run("apt-get -q purge -y hello", 240)
    took = linux.run("systemd-analyze time | head -1").strip()
    release = linux.run("uname -r").strip()
    seconds = re.search(r"= (.*)$", took)
    return f"{release}, 0 failed units, up in {seconds.group(1) if seconds else took}"
