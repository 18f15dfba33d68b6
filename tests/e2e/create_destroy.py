# SPDX-License-Identifier: BSD-2-Clause
"""Cycles of create and destroy with disk and network at work: memory, store and event channels end as they began.

CERO_CYCLES says how many (20)."""
# limit: 1200

import json
import os
import time

from _machine import CONFIG, Rig, check, main, wait_demo_guests


def state(rig):
    info = json.loads(rig.dom0("cero info --json"))
    nodes = int(rig.dom0("cero store ls -f / 2>/dev/null | wc -l || true").split()[-1])
    free = {key: value for key, value in info.items() if "free" in key.lower()}
    channels = json.loads(rig.dom0("cero check --json"))["figures"]["event channels"]
    return free, nodes, channels


def cycle(rig, number):
    rig.dom0(f"cero create {CONFIG['demo1']}", 90)
    with rig.guest("demo1"):
        rig.run("(dd if=/dev/zero of=/data/busy bs=64k count=2000; ping 10.0.2.2) >/dev/null 2>&1 &")
    if number % 2:
        time.sleep(0.5)
    rig.dom0("cero check")  # audits every frame while the guest works
    rig.dom0("cero destroy demo1", 60)


def cycles(rig, count):
    """demo1 is gone before and afterwards."""
    cycle(rig, 0)  # the first one fills caches
    time.sleep(2)
    before = state(rig)
    for number in range(1, count + 1):
        cycle(rig, number)
    time.sleep(2)
    after = state(rig)
    check(before == after, f"before {before}, after {count} cycles {after}")
    rig.dom0("cero check")
    print(f"{count} cycles: {after} before and after")


def body():
    with Rig() as rig:
        wait_demo_guests(rig)
        rig.dom0("cero destroy demo1", 60)
        cycles(rig, int(os.environ.get("CERO_CYCLES", "20")))
        rig.power_off()


if __name__ == "__main__":
    main(body)
