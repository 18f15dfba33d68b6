# SPDX-License-Identifier: BSD-2-Clause
"""Debian's own kernel, as packaged, as a guest with four vCPUs: console, disk, network, many processes, shutdown."""
# limit: 400

from _linux import make_guest_disk
from _linux_init import FILES, INIT
from _linux_steps import CONFIG, check_log, mount_guest_disk, put_to_work, shut_down, start_guest
from _machine import Rig, check, main
from qemu import Disk


def body():
    rig = Rig(cpus=2, memory_mib=1024)
    rig.machine.disks.append(Disk(make_guest_disk(rig.scratch, INIT, FILES, CONFIG + "vcpus = 4\n")))
    with rig:
        mount_guest_disk(rig, ["demo2"])
        start_guest(rig, "debian", "/mnt/debian.cfg")
        with rig.guest("debian"):
            check("Debian" in rig.run("uname -a"), "it is not Debian's kernel")
            put_to_work(rig, 4)
            check_log(rig, "unchecked MSR")
        rig.dom0("cero vcpu-list debian")
        shut_down(rig, "debian")
        rig.power_off()


main(body)
