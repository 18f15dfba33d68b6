# SPDX-License-Identifier: BSD-2-Clause
"""Debian's own kernel, as packaged, as a guest with four vCPUs: console, disk, network, many processes, shutdown."""
# limit: 400

from _linux import make_guest_disk
from _linux_init import FILES, INIT
from _machine import Rig, check, main
from qemu import Disk

CONFIG = """name = "debian"
kernel = "/mnt/vmlinuz"
ramdisk = "/mnt/initrd"
extra = "console=hvc0"
memory = 256
vcpus = 4
disk = [ "phy:/dev/vda2,xvda,w" ]
vif = [ "mac=00:16:3e:00:00:09,bridge=xenbr0" ]
"""


def body():
    rig = Rig(cpus=2, memory_mib=1024)
    rig.machine.disks.append(Disk(make_guest_disk(rig.scratch, INIT, FILES, CONFIG)))
    with rig:
        rig.wait_for("both demo guests", lambda: {"demo1", "demo2"} <= rig.names(), 60)
        rig.dom0("cero destroy demo2")
        rig.dom0("mkdir -p /mnt && mount /dev/vdb /mnt")
        rig.dom0("cero create /mnt/debian.cfg", 180)
        log = "/var/log/cero/console/debian.log"
        rig.wait_for("the Linux guest", lambda: "is up" in rig.dom0(f"grep 'linux guest' {log}", status=None), 180, 3)
        with rig.guest("debian"):
            check("Debian" in rig.run("uname -a"), "it is not Debian's kernel")
            check(rig.run("grep -c ^processor /proc/cpuinfo").strip() == "4", "it does not see four CPUs")
            rig.run("dd if=/dev/urandom of=/x bs=64k count=64 2>/dev/null && dd if=/x of=/dev/xvda bs=64k && sync "
                    "&& echo 3 > /proc/sys/vm/drop_caches && dd if=/dev/xvda bs=64k count=64 | cmp - /x", 60)
            rig.run("ping -c 2 10.0.2.2", 60)
            rig.run("for i in 1 2 3 4; do (n=0; while [ $n -lt 40 ]; do /bin/true; n=$((n+1)); done) & done; wait", 120)
            problems = rig.run("dmesg | grep -iE 'BUG:|WARNING:|Oops|unchecked MSR' || true")
            check(problems.strip() == "", "its kernel complains")
        rig.dom0("cero vcpu-list debian")
        rig.dom0("cero shutdown --wait --timeout 60 debian", 90)
        check("debian" not in rig.names(), "the guest is still there")
        rig.dom0("cero check")
        rig.power_off()


main(body)
