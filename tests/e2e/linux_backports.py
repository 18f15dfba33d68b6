# SPDX-License-Identifier: BSD-2-Clause
"""A later kernel that Debian 12 carries too (6.12, packed with zstd), as a guest with one, two and four vCPUs."""
# limit: 600

import struct

from _linux import fetch_linux, make_guest_disk
from _linux_init import FILES, INIT
from _linux_steps import CONFIG, check_log, mount_guest_disk, put_to_work, shut_down, start_guest
from _machine import Rig, check, main
from qemu import Disk

def one_guest(rig, release, vcpus):
    name = f"debian{vcpus}"
    start_guest(rig, name, f"/mnt/debian.cfg name={name} vcpus={vcpus}")
    with rig.guest(name):
        check(rig.run("uname -r").strip() == release, f"it is not Linux {release}")
        put_to_work(rig, vcpus)
        check_log(rig, "unchecked MSR", "stalls on", "lockup")
    shut_down(rig, name)


def body():
    linux = fetch_linux("linux-image-6.12-amd64", "linux-6.12")
    image = (linux / "vmlinuz").read_bytes()
    (version,) = struct.unpack_from("<H", image, 0x20E)  # of the boot protocol: where the release stands, less 0x200
    release = image[0x200 + version:].split(b" ", 1)[0].decode()
    rig = Rig(cpus=2, memory_mib=1024)
    rig.machine.disks.append(Disk(make_guest_disk(rig.scratch, INIT, FILES, CONFIG, linux=linux)))
    with rig:
        mount_guest_disk(rig, ["demo2"])
        for vcpus in (1, 2, 4):
            one_guest(rig, release, vcpus)
        rig.dom0("cero dmesg | tail -n 40", status=None)
        rig.power_off()


main(body)
