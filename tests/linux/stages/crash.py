# SPDX-License-Identifier: BSD-2-Clause
"""The kernel crashes: `cero list` says so, its last words stay in the console's history, on_crash is obeyed."""

from machine import check

TITLE = "sysrq crash; on_crash preserve, restart, destroy"
ORDER = 90
SELF = True


def crash(linux):
    linux.run("sync")
    linux.rig.console.send("echo c > /proc/sysrq-trigger\n")


def state_of(linux):
    for line in linux.dom0("cero list").splitlines()[1:]:
        words = line.split()
        if words and words[0] == "debian":
            return words[4]
    return ""


def run(linux, short):
    linux.start("on_crash=preserve")
    crash(linux)
    linux.rig.console.drain(5)
    linux.rig.wait_for("the state of a crashed domain", lambda: "c" in state_of(linux), 120, 3)
    history = linux.dom0("cero console --history debian")
    check("sysrq triggered crash" in history and "Kernel panic" in history, "the console's history lacks the last words")
    linux.destroy()
    linux.start("on_crash=restart")
    before = linux.boot_id()
    old = linux.dom0("cero domid debian").strip()
    linux.expect_login()
    crash(linux)
    linux.leave_console()
    linux.rig.wait_for("the domain after a crash", lambda: linux.dom0("cero domid debian", status=None).strip()
                       not in ("", old) and linux.is_running(), 120, 3)
    linux.wait_login()
    check(linux.boot_id() != before, "the boot's identity is the same")
    linux.destroy()
    linux.start("on_crash=destroy")
    crash(linux)
    linux.leave_console()
    linux.wait_gone()
    linux.dom0("cero check")
    return "preserve: state c and the panic in the history; restart: up again; destroy: gone"
