# SPDX-License-Identifier: BSD-2-Clause
"""The XenStore server dies again and again: guests keep their devices and watches, and `cero` goes on."""
# limit: 600

import json
import re

from _machine import Rig, check, main, wait_demo_guests

LOAD = """while [ ! -e /tmp/stop ]; do
    dd if=/dev/urandom of=/data/x bs=64k count=40 2>/dev/null; sync
    [ "$(md5sum < /data/x)" = "$(md5sum < /data/x)" ] && wget -q -O /dev/null http://10.0.2.2:1/ ; n=$((n + 1))
    echo $n > /tmp/rounds
done
"""


def figures(rig):
    for attempt in range(10):  # the services' own lines may stand in between, or the server be away
        text = rig.dom0("cero check --json 2>/dev/null", status=None)
        try:
            found = json.loads(text[text.index("{"):text.rindex("}") + 1])
            check(not found["problems"], f"problems: {found['problems']}")
            return {name: found["figures"][name] for name in ("free pages", "XenStore nodes", "domains")}
        except ValueError:
            if attempt == 9:
                raise
    return {}


def server(rig):
    numbers = re.findall(r"^\d+$", rig.dom0("pidof cero-store || true"), re.MULTILINE)
    return int(numbers[0]) if numbers else None


def kill_server(rig):
    old = server(rig)
    rig.dom0(f"kill -9 {old}")
    rig.wait_for("another cero-store", lambda: server(rig) not in (None, old), 30, 0.3)


def mem_set(rig, name, mib):
    """The guest's watch fires and its balloon answers: the way to it and back works."""
    rig.wait_for(f"mem-set {name} {mib}", lambda: "done 0" in rig.dom0(
        f"cero mem-set -w --timeout 20 {name} {mib}; echo done $?", 60), 60, 0.5)


def check_life_goes_on(rig):
    for mib in (40, 48):
        mem_set(rig, "demo1", mib)
    rig.dom0("cero network-attach demo1 bridge=xenbr0", 60)
    with rig.guest("demo1"):
        rig.wait_for("eth1 in the guest", lambda: "eth1" in rig.run("ifconfig -a"), 30)
    rig.dom0("cero network-detach demo1 1", 60)
    rig.dom0("cero shutdown --wait demo1", 90)
    rig.dom0("cero create /etc/cero/auto/demo1.cfg", 90)
    with rig.guest("demo1"):
        rig.run("mount | grep xvda && ifconfig eth0")


def kill_at_work(rig):
    """While requests are under way: each is done once or not at all, and nobody waits for ever."""
    rig.console.put_file("/tmp/work", b"""n=0
while [ ! -e /tmp/enough ]; do
    for mib in 40 44 48; do cero mem-set demo2 $mib; done
    cero store write /tool/test/$n $n && cero store rm /tool/test
    n=$((n + 1))
done
""")
    rig.dom0("sh /tmp/work > /tmp/work.log 2>&1 &")
    for _ in range(6):
        kill_server(rig)
        rig.dom0("sleep 2.5")  # one that dies at once is started again a second later
    rig.dom0("touch /tmp/enough; wait; cero store rm /tool/test || true", 60)
    mem_set(rig, "demo2", 48)


def check_silence(rig):
    """A server that hangs, and so is not started again: who asks it is told so, and it serves on when it can."""
    rig.dom0("kill -STOP $(pidof cero-store)")
    told = rig.dom0("cero store read /local/domain/0/domid 2>&1", 90, status=5)
    check("cero-store has not answered for 30 s" in told and "killall -9 cero-store" in told, f"no clear message: {told}")
    rig.dom0("kill -CONT $(pidof cero-store)")
    rig.wait_for("answers", lambda: rig.console.run("cero list demo1", 90)[0] == 0, 60)


def body():
    with Rig() as rig:
        wait_demo_guests(rig, 60)
        for name in ("demo1", "demo2"):
            with rig.guest(name):
                rig.run("ifconfig eth0 && mount | grep xvda")
        with rig.guest("demo2"):
            rig.console.put_file("/tmp/load", LOAD.encode())
            rig.run("sh /tmp/load > /tmp/load.log 2>&1 &")
        before = figures(rig)
        kill_server(rig)
        rig.wait_for("what the store held", lambda: figures(rig) == before, 30)
        check_life_goes_on(rig)
        kill_at_work(rig)
        rig.wait_for("what the machine held", lambda: figures(rig) == before, 60)
        check_life_goes_on(rig)
        rounds = []
        for _ in range(2):
            with rig.guest("demo2"):
                rounds.append(int(re.search(r"^\d+$", rig.run("cat /tmp/rounds; sleep 2"), re.MULTILINE).group()))
        check(rounds[1] > rounds[0], f"the guest's disk and network stand still: {rounds}")
        check_silence(rig)
        rig.dom0("cero destroy demo1; cero destroy demo2; cero check", 60)
        rig.power_off()


main(body)
