# SPDX-License-Identifier: BSD-2-Clause
"""GRUB's PV build, as packaged, as a guest: reads grub.cfg on the guest's disk and starts the Linux that lies there."""
# limit: 300

import hashlib

from _linux import fetch_pv_grub, make_guest_disk
from _linux_steps import check_log, shut_down, start_guest
from _machine import Rig, check, main, wait_demo_guests
from qemu import Disk

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
insmod /xen-blkfront.ko
n=0; while [ ! -b /dev/xvda -a $n -lt 30 ]; do sleep 1; n=$((n+1)); done
echo linux guest is up
exec setsid sh -c 'exec sh </dev/hvc0 >/dev/hvc0 2>&1'
"""
FILES = (("sbin/poweroff", "#!/bin/sh\nexec poweroff -f\n", 0o755),)  # what the kernel runs on a request
GRUB = """set timeout=0
menuentry "Linux" {
    linux /vmlinuz console=hvc0 from=grub
    initrd /initrd
}
"""
CONFIG = """name = "grub"
kernel = "/tmp/grub-x86_64-xen.bin"
memory = 256
disk = [ "phy:/dev/vdb,xvda,w" ]
"""


def body():
    rig = Rig(cpus=2, memory_mib=1024)
    content = (("boot/grub/grub.cfg", GRUB), ("grub-x86_64-xen.bin", fetch_pv_grub()))
    image = make_guest_disk(rig.scratch, INIT, FILES, CONFIG, content_files=content)
    digest = hashlib.md5(image.read_bytes()).hexdigest()
    rig.machine.disks.append(Disk(image))
    with rig:
        wait_demo_guests(rig, 60)
        rig.dom0("mkdir -p /mnt && mount -o ro /dev/vdb /mnt")
        rig.dom0("cp /mnt/grub-x86_64-xen.bin /mnt/debian.cfg /tmp/ && umount /mnt")
        start_guest(rig, "grub", "/tmp/debian.cfg", 120)
        with rig.guest("grub"):
            check("from=grub" in rig.run("cat /proc/cmdline"), "grub.cfg's command line did not arrive")
            check(digest in rig.run("md5sum /dev/xvda", 60), "Linux reads something else from the disk than lies on it")
            check_log(rig, "unchecked MSR")
        shut_down(rig, "grub")
        rig.power_off()


main(body)
