# SPDX-License-Identifier: BSD-2-Clause
"""Shut down and reboot, from inside and by `cero`; after a reboot the guest comes up again by itself."""

import time

from machine import SLOW, Timeout, check

TITLE = "reboot and power off, from inside and by cero"
ORDER = 20
SELF = True


def wait_reboot(linux, before, trigger):
    """The domain's number changes when it was created anew."""
    old = linux.dom0("cero domid debian").strip()
    check(linux.boot_id() == before, "it rebooted unasked")
    linux.expect_login()
    trigger()
    deadline = time.monotonic() + 120 * SLOW
    while True:
        answer = linux.dom0("cero domid debian", status=None).strip()
        if answer.isdigit() and answer != old:
            break
        if time.monotonic() > deadline:
            raise Timeout(f"debian was not created again: {answer}")
        time.sleep(2)
    linux.wait_login()
    after = linux.boot_id()
    check(after != before, "the boot's identity is the same")
    return after


def from_inside(linux, word):
    """The console ends with the domain."""
    linux.attach()
    linux.rig.console.send(f"{word}\n")
    linux.leave_console()


def run(linux, short):
    linux.start()
    identity = linux.boot_id()
    identity = wait_reboot(linux, identity, lambda: from_inside(linux, "reboot"))
    wait_reboot(linux, identity, lambda: linux.dom0("cero reboot debian", 60))
    linux.run("sync; echo written > /root/before-poweroff")
    from_inside(linux, "poweroff")
    linux.wait_gone()
    linux.start()
    check(linux.run("cat /root/before-poweroff").strip() == "written", "a file is lost over power off")
    linux.dom0("cero shutdown --wait --timeout 120 debian", 150)
    check(not linux.is_running(), "the guest is still there after cero shutdown")
    linux.fsck_root()
    linux.dom0("cero check")
    return "2 reboots, 2 ends; e2fsck of the root on the host: clean"
