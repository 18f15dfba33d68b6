# SPDX-License-Identifier: BSD-2-Clause
"""Cycles of create and destroy with disk and network at work: memory, store and event channels end as they began.

CERO_CYCLES says how many (20)."""
# limit: 1200

import json
import os
import time

from _machine import Rig, check, main

CYCLES = int(os.environ.get("CERO_CYCLES", "20"))


def state(rig):
    info = json.loads(rig.dom0("cero info --json"))
    nodes = int(rig.dom0("cero store ls -f / 2>/dev/null | wc -l || true").split()[-1])
    free = {key: value for key, value in info.items() if "free" in key.lower()}
    return free, nodes


def body():
    with Rig() as rig:
        rig.wait_for("demo1", lambda: "demo1" in rig.names(), 60)
        config = rig.dom0("ls /etc/cero/*/demo1.cfg /etc/cero/demo1.cfg 2>/dev/null | head -n 1").strip()

        def cycle(number):
            rig.dom0(f"cero create {config}", 90)
            with rig.guest("demo1"):
                rig.run("(dd if=/dev/zero of=/data/busy bs=64k count=2000; ping 10.0.2.2) >/dev/null 2>&1 &")
            if number % 2:
                time.sleep(0.5)
            rig.dom0("cero check")  # audits every frame while the guest works
            rig.dom0("cero destroy demo1", 60)

        rig.dom0("cero destroy demo1", 60)
        cycle(0)  # the first one fills caches
        time.sleep(2)
        before = state(rig)
        for number in range(1, CYCLES + 1):
            cycle(number)
        time.sleep(2)
        after = state(rig)
        check(before == after, f"before {before}, after {CYCLES} cycles {after}")
        rig.dom0("cero check")
        rig.power_off()


main(body)
