# SPDX-License-Identifier: BSD-2-Clause
"""A guest that fills its XenStore quota: nobody else notices, and nothing is left of it."""
# limit: 600

import json
import re

from _machine import Rig, check, main, wait_demo_guests

# Writes node after node through the guest kernel's XenStore device until the answer is ENOSPC.
# A request: type 11 (write), request 1, transaction 0, length, then path, NUL, value.
FILL = rb"""exec 3<>/dev/xen/xenbus
n=0
while [ $n -lt 4000 ]; do
    path=data/q$n
    printf "\013\0\0\0\001\0\0\0\0\0\0\0\x$(printf %02x $((${#path} + 2)))\0\0\0%s\0x" $path >&3
    if dd bs=1024 count=1 <&3 2>/dev/null | grep -q ENOSPC; then
        echo full after $n
        exit 0
    fi
    n=$((n + 1))
done
exit 1
"""


def figures(rig):
    """Frames, XenStore nodes and event channels of the machine."""
    found = json.loads(rig.dom0("cero check --json"))["figures"]
    return {name: found[name] for name in ("free pages", "XenStore nodes", "event channels", "domains")}


def check_quota(rig):
    with rig.guest("demo1"):
        rig.console.put_file("/tmp/fill", FILL)
        told = rig.run("sh /tmp/fill", 240)
    count = int(re.search(r"full after (\d+)", told).group(1))
    check(count > 100, f"only {count} nodes: less than a driver needs")
    with rig.guest("demo2"):
        rig.run("echo alive")
    # Its own devices and its end work as before; dom0 may still write for it.
    domain = rig.dom0("cero domid demo1").strip()
    rig.dom0(f"cero store write /local/domain/{domain}/control/test 1 && cero store rm /local/domain/{domain}/control/test")
    rig.dom0("cero shutdown --wait demo1", 90)


def body():
    with Rig() as rig:
        wait_demo_guests(rig, 60)
        for name in ("demo1", "demo2"):  # their devices are connected when the shell answers
            with rig.guest(name):
                rig.run("ifconfig eth0 && mount | grep xvda")
        before = figures(rig)
        check_quota(rig)
        rig.dom0("cero create /etc/cero/auto/demo1.cfg", 90)
        with rig.guest("demo1"):
            rig.run("ifconfig eth0 && mount | grep xvda")
        rig.wait_for("what the domain had", lambda: figures(rig) == before, 30)
        rig.dom0("cero check")
        rig.power_off()


if __name__ == "__main__":
    main(body)
