# SPDX-License-Identifier: BSD-2-Clause
"""The core of a crashed domain, written by dom0 to a disk and read by gdb on the host."""

import json
import subprocess

from machine import check

TITLE = "cero dump-core of a crashed domain, read by gdb"
ORDER = 91
SELF = True
ALLOWED = ("crash", "panic")


def crash(linux):
    linux.attach()
    linux.rig.console.send("echo c > /proc/sysrq-trigger\n")
    linux.rig.console.drain(3)
    linux.rig.console.send("\x1d")
    linux.rig.console.drain(0.5)
    linux.rig.console.send("\n")
    linux.rig.console.wait_shell(60)
    linux.attached = False


def domain(linux, state=None):
    """The domain's entry, once it is in that state."""
    def look():
        found = [entry for entry in json.loads(linux.dom0("cero list --json")) if entry["name"] == "debian"]
        return found[0] if found and (state is None or state in found[0]["state"]) else None
    linux.rig.wait_for(f"state {state} of debian", lambda: look() is not None, 60, 1)
    return look()


def read_by_gdb(core, address):
    words = ["gdb", "-q", "-batch", "-ex", f"core-file {core}", "-ex", f"x/s {address}", "-ex", "info threads", "-ex",
             "info registers rip"]
    result = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
    print(result.stdout)
    return result.stdout


def run(linux, short):
    linux.start("memory=256", "'on_crash=\"preserve\"'")
    # dom0 can write ext2, and the guest's scratch disk is free once it stands still.
    linux.run("mke2fs -q -F -t ext2 -L cores /dev/xvdb && sync", 120)
    banner = linux.run("grep ' linux_banner$' /proc/kallsyms").split()[0]
    release = linux.run("uname -r").strip()
    crash(linux)
    entry = domain(linux, "c")
    check(entry["shutdown_reason"] == "crash", f"shut down for {entry['shutdown_reason']}, not for the crash")
    linux.dom0("cero block-detach -f debian xvdb")
    linux.dom0("mkdir -p /cores && mount -t ext2 /dev/vdc /cores")
    told = linux.dom0("cero dump-core debian /cores/debian.core", 240)
    again = linux.dom0("cero dump-core debian /cores/debian.core", status=2)
    check("there is a file of this name" in again, f"no clear message: {again}")
    linux.dom0("umount /cores && sync", 120)
    core = linux.rig.scratch / "debian.core"
    subprocess.run(["debugfs", "-R", f"dump /debian.core {core}", str(linux.scratch_disk)], check=True, timeout=120,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seen = read_by_gdb(core, "0x" + banner)
    check(f"Linux version {release}" in seen, "gdb does not find the kernel's banner at its address")
    for vcpu in range(linux.vcpus):
        check(f"LWP {vcpu + 1}" in seen, f"gdb does not show vCPU {vcpu}")
    linux.destroy()
    linux.dom0("cero check")
    return told.strip().splitlines()[-1]
