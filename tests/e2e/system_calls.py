# SPDX-License-Identifier: BSD-2-Clause
"""The PV kernel's system calls: one program, first on this machine's Linux, then in dom0 and in a guest; they must agree."""
# limit: 400

import subprocess
import tempfile
from pathlib import Path

from _machine import Rig, check, main, wait_demo_guests
from qemu import Disk

SOURCE = Path(__file__).resolve().parent.parent.parent / "pv-guest-kernel" / "tests" / "user" / "exercise.cpp"


def make_disk(directory):
    """An ext2 image with the program."""
    tree = directory / "tree"
    tree.mkdir()
    subprocess.run(["g++", "-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-stringop-overread", "-static",
                    "-o", str(tree / "exercise"), str(SOURCE)], check=True, timeout=120)
    subprocess.run(["strip", str(tree / "exercise")], check=True)
    told = subprocess.run([str(tree / "exercise")], stdout=subprocess.PIPE, text=True, timeout=120, check=False).stdout
    check(told.splitlines()[-1] == "exercise: 0 failed", f"Linux fails: {told}")
    image = directory / "programs.img"
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext2", "-d", str(tree), str(image), "16M"], check=True, timeout=60)
    return image


def body():
    with tempfile.TemporaryDirectory(prefix="cero-exercise-") as name:
        rig = Rig()
        rig.machine.disks.append(Disk(make_disk(Path(name)), read_only=True))
        with rig:
            wait_demo_guests(rig)
            rig.dom0("mkdir -p /mnt && mount -o ro /dev/vdb /mnt && /mnt/exercise && umount /mnt", 180)
            rig.dom0("cero block-attach demo2 phy:/dev/vdb,xvdb,r")
            with rig.guest("demo2"):
                rig.wait_for("the disk", lambda: "xvdb" in rig.run("cat /proc/partitions"), 30)
                rig.run("mkdir -p /mnt && mount -o ro /dev/xvdb /mnt && /mnt/exercise", 180)
            rig.power_off()


main(body)
