# SPDX-License-Identifier: BSD-2-Clause
"""The balloon moves both ways while the guest uses its memory; nobody gets more than maxmem."""

import json

from machine import check

TITLE = "mem-set both ways under load, maxmem"
ORDER = 40
SELF = True
SLACK_MIB = 2


def total_mib(linux):
    (entry,) = json.loads(linux.dom0("cero list --json debian"))
    return entry["memory_mib"]


def run(linux, short):
    linux.start("memory=512", "maxmem=1024")
    rounds = 1 if short else 10
    linux.run("stress-ng --vm 2 --vm-bytes 40% --vm-method all --verify -t 0 >/tmp/vm.log 2>&1 & echo $! > /tmp/vm.pid")
    for _ in range(rounds):
        for mib in (384, 1024, 640, 512):
            linux.dom0(f"cero mem-set -w --timeout 240 debian {mib}", 300)
            check(abs(total_mib(linux) - mib) <= SLACK_MIB, f"cero list says {total_mib(linux)} MiB, {mib} were set")
            seen = int(linux.run("awk '/MemTotal/{print $2}' /proc/meminfo")) // 1024
            check(mib - 160 < seen <= mib, f"the guest sees {seen} MiB of {mib}")
    linux.run("kill $(cat /tmp/vm.pid); wait $(cat /tmp/vm.pid) 2>/dev/null; ! grep -iE 'fail|corrupt' /tmp/vm.log", 120)
    answer = linux.dom0("cero mem-set debian 1025", status=2)
    check("1 to 1024 are possible" in answer, f"no clear message: {answer}")
    # A guest that asks for more by itself gets no frame above what was set.
    linux.run("echo $((1024 * 1024)) > /sys/devices/system/xen_memory/xen_memory0/target_kb; sleep 3", status=None)
    check(total_mib(linux) <= 512 + SLACK_MIB, "the guest took more than it was allowed")
    linux.dom0("cero mem-max debian 600")
    answer = linux.dom0("cero mem-set debian 700", status=2)
    check("1 to 600 are possible" in answer, f"no clear message: {answer}")
    linux.dom0("cero check")
    linux.destroy()
    return f"{rounds} rounds of 384, 1024, 640, 512 MiB under stress-ng --vm with verification"
