# SPDX-License-Identifier: BSD-2-Clause
"""dom0's prompt with two demo guests, XenStore and consoles at work; the machine powers off."""
# limit: 400

from _machine import Rig, check, main


def body():
    with Rig() as rig:
        rig.wait_for("both demo guests", lambda: {"demo1", "demo2"} <= rig.names(), 60)
        output = rig.dom0("cero list")
        check("Domain-0" in output, "cero list does not show dom0")
        rig.dom0("cero info")
        rig.dom0("cero store ls /local/domain")
        for name in ("demo1", "demo2"):
            with rig.guest(name):
                check(name in rig.run("uname -n"), "the guest has another name")
                rig.run("cat /proc/meminfo | head -2")
        rig.dom0("cero check")
        rig.power_off()


main(body)
