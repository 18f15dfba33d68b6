# SPDX-License-Identifier: BSD-2-Clause
"""dom0's prompt with two demo guests, XenStore and consoles at work; the machine powers off."""
# limit: 400

from _machine import Rig, check, main, wait_demo_guests


def look_around(rig):
    """dom0's words about itself, and a shell in each demo guest's console."""
    wait_demo_guests(rig)
    check("Domain-0" in rig.dom0("cero list"), "cero list does not show dom0")
    rig.dom0("cero info")
    rig.dom0("cero store ls /local/domain")
    for name in ("demo1", "demo2"):
        with rig.guest(name):
            check(name in rig.run("uname -n"), "the guest has another name")
            rig.run("cat /proc/meminfo | head -2")
    rig.dom0("cero check")


def body():
    with Rig() as rig:
        look_around(rig)
        rig.power_off()


if __name__ == "__main__":
    main(body)
