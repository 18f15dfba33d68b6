# SPDX-License-Identifier: BSD-2-Clause
"""A guest that floods its event channels, its network and its disk: dom0 answers, other guests too, and destroy ends it."""
# limit: 900

import os
import shutil
import subprocess
import time

from _machine import Rig, check, main, wait_demo_guests
from paths import BUILD
from qemu import Disk

CPUS = [int(count) for count in os.environ.get("CERO_CPUS", "2,1").split(",")]
FLOODS = os.environ.get("CERO_FLOODS", "rings packets events,packets,disk").split()
ANSWER_LIMIT = 60
ANSWERS = 10
# Under a flood programs have an eighth of the CPU at least: the quarter that is theirs, half of which the network thread may take. So
# much longer than without a flood may the answers take, twice that where the guest's own share is of the same CPU, and some seconds each for
# what goes on besides, on the machine that runs the test too.
SLOWER, SLACK = 8, 3
CONFIG = """name = "flood"
kernel = "/mnt/guest-flood"
ramdisk = "/boot/guest.img"
memory = 48
disk = [ "phy:/dev/vdb,xvda,r" ]
vif = [ "bridge=xenbr0", "bridge=xenbr0" ]
"""


def make_disk(scratch):
    content = scratch / "content"
    content.mkdir()
    subprocess.run(["strip", "-o", str(content / "guest-flood"), str(BUILD / "tests" / "guest" / "guest-flood")], check=True)
    (content / "flood.cfg").write_text(CONFIG)
    image = scratch / "flood.img"
    with open(image, "wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext2", "-d", str(content), str(image)], check=True,
                   env={**os.environ, "PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})
    shutil.rmtree(content)
    return image


def timed(rig, command):
    """Runs it in dom0's shell within the limit; how long it took."""
    started = time.monotonic()
    rig.dom0(command, ANSWER_LIMIT)
    return time.monotonic() - started


def endure(rig, cpus, floods):
    """A guest floods; dom0 and another guest answer meanwhile, and it can be destroyed."""
    log = "/var/log/cero/console/flood.log"
    idle = sum(timed(rig, "cero list") for _ in range(ANSWERS))
    rig.dom0(f"rm -f {log}")
    rig.dom0(f"cero create /mnt/flood.cfg 'extra=\"console=hvc0 flood={floods}\"'", 2 * ANSWER_LIMIT)
    try:
        rig.wait_for("the flood", lambda: rig.console.run(f"grep -q 'flood: begins' {log}", ANSWER_LIMIT)[0] == 0, 60)
    except AssertionError:
        rig.dom0(f"tail -n 20 {log}")
        raise
    times = [timed(rig, "cero list") for _ in range(ANSWERS)]
    limit = SLOWER * idle * (2 if cpus == 1 else 1) + SLACK * ANSWERS
    print(f"flood of {floods}: answers after {', '.join(f'{t:.1f}' for t in times)} s; together {sum(times):.1f} s, "
          f"without a flood {idle:.1f} s", flush=True)
    check(sum(times) < limit, f"dom0 answers too slowly: {sum(times):.1f} s, the limit is {limit:.1f} s")
    with rig.guest("demo1"):
        rig.run("echo alive && md5sum /bin/busybox", ANSWER_LIMIT)
    print(f"destroyed after {timed(rig, 'cero destroy flood'):.1f} s", flush=True)
    check("flood" not in rig.names(), "the guest that was destroyed is still there")


def session(cpus):
    print(f"=== {cpus} CPUs", flush=True)
    rig = Rig(cpus=cpus)
    rig.machine.disks.append(Disk(make_disk(rig.scratch), read_only=True))
    with rig:
        wait_demo_guests(rig)
        rig.dom0("mount -o ro /dev/vdb /mnt")
        for floods in FLOODS:
            endure(rig, cpus, floods)
        with rig.guest("demo1"):
            rig.wait_for("an address", lambda: "10.0.2." in rig.run("ifconfig eth0", status=None), 60)
            rig.run("ping -c 1 10.0.2.2")
            rig.run("dd if=/dev/urandom of=/data/after bs=64k count=8 && sync && md5sum /data/after", 60)
        rig.dom0("cero check")
        rig.power_off()


def body():
    for cpus in CPUS:
        session(cpus)


if __name__ == "__main__":
    main(body)
