# SPDX-License-Identifier: BSD-2-Clause
"""A domain is destroyed by somebody else, or its creator killed, in the middle of its creation: nothing is left of it.

`cero create` keeps the configuration of each domain in a file as its last step before the guest starts. Here a FIFO lies in
that file's place: the creation waits for a reader for as long as the test likes, with memory, nodes and back ends in place."""
# limit: 300

import re

from _machine import CONFIG, Rig, check, main, wait_demo_guests
from guest_limits import figures


def start_creation(rig, number):
    """Starts to create demo1 as domain `number`; returns when it has all but started."""
    rig.dom0(f"rm -f /tmp/status; mkfifo /run/cero/domain-{number}.cfg.new")
    creator = f"echo $$ >/tmp/creator; exec cero create {CONFIG['demo1']}"
    rig.dom0(f"(sh -c '{creator}' >/tmp/out 2>&1; echo $? >/tmp/status) &")
    disk = f"/local/domain/0/backend/vbd/{number}/51712/state"
    rig.wait_for("the disk's back end", lambda: rig.dom0(f"cero store read {disk}", status=None).strip() == "2", 30)
    interface = f"/local/domain/0/backend/vif/{number}/0/state"
    rig.wait_for("the interface's back end", lambda: rig.dom0(f"cero store read {interface}", status=None).strip() == "2", 30)
    check("demo1" in rig.names(), "the domain is not there")
    rig.dom0("test ! -e /tmp/status")  # `cero create` waits


def destroy_meanwhile(rig, number):
    start_creation(rig, number)
    rig.dom0("cero destroy demo1")
    check("demo1" not in rig.names(), "the domain is still there")
    rig.dom0("test ! -e /tmp/status")
    rig.dom0(f"cat /run/cero/domain-{number}.cfg.new >/dev/null")
    rig.wait_for("the end of cero create", lambda: rig.console.run("test -s /tmp/status")[0] == 0, 30)
    status, told = int(rig.dom0("cat /tmp/status")), rig.dom0("cat /tmp/out")
    check(status != 0, "cero create says that all is well")
    lines = told.strip().splitlines()
    check(re.fullmatch(rf'cero: domain {number} \(demo1\): it vanished while it was created.*', lines[0]), told)
    check(lines[1:] == ["  Somebody destroyed it at the same time."], told)


def kill_creator(rig, number):
    start_creation(rig, number)
    rig.dom0("kill -9 $(cat /tmp/creator)")
    rig.dom0("cero list demo1")
    rig.dom0(f"cero destroy demo1 && rm /run/cero/domain-{number}.cfg.new")
    check("demo1" not in rig.names(), "the domain is still there")


def body():
    with Rig() as rig:
        wait_demo_guests(rig)
        for name in CONFIG:  # their devices are connected when the shell answers
            with rig.guest(name):
                rig.run("ifconfig eth0 && mount | grep xvda")
        rig.dom0("cero destroy demo1")
        before = figures(rig)
        told = rig.dom0(f"cero create {CONFIG['demo1']} && cero destroy demo1")
        number = int(re.search(r"with id (\d+)", told).group(1)) + 1
        for disturb in (destroy_meanwhile, kill_creator):
            disturb(rig, number)
            rig.wait_for("what the domain had", lambda: figures(rig) == before, 30)
            rig.dom0(f"ls /run/cero; ! ls /run/cero | grep domain-{number}")
            rig.dom0("cero check")
            number += 1
        rig.dom0(f"cero create {CONFIG['demo1']}", 60)
        with rig.guest("demo1"):
            rig.run("mount | grep xvda")
        rig.power_off()


if __name__ == "__main__":
    main(body)
