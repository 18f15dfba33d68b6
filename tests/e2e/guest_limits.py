# SPDX-License-Identifier: BSD-2-Clause
"""A guest that fills its XenStore quota, and one that dies while it is created: nobody else notices, nothing is left."""
# limit: 600

import json
import re

from _machine import Rig, check, main

CONFIG = 'name = "short"\nkernel = "/boot/cero-kernel"\nramdisk = "/tmp/ramdisk"\nmemory = 256\n'

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


def check_early_death(rig):
    """Destroyed as soon as it has a name, while its creator fills its memory or waits for its backends."""
    rig.console.put_file("/tmp/short.cfg", CONFIG.encode())
    rig.dom0("dd if=/dev/zero of=/tmp/ramdisk bs=1M count=64 2>/dev/null")  # takes a while to be copied
    died = 0
    for _ in range(8):
        output = rig.dom0("cero create /tmp/short.cfg >/tmp/out 2>&1 & "
                          "until cero destroy short 2>/dev/null; do [ -e /proc/$! ] || break; done; "
                          "wait $!; echo status $?; cat /tmp/out; cero destroy short 2>/dev/null; true", 120)
        if "status 0" in output:
            continue  # it was complete already
        check("it vanished while it was created" in output, f"no clear message: {output}")
        died += 1
    check(died > 0, "no domain died during its creation: nothing was tested")


def body():
    with Rig() as rig:
        rig.wait_for("both demo guests", lambda: {"demo1", "demo2"} <= rig.names(), 60)
        check_quota(rig)
        before = figures(rig)
        check_early_death(rig)
        rig.wait_for("the last frames", lambda: figures(rig) == before, 30)
        rig.dom0("cero create /etc/cero/auto/demo1.cfg", 90)
        with rig.guest("demo1"):
            rig.run("echo alive")
        rig.dom0("cero check")
        rig.power_off()


main(body)
