# SPDX-License-Identifier: BSD-2-Clause
"""dom0's prompt with two demo guests, XenStore and consoles at work; the machine powers off."""
# limit: 400

import json
import re

from _machine import Rig, check, main, wait_demo_guests


def look_around(rig):
    """dom0's words about itself, and a shell in each demo guest's console."""
    wait_demo_guests(rig)
    check("Domain-0" in rig.dom0("cero list"), "cero list does not show dom0")
    rig.dom0("cero info")
    rig.dom0("cero store ls /local/domain")
    uuids = {domain["name"]: domain["uuid"] for domain in json.loads(rig.dom0("cero list --json"))}
    for name in ("demo1", "demo2"):
        with rig.guest(name):
            check(name in rig.run("uname -n"), "the guest has another name")
            rig.run("cat /proc/meminfo | head -2")
            told = rig.run("cd /sys/hypervisor; cat uuid version/major version/minor version/extra properties/capabilities")
            check(told.split() == [uuids[name], "4", "17", ".0-cero", "xen-3.0-x86_64"], f"/sys/hypervisor says {told}")
            told = rig.run("cat /proc/cpuinfo")
            check(re.search(r"^flags\t\t: fpu .*\bsyscall\b.*$", told, re.M) and "hypervisor" in told, f"/proc/cpuinfo says {told}")
            check(float(re.search(r"^cpu MHz\t\t: (.*)$", told, re.M).group(1)) > 0, f"/proc/cpuinfo says {told}")
    rig.dom0("cero check")


def body():
    with Rig() as rig:
        look_around(rig)
        rig.power_off()


if __name__ == "__main__":
    main(body)
