# SPDX-License-Identifier: BSD-2-Clause
"""Debian's kernel as a guest of little and of much memory: what it sees is what it was given, and all of it holds data."""
# limit: 600

import json
import re
import tempfile
from pathlib import Path

from _linux import build_programs, make_guest_disk
from _linux_steps import check_log, mount_guest_disk, start_guest
from _machine import Rig, check, main
from qemu import Disk

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
echo linux guest is up
exec setsid sh -c 'exec sh </dev/hvc0 >/dev/hvc0 2>&1'
"""
CONFIG = """name = "guest"
kernel = "/mnt/vmlinuz"
ramdisk = "/mnt/initrd"
extra = "console=hvc0"
"""
GUESTS = ((96, 1), (128, 2), (1024, 4))  # MiB, vCPUs
LOST_MIB = 1  # Linux leaves a PC's hole below 1 MiB


def seen_mib(rig):
    """What the kernel counted at boot, before it reserved its own."""
    return int(re.search(r"Memory: \d+K/(\d+)K available", rig.run("dmesg | grep Memory:")).group(1)) / 1024


def one_guest(rig, mib, vcpus):
    start_guest(rig, f"guest{mib}", f"/mnt/guest.cfg name=guest{mib} memory={mib} vcpus={vcpus}")
    (entry,) = json.loads(rig.dom0(f"cero list --json guest{mib}"))
    check(entry["memory_mib"] == mib, f"cero list says {entry['memory_mib']} MiB")
    with rig.guest(f"guest{mib}"):
        check(mib - LOST_MIB <= seen_mib(rig) <= mib, f"the guest sees {seen_mib(rig)} MiB of {mib}")
        check(rig.run("grep -c ^processor /proc/cpuinfo").strip() == str(vcpus), "it does not see its vCPUs")
        rig.run("memory", 240)
        check_log(rig, "Out of memory", "oom-kill", "stalls on", "lockup")
    rig.dom0(f"cero destroy guest{mib}")
    rig.dom0("cero check")


def body():
    with tempfile.TemporaryDirectory(prefix="cero-programs-") as name:
        programs = build_programs(Path(name))
        rig = Rig(cpus=2, memory_mib=2048, network=False)
        rig.machine.disks.append(Disk(make_guest_disk(rig.scratch, INIT, (("bin/memory", programs["memory"], 0o755),),
                                                      content_files=(("guest.cfg", CONFIG),))))
    with rig:
        mount_guest_disk(rig)
        for mib, vcpus in GUESTS:
            one_guest(rig, mib, vcpus)
        # Its image ends 74 MiB above the start of memory. Bare, it does not start with 64 MiB either.
        answer = rig.dom0("cero create /mnt/guest.cfg memory=64", status=1)
        check("too little memory: 64 MiB are configured" in answer, f"no clear message: {answer}")
        rig.power_off()


main(body)
