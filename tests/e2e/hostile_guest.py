# SPDX-License-Identifier: BSD-2-Clause
"""Guests that pass garbage to every hypercall: the others answer, and nothing is left of them.

CERO_SEEDS=FIRST-LAST says which random calls (1-6), CERO_CALLS how many of each (20000)."""
# limit: 600

import os
import re
import shutil
import subprocess
import time

from _machine import Rig, check, main, wait_demo_guests
from guest_limits import figures
from paths import BUILD
from qemu import Disk

CALLS = int(os.environ.get("CERO_CALLS", "20000"))
FIRST, LAST = (int(part) for part in os.environ.get("CERO_SEEDS", "1-6").split("-"))
# Kept when it has ended: it may run for so short a time that the console service reads its words only afterwards.
CONFIG = """name = "chaos"
kernel = "/mnt/guest-chaos"
memory = 16
on_crash = "preserve"
on_poweroff = "preserve"
on_reboot = "preserve"
"""


def make_disk(scratch):
    content = scratch / "content"
    content.mkdir()
    shutil.copy(BUILD / "tests" / "guest" / "guest-chaos", content)
    (content / "chaos.cfg").write_text(CONFIG)
    image = scratch / "chaos.img"
    with open(image, "wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext2", "-d", str(content), str(image)], check=True,
                   env={**os.environ, "PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})
    return image


def running(rig, names):
    """Those of the domains that have not ended; the state's last letters say shut down, crashed, dying."""
    lines = (line.split() for line in rig.dom0("cero list").splitlines())
    return {words[0] for words in lines if words[0] in names and not set("scd") & set(words[4])}


def outcome(rig, seed):
    """How many calls the guest made, by its last words."""
    log = f"/var/log/cero/console/chaos{seed}.log"
    text = rig.dom0(f"cat {log}")
    counts = re.findall(r"seed \d+: (?:all )?(\d+) calls, \d+ succeeded, (\d+) traps", text)
    check(counts, f"seed {seed}: the guest did not even start")
    calls, traps = map(int, counts[-1])
    return calls - traps


def torment(rig, seeds):
    """Runs one guest per seed at once."""
    names = {f"chaos{seed}" for seed in seeds}
    for seed in seeds:
        rig.dom0(f"cero create /mnt/chaos.cfg name=chaos{seed} 'extra=\"seed={seed} calls={CALLS}\"'")
    started = time.monotonic()
    with rig.guest("demo2"):
        rig.run("echo alive && ping -c 1 10.0.2.2")
    deadline = started + 120
    while (left := running(rig, names)) and time.monotonic() < deadline:
        time.sleep(1)
    for name in left:  # it may have stopped itself for good
        rig.dom0(f"echo {name} neither ends nor works on; cero vcpu-list {name}")
    for name in names:
        log = f"/var/log/cero/console/{name}.log"
        rig.wait_for("the guest's first words", lambda: rig.console.run(f"grep -q calls {log}")[0] == 0, 20)
        rig.dom0(f"cero destroy {name}")
    rig.dom0("cero dmesg | tail -n 30")


def body():
    rig = Rig()
    rig.machine.disks.append(Disk(make_disk(rig.scratch), read_only=True))
    with rig:
        wait_demo_guests(rig)
        for name in ("demo1", "demo2"):
            with rig.guest(name):
                rig.wait_for("an address", lambda: "10.0.2." in rig.run("ifconfig eth0", status=None), 60)
                rig.run("mount | grep xvda")
        rig.dom0("mount -o ro /dev/vdb /mnt")
        before = figures(rig)
        made = 0
        for seed in range(FIRST, LAST + 1, 2):
            seeds = range(seed, min(seed + 1, LAST) + 1)
            torment(rig, seeds)
            rig.wait_for("what the guests had", lambda: figures(rig) == before, 30)
            made += sum(outcome(rig, seed) for seed in seeds)  # the console service has let go of their rings: all is read
            rig.dom0("cero check")
        wanted = CALLS * (LAST - FIRST + 1)
        print(f"{made} of {wanted} calls were made")
        check(made >= wanted / 2, f"the guests ended after {made} of {wanted} calls: too few to tell anything")
        with rig.guest("demo1"):
            rig.run("dd if=/dev/urandom of=/data/after bs=64k count=8 && sync && md5sum /data/after", 60)
        rig.dom0("cero dmesg | tail -n 40")
        rig.power_off()


if __name__ == "__main__":
    main(body)
