# SPDX-License-Identifier: BSD-2-Clause
"""`cero mem-set` moves the balloon of our own kernel both ways while the guest works; nobody loses or keeps a page."""
# limit: 600

import json
import re

from _machine import Rig, check, main, wait_demo_guests

MEMORY, MOST = 64, 160
# Files in memory, written, read back and compared, over and over: every page that comes or goes is among busy ones.
LOAD = b"""head -c 6000000 /dev/urandom > /tmp/a
want=$(md5sum < /tmp/a)
n=0
while [ ! -e /tmp/stop ]; do
    cp /tmp/a /tmp/b
    [ "$(md5sum < /tmp/b)" = "$want" ] || { echo corrupt > /tmp/bad; exit 1; }
    rm /tmp/b
    n=$((n + 1))
done
echo rounds $n
"""


def figures(rig):
    return json.loads(rig.dom0("cero check --json"))["figures"]


def present_mib(rig):
    (entry,) = json.loads(rig.dom0("cero list --json demo1"))
    return entry["memory_pages"] / 256


def seen_mib(rig):
    return int(re.search(r"MemTotal:\s+(\d+)", rig.run("cat /proc/meminfo")).group(1)) / 1024


def set_and_check(rig, mib):
    rig.dom0(f"cero mem-set -w --timeout 60 demo1 {mib}", 90)
    rig.wait_for(f"{mib} MiB to the page", lambda: present_mib(rig) == mib, 30, 0.3)
    with rig.guest("demo1"):
        seen = seen_mib(rig)
    check(seen == mib, f"the guest sees {seen} MiB of {mib}")
    found = figures(rig)
    check("domain %s pages to give back" % rig.dom0("cero domid demo1").strip() not in found, "over its limit")


def check_too_small(rig):
    """A guest that needs its memory gives back what it can, says so, and lives."""
    told = rig.dom0("cero mem-set -w --timeout 4 demo1 4 2>&1; echo status $?", 60)
    check("status 4" in told and "did not come to 4 MiB" in told, f"no clear message: {told}")
    with rig.guest("demo1"):
        rig.run("echo alive")
        check("balloon: " in rig.run("dmesg | grep balloon"), "the kernel does not say that it is stuck")
    set_and_check(rig, MEMORY)


def body():
    with Rig() as rig:
        wait_demo_guests(rig, 60)
        rig.dom0("cero destroy demo1")
        before = figures(rig)["free pages"]
        rig.dom0(f"cero create /etc/cero/auto/demo1.cfg memory={MEMORY} maxmem={MOST}", 90)
        set_and_check(rig, MEMORY)
        for mib in (40, MOST, 100, MEMORY):
            set_and_check(rig, mib)
        with rig.guest("demo1"):
            rig.console.put_file("/tmp/load", LOAD)
            rig.run("sh /tmp/load > /tmp/log 2>&1 &")
        for _ in range(4):
            for mib in (48, MOST, 80, MEMORY):
                set_and_check(rig, mib)
        with rig.guest("demo1"):
            told = rig.run("touch /tmp/stop; wait; cat /tmp/log; ls /tmp/bad 2>/dev/null; rm -f /tmp/a", 90)
            check(int(re.search(r"rounds (\d+)", told).group(1)) > 3 and "bad" not in told, f"the load: {told}")
        check_too_small(rig)
        told = rig.dom0(f"cero mem-set demo1 {MOST + 1}", status=2)
        check(f"1 to {MOST} are possible" in told, f"no clear message: {told}")
        rig.dom0("cero destroy demo1")
        rig.wait_for("every page", lambda: figures(rig)["free pages"] == before, 30)
        rig.dom0("cero check")
        rig.power_off()


main(body)
