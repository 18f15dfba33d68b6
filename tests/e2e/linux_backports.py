# SPDX-License-Identifier: BSD-2-Clause
"""A later kernel that Debian 12 carries too (6.12, packed with zstd), as a guest with one, two and four vCPUs."""
# limit: 600

import struct

from _linux import fetch_linux, make_guest_disk
from _linux_init import FILES, INIT
from _machine import Rig, check, main
from qemu import Disk

CONFIG = """name = "debian"
kernel = "/mnt/vmlinuz"
ramdisk = "/mnt/initrd"
extra = "console=hvc0"
memory = 256
disk = [ "phy:/dev/vda2,xvda,w" ]
vif = [ "mac=00:16:3e:00:00:09,bridge=xenbr0" ]
"""


def one_guest(rig, release, vcpus):
    name = f"debian{vcpus}"
    rig.dom0(f"cero create /mnt/debian.cfg name={name} vcpus={vcpus}", 180)
    log = f"/var/log/cero/console/{name}.log"
    try:
        rig.wait_for(name, lambda: "is up" in rig.dom0(f"grep 'linux guest' {log}", status=None), 180, 3)
    except AssertionError:
        rig.dom0(f"cero list; tail -c 3000 {log}; cero dmesg | tail -n 30", status=None)
        raise
    with rig.guest(name):
        check(rig.run("uname -r").strip() == release, f"it is not Linux {release}")
        check(rig.run("grep -c ^processor /proc/cpuinfo").strip() == str(vcpus), "it does not see its vCPUs")
        rig.run("dd if=/dev/urandom of=/x bs=64k count=64 2>/dev/null && dd if=/x of=/dev/xvda bs=64k && sync "
                "&& echo 3 > /proc/sys/vm/drop_caches && dd if=/dev/xvda bs=64k count=64 | cmp - /x", 60)
        rig.run("ping -c 2 10.0.2.2", 60)
        rig.run("for i in 1 2 3 4; do (n=0; while [ $n -lt 40 ]; do /bin/true; n=$((n+1)); done) & done; wait", 120)
        problems = rig.run("dmesg | grep -iE 'BUG:|WARNING:|Oops|unchecked MSR|stalls on|lockup' || true")
        check(problems.strip() == "", "its kernel complains")
    rig.dom0(f"cero shutdown --wait --timeout 60 {name}", 90)
    check(name not in rig.names(), "the guest is still there")
    rig.dom0("cero check")


def body():
    linux = fetch_linux("linux-image-6.12-amd64", "linux-6.12")
    image = (linux / "vmlinuz").read_bytes()
    (version,) = struct.unpack_from("<H", image, 0x20E)  # of the boot protocol: where the release stands, less 0x200
    release = image[0x200 + version:].split(b" ", 1)[0].decode()
    rig = Rig(cpus=2, memory_mib=1024)
    rig.machine.disks.append(Disk(make_guest_disk(rig.scratch, INIT, FILES, CONFIG, linux=linux)))
    with rig:
        rig.wait_for("both demo guests", lambda: {"demo1", "demo2"} <= rig.names(), 60)
        rig.dom0("cero destroy demo2")
        rig.dom0("mkdir -p /mnt && mount /dev/vdb /mnt")
        for vcpus in (1, 2, 4):
            one_guest(rig, release, vcpus)
        rig.dom0("cero dmesg | tail -n 40", status=None)
        rig.power_off()


main(body)
